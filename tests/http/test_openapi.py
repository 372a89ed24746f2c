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
ERRORS = {error.spec.code: error for error in errors.ServiceError.kinds()}
UNDOCUMENTED = {12021}  # an unsupported method is not an operation
COMMON_CODES = {1, 12046}
CONDITIONAL_HEADERS = {"If-None-Match", "If-Modified-Since", "Range", "If-Range"}
IMAGE, OBJECT = "/1/buckets/{bucket}/images/{image_id}", "/1/buckets/{bucket}/objects/{object_id}"


def codes(operation):
    """Yield (status, error code) of each error of an operation."""
    for status, response in operation["responses"].items():
        for code in response.get("content", {}).get("application/json", {}).get("examples", {}):
            yield int(status), int(code)


def parameters(operation, place):
    """Return the parameters of an operation by name, without the headers of conditional and range requests."""
    return {
        parameter["name"]: parameter
        for parameter in operation["parameters"]
        if parameter["in"] == place and parameter["name"] not in CONDITIONAL_HEADERS
    }


def test_document_is_valid():
    validate(DOCUMENT)


def test_document_has_exactly_the_routes_and_methods():
    assert set(OPERATIONS) == ROUTED


def test_document_has_the_version_of_the_service():
    assert DOCUMENT["info"]["version"] == "3.8.4"


def test_yaml_has_no_aliases():
    assert "&id" not in to_yaml(ROUTES)


def test_503_responses_have_retry_after():
    unavailable = [
        responses["503"] for responses in (operation["responses"] for operation in OPERATIONS.values()) if "503" in responses
    ]
    assert unavailable
    assert all("Retry-After" in response["headers"] for response in unavailable)


def test_every_error_is_documented():
    documented = {code for operation in OPERATIONS.values() for _, code in codes(operation)}
    assert documented == set(ERRORS) - UNDOCUMENTED


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_operation_has_description_errors_and_request_id(key):
    operation = OPERATIONS[key]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert {code for _, code in codes(operation)} >= (COMMON_CODES if key[1] != "head" else set())
    for status, code in codes(operation):
        spec = ERRORS[code].spec
        example = operation["responses"][str(status)]["content"]["application/json"]["examples"][str(code)]["value"]
        assert (spec.status, example["error_code"], example["desc"]) == (status, code, spec.desc)
        assert re.fullmatch(".+".join(map(re.escape, spec.detail.split("{}"))), example["detail"])
        assert "{}" not in example["detail"]
    for response in operation["responses"].values():
        assert "Luna-Request-Id" in response["headers"]
    assert "Luna-Request-Id" in parameters(operation, "header")
    assert not parameters(operation, "header")["Luna-Request-Id"].get("required", False)


def test_operation_ids_are_unique():
    assert len({operation["operationId"] for operation in OPERATIONS.values()}) == len(OPERATIONS)


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_documented_parameters_match_the_validated_parameters(key):
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
def test_parameter_limits_are_documented(key, place, name, schema):
    documented = parameters(OPERATIONS[key], place)[name]["schema"]
    assert {key: documented[key] for key in schema} == schema


def test_ids_have_a_documented_pattern():
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
def test_request_body_types_are_documented(key, types):
    body = OPERATIONS[key]["requestBody"]
    assert body["required"]
    assert set(body["content"]) == types


def test_uploads_require_a_body():
    uploads = [key for key in OPERATIONS if key[1] in ("post", "put") and key != ("/1/buckets", "post")]
    assert len(uploads) == 4
    assert all(OPERATIONS[key]["requestBody"]["required"] for key in uploads)


@pytest.mark.parametrize("key", [key for key in OPERATIONS if "get" in key], ids=" ".join)
def test_head_is_documented_like_get(key):
    path, _ = key
    if (path, "head") not in OPERATIONS:
        return
    get, head = OPERATIONS[key], OPERATIONS[path, "head"]
    for place in ("path", "query", "header"):
        assert parameters(get, place) == parameters(head, place)
    assert head["responses"]["200"]["headers"].keys() == get["responses"]["200"]["headers"].keys()
    assert head["responses"].keys() == get["responses"].keys() - {"206", "416"}
    assert not any("content" in response for response in head["responses"].values())
    assert {parameter["name"] for parameter in head["parameters"]} & CONDITIONAL_HEADERS == {"If-None-Match", "If-Modified-Since"}
    assert {parameter["name"] for parameter in get["parameters"]} >= CONDITIONAL_HEADERS


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
def test_response_headers_are_documented(key, status, header, example):
    assert OPERATIONS[key]["responses"][str(status)]["headers"][header]["example"] == example


def test_examples_are_valid():
    classes = [item for item in vars(schemas).values() if isinstance(item, type) and issubclass(item, schemas.BaseSchema)]
    for schema_class in classes:
        schema = schema_class()
        example = {
            field.data_key or name: str(field.metadata["example"])
            if "Query" in schema_class.__name__ or "Path" in schema_class.__name__
            else field.metadata["example"]
            for name, field in schema.fields.items()
            if "example" in field.metadata
        }  # fmt: skip
        assert schema.validate(example, partial=True) == {}


def test_success_statuses_are_documented():
    expected = {"get": {"200"}, "head": {"200"}, "post": {"201"}, "put": {"200"}, "delete": {"204"}}
    special = {("/1/buckets/{bucket}", "delete"): {"202"}, ("/docs/dev", "get"): {"302"}}
    for key, operation in OPERATIONS.items():
        successes = {status for status in operation["responses"] if status < "400"} - {"206", "304"}
        assert successes == special.get(key, expected[key[1]])
