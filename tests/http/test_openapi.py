import re

import pytest
import yaml
from openapi_spec_validator import validate

from luna_image_store import errors
from luna_image_store.http import schemas
from luna_image_store.http.openapi import to_yaml
from luna_image_store.http.routes import ROUTES

DOCUMENT = yaml.load(to_yaml(ROUTES), yaml.CSafeLoader)
METHODS = ("get", "head", "post", "put", "delete")
ROUTED = {(path, method) for path, resource in ROUTES.items() for method in METHODS if hasattr(resource, f"on_{method}")}
OPERATIONS = {(path, method): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()}
ROWS = {kind.spec.code: kind for kind in errors.ServiceError.kinds()}
ELSEWHERE = {12021}  # a method that a path lacks is no operation of it
EVERYWHERE = {1, 12046}
CONDITIONS = {"If-None-Match", "If-Modified-Since", "Range", "If-Range"}
IMAGE, OBJECT = "/1/buckets/{bucket}/images/{image_id}", "/1/buckets/{bucket}/objects/{object_id}"


def codes(operation):
    """List the errors of an operation as (status, code)."""
    for status, answer in operation["responses"].items():
        for code in answer.get("content", {}).get("application/json", {}).get("examples", {}):
            yield int(status), int(code)


def parameters(operation, place):
    """Give the parameters that are checked; conditions are heeded where they can be."""
    return {
        parameter["name"]: parameter
        for parameter in operation["parameters"]
        if parameter["in"] == place and parameter["name"] not in CONDITIONS
    }


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_every_route_and_method_is_documented_and_no_other():
    assert set(OPERATIONS) == ROUTED


def test_the_version_is_that_of_the_interface():
    assert DOCUMENT["info"]["version"] == "3.8.4"


def test_repeated_parts_are_written_out():
    assert "&id" not in to_yaml(ROUTES)


def test_what_is_unavailable_says_when_to_try_again():
    unavailable = [answers["503"] for answers in (operation["responses"] for operation in OPERATIONS.values()) if "503" in answers]
    assert unavailable
    assert all("Retry-After" in answer["headers"] for answer in unavailable)


def test_every_error_appears():
    seen = {code for operation in OPERATIONS.values() for _, code in codes(operation)}
    assert seen == set(ROWS) - ELSEWHERE


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_each_operation_is_described_with_its_errors_and_request_id(key):
    operation = OPERATIONS[key]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert {code for _, code in codes(operation)} >= (EVERYWHERE if key[1] != "head" else set())
    for status, code in codes(operation):
        row = ROWS[code].spec
        example = operation["responses"][str(status)]["content"]["application/json"]["examples"][str(code)]["value"]
        assert (row.status, example["error_code"], example["desc"]) == (status, code, row.desc)
        assert re.fullmatch(".+".join(map(re.escape, row.detail.split("{}"))), example["detail"])
        assert "{}" not in example["detail"]
    for answer in operation["responses"].values():
        assert "Luna-Request-Id" in answer["headers"]
    assert "Luna-Request-Id" in parameters(operation, "header")
    assert not parameters(operation, "header")["Luna-Request-Id"].get("required", False)


def test_operations_are_told_apart_by_their_ids():
    assert len({operation["operationId"] for operation in OPERATIONS.values()}) == len(OPERATIONS)


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_the_parameters_are_those_that_are_checked(key):
    path, method = key
    declared = getattr(ROUTES[path], f"on_{method}").operation
    for place, schema in (("path", declared.path), ("query", declared.query), ("header", declared.headers)):
        documented = parameters(OPERATIONS[key], place)
        fields = {field.data_key or name: field for name, field in schema.fields.items()} if schema else {}
        assert documented.keys() == fields.keys()
        for name, field in fields.items():
            assert documented[name].get("required", False) == (field.required or place == "path")
            assert documented[name]["description"]
    assert {f"{{{name}}}" for name in parameters(OPERATIONS[key], "path")} == {
        part + "}" for piece in path.split("{")[1:] for part in ["{" + piece.partition("}")[0]]
    }


@pytest.mark.parametrize(
    ("key", "place", "name", "schema"),
    [
        (("/1/buckets", "post"), "query", "bucket", {"pattern": "^[a-z0-9-_]{1,255}$"}),
        (("/1/buckets/{bucket}/images/{image_id}", "get"), "query", "with_meta", {"enum": [0, 1], "default": 0}),
        (("/1/buckets/{bucket}/images/{image_id}_{size}", "get"), "path", "size", {"minimum": 1, "maximum": 2048}),
        (("/1/buckets/{bucket}/images", "post"), "header", "Content-Type", {}),
    ],
)
def test_the_limits_of_parameters_are_told(key, place, name, schema):
    documented = parameters(OPERATIONS[key], place)[name]["schema"]
    assert {key: documented[key] for key in schema} == schema


def test_ids_and_accounts_are_told_by_their_pattern():
    pattern = "^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$"
    for operation in OPERATIONS.values():
        for parameter in operation["parameters"]:
            if parameter["name"] in ("image_id", "object_id", "account_id", "Luna-Account-Id"):
                assert parameter["schema"]["pattern"] == pattern
            if parameter["name"] == "Luna-Request-Id":
                assert parameter["schema"]["pattern"] == f"^[0-9]{{10}},{pattern[1:]}"


@pytest.mark.parametrize(
    ("key", "types"),
    [
        (
            ("/1/buckets/{bucket}/images", "post"),
            {"image/jpeg", "image/png", "image/bmp", "image/tiff", "image/gif", "image/x-portable-pixmap"},
        ),
        (("/1/buckets/{bucket}/objects", "post"), {"application/json", "application/pdf", "application/zip", "text/plain"}),
        (("/1/buckets/{bucket}/images", "delete"), {"application/json"}),
    ],
)
def test_the_bodies_that_are_taken_are_told(key, types):
    body = OPERATIONS[key]["requestBody"]
    assert body["required"]
    assert set(body["content"]) == types


def test_every_upload_has_a_body():
    uploads = [key for key in OPERATIONS if key[1] in ("post", "put") and key != ("/1/buckets", "post")]
    assert len(uploads) == 4
    assert all(OPERATIONS[key]["requestBody"]["required"] for key in uploads)


@pytest.mark.parametrize("key", [key for key in OPERATIONS if "get" in key], ids=" ".join)
def test_a_head_is_documented_like_its_get(key):
    path, _ = key
    if (path, "head") not in OPERATIONS:
        return
    get, head = OPERATIONS[key], OPERATIONS[path, "head"]
    for place in ("path", "query", "header"):
        assert parameters(get, place) == parameters(head, place)
    assert head["responses"]["200"]["headers"].keys() == get["responses"]["200"]["headers"].keys()
    assert head["responses"].keys() == get["responses"].keys() - {"206", "416"}
    assert not any("content" in answer for answer in head["responses"].values())
    assert {parameter["name"] for parameter in head["parameters"]} & CONDITIONS == {"If-None-Match", "If-Modified-Since"}
    assert {parameter["name"] for parameter in get["parameters"]} >= CONDITIONS


@pytest.mark.parametrize(
    ("key", "status", "header", "example"),
    [
        (("/1/buckets", "post"), 201, "Location", "/1/buckets/image_store-bucket"),
        (("/1/buckets/{bucket}/images", "post"), 201, "Location", schemas.IMAGE_URL),
        (("/1/buckets/{bucket}/objects", "post"), 201, "Location", schemas.OBJECT_URL),
        ((OBJECT, "head"), 200, "Content-Disposition", f'attachment; filename="{schemas.OBJECT}.json"'),
        ((IMAGE, "get"), 200, "X-Luna-Meta-*", "entrance 4"),
        ((IMAGE, "get"), 206, "Content-Range", "bytes 0-99/23880"),
        ((IMAGE, "get"), 416, "Content-Range", "bytes */23880"),
    ],
)
def test_the_headers_of_answers_are_told(key, status, header, example):
    assert OPERATIONS[key]["responses"][str(status)]["headers"][header]["example"] == example


def test_examples_keep_the_rules():
    kinds = [kind for kind in vars(schemas).values() if isinstance(kind, type) and issubclass(kind, schemas.BaseSchema)]
    for kind in kinds:
        schema = kind()
        example = {
            field.data_key or name: str(field.metadata["example"]) if "Query" in kind.__name__ or "Path" in kind.__name__
            else field.metadata["example"]
            for name, field in schema.fields.items()
            if "example" in field.metadata
        }  # fmt: skip
        assert schema.validate(example, partial=True) == {}


def test_the_statuses_of_success_are_those_of_the_interface():
    expected = {"get": {"200"}, "head": {"200"}, "post": {"201"}, "put": {"200"}, "delete": {"204"}}
    special = {("/1/buckets/{bucket}", "delete"): {"202"}, ("/docs/dev", "get"): {"302"}}
    for key, operation in OPERATIONS.items():
        successes = {status for status in operation["responses"] if status < "400"} - {"206", "304"}
        assert successes == special.get(key, expected[key[1]])
