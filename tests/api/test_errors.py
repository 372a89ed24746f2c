"""Rules for all responses: request id, form of errors, order of checks."""

import io
import re
import shutil
import time

import pytest
from PIL import Image

from luna_image_store import errors
from luna_image_store.app import create_app
from luna_image_store.http.routes import ROUTES
from luna_image_store.settings import load
from luna_image_store.storage.base import MAX_IN_MEMORY_PAYLOAD
from luna_image_store.storage.disk.backend import DiskStorage
from tests import sample_images
from tests.api.backends import ON_DISK
from tests.api.client import (
    ACCOUNT,
    IMAGE_ID,
    IMAGE_URL,
    IMAGES,
    JPEG,
    OBJECT_URL,
    OBJECTS,
    OTHER_ACCOUNT,
    Client,
    account_query,
    error,
)

BAD_INPUT = errors.BAD_INPUT
TABLE = [
    (1, 500, "Internal server error", "Unknown error"),
    (12002, 400, BAD_INPUT, "Request does not contain json"),
    (12003, 400, BAD_INPUT, "Field {} not found in json"),
    (12012, 400, BAD_INPUT, "Bad query parameters {}"),
    (12013, 404, "Resource not found", "Page not found"),
    (12014, 400, BAD_INPUT, "Required parameters {} not found"),
    (12017, 400, BAD_INPUT, "Bad content type"),
    (12021, 405, "Method not allowed", "Method not allowed"),
    (12022, 400, BAD_INPUT, "Failed to validate input json. Path: '{}' message: '{}'"),
    (12023, 406, BAD_INPUT, "Content type is unacceptable allowed types: '{}'"),
    (12024, 415, BAD_INPUT, "Unsupported media type"),
    (12025, 400, BAD_INPUT, "Specified content type does not match data type"),
    (12030, 400, BAD_INPUT, "Request does not contain data"),
    (12032, 500, "Internal server error", "Document file not found"),
    (12046, 400, BAD_INPUT, "Invalid http request: {}"),
    (13003, 404, "Object not found", "Image with id {} not found"),
    (13006, 409, "Unique constraint error", "Bucket with name {} already exist"),
    (13007, 404, "Object not found", "Object with id {} not found"),
    (18002, 400, BAD_INPUT, "Failed convert bytes to jpg"),
    (13901, 404, "Bucket not found", "Bucket with name {} not found"),
    (13902, 400, BAD_INPUT, "No more than 1000 ids are allowed, {} given"),
    (13903, 413, "Payload too large", "The limit is {} bytes"),
    (13904, 403, "Forbidden", "Id {} belongs to another account"),
    (13905, 503, "Storage is unavailable", "{}"),
    (13906, 504, "Storage timeout", "{}"),
    (13907, 507, "Insufficient storage", "{}"),
    (13908, 400, BAD_INPUT, "The picture has {} pixels, the limit is {}"),  # codespell:ignore
    (13909, 500, "Stored data is damaged", "Id {}"),
    (13910, 503, "Service is not ready", "{}"),
]
UNIX_ID = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
ALLOWED = {
    "/version": "GET",
    "/1/buckets": "GET, POST",
    "/1/buckets/photos": "DELETE",
    IMAGES: "POST, DELETE",
    IMAGE_URL: "GET, HEAD, PUT, DELETE",
    f"{IMAGE_URL}_64": "GET, HEAD",
    OBJECTS: "POST, DELETE",
    OBJECT_URL: "GET, HEAD, PUT, DELETE",
    "/docs/spec": "GET",
    "/docs/dev": "GET",
    "/config": "GET",
    "/healthcheck": "GET",
    "/livez": "GET",
    "/readyz": "GET",
}
STATIC = ("/docs/dev/index.html", "/docs/spec/redoc.standalone.js")


class FailingResource:
    def on_get(self, req, resp):
        raise RuntimeError("message with a secret")


@pytest.fixture
def failing_client(storage):
    """A client of an application that has a path `/failing`, which raises RuntimeError."""
    app = create_app(load(environ={}), storage)
    app.add_route("/failing", FailingResource())
    return Client(app)


def test_errors_match_the_documented_table():
    specs = [error_class.spec for error_class in errors.ServiceError.kinds()]
    assert {(spec.code, spec.status, spec.desc, spec.detail) for spec in specs} == set(TABLE)
    assert len(specs) == len(TABLE)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/version", 200),
        ("GET", "/healthcheck", 200),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/config", 200),
        ("GET", "/docs/spec", 200),
        ("GET", "/docs/dev", 302),
        ("GET", "/docs/dev/index.html", 200),
        ("GET", "/docs/dev/missing", 404),
        ("GET", "/docs/spec/redoc.standalone.js", 200),
        ("GET", "/1/buckets", 200),
        ("DELETE", "/1/buckets/photos", 202),
        ("GET", IMAGE_URL, 200),
        ("HEAD", IMAGE_URL, 200),
        ("GET", f"{IMAGE_URL}_64", 200),
        ("DELETE", IMAGE_URL, 204),
        ("GET", OBJECT_URL, 404),
        ("HEAD", OBJECT_URL, 404),
        ("GET", "/missing", 404),
        ("POST", "/missing", 404),
        ("OPTIONS", "/missing", 404),
        ("POST", IMAGE_URL, 405),
        ("OPTIONS", "/version", 405),
        ("PATCH", "/1/buckets", 405),
        ("POST", IMAGES, 400),
    ],
)
def test_every_response_has_the_request_id(client, method, path, status):
    client.put_image()
    response = client.simulate_request(method, path, headers={"Luna-Request-Id": UNIX_ID})
    assert (response.status_code, response.headers["luna-request-id"]) == (status, UNIX_ID)
    created = client.simulate_request(method, path).headers["luna-request-id"]
    assert re.fullmatch("[0-9]{10},[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}", created)
    assert abs(time.time() - int(created[:10])) < 10


def test_unexpected_error_returns_500_with_request_id_and_without_details(failing_client):
    response = failing_client.simulate_get("/failing", headers={"Luna-Request-Id": UNIX_ID})
    assert error(response) == (500, 1)
    assert response.json == {"error_code": 1, "desc": "Internal server error", "detail": "Unknown error"}
    assert response.headers["luna-request-id"] == UNIX_ID


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        UNIX_ID.upper(),
        UNIX_ID.replace(",", ", "),
        UNIX_ID[1:],
        "1" + UNIX_ID,
        UNIX_ID + "0",
        UNIX_ID.split(",")[1],
        UNIX_ID + "\n",
        UNIX_ID.replace("1", "\u0661"),
    ],
)
def test_malformed_request_id_is_refused_and_a_new_one_returned(client, value):
    response = client.simulate_get("/version", extras={"HTTP_LUNA_REQUEST_ID": value.encode().decode("latin-1")})
    assert error(response) == (400, 12046)
    assert response.json["detail"] == "Invalid http request: bad header Luna-Request-Id"
    assert re.fullmatch("[0-9]{10},[a-f0-9-]{36}", response.headers["luna-request-id"])


@pytest.mark.parametrize("path", [path for path in ALLOWED if path != "/1/buckets/photos"] + list(STATIC))
def test_every_path_refuses_a_malformed_request_id(client, path):
    method = "DELETE" if "DELETE" in ALLOWED.get(path, "") else "GET"
    response = client.simulate_request(method, path, headers={"Luna-Request-Id": "x"})
    assert error(response) == (400, 12046)


def test_allowed_methods_are_tested_for_every_route():
    paths = {path.format(bucket="photos", image_id=IMAGE_ID, object_id=OBJECT_URL[-36:], size=64) for path in ROUTES}
    assert paths == set(ALLOWED)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (path, method)
        for path, allowed in ALLOWED.items()
        for method in (*METHODS, "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "BREW")
        if method not in allowed
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_unsupported_method_returns_405_with_allow(client, path, method):
    allowed = ALLOWED[path].split(", ")
    response = client.simulate_request(method, path)
    assert (response.status_code, response.headers["allow"].split(", ")) == (405, sorted(allowed, key=METHODS.index))
    assert method == "HEAD" or error(response) == (405, 12021)


@pytest.mark.parametrize("path", STATIC)
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
def test_documents_are_read_only(client, method, path):
    response = client.simulate_request(method, path)
    assert error(response) == (405, 12021)
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    "path",
    ["/", "/1", "/1/", "/2/buckets", "/buckets", "/version/", "/1/version", "/1/buckets/photos/", "/1/buckets/photos/other",
     f"{IMAGE_URL}/", f"{IMAGE_URL}/64", "/VERSION", "/%2e%2e/version", "/version%0a", "/\xe9", "/" + "x" * 10_000],
)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_unknown_path_is_page_not_found(client, method, path):
    response = client.simulate_request(method, path)
    if method == "HEAD":
        assert (response.status_code, response.content) == (404, b"")
    else:
        assert response.json == {"error_code": 12013, "desc": "Resource not found", "detail": "Page not found"}


class UnreadableBody(io.BytesIO):
    """A request body that raises OSError on read."""

    def read(self, size=-1):
        raise OSError("connection lost")


@pytest.mark.parametrize("url", [IMAGE_URL, OBJECT_URL])
@pytest.mark.parametrize("length", ["10", ""], ids=["content-length", "chunked"])
def test_unreadable_body_is_refused(client, url, length):
    extras = {
        "wsgi.input": UnreadableBody(),
        "CONTENT_LENGTH": length,
        "CONTENT_TYPE": "text/plain" if url == OBJECT_URL else "image/png",
    }
    response = client.simulate_put(url, extras=extras)
    assert error(response) == (400, 12046)
    assert client.simulate_get(url).status_code == 404


def test_head_error_has_no_body(client):
    for path, query, status in ((IMAGE_URL, "", 404), (IMAGE_URL, "with_meta=2", 400), ("/version", "", 405)):
        response = client.simulate_head(path, query_string=query)
        assert (response.status_code, response.content) == (status, b"")


BAD_REQUEST_ID = {"Luna-Request-Id": "x"}


def test_upload_checks_route_headers_size_body_storage_in_this_order(client, make_client):
    limited = make_client(IMAGES__MAX_SIZE=len(JPEG), OBJECTS__MAX_SIZE=5)
    client.put_image(headers=ACCOUNT)

    def codes(*requests):
        return [error(limited.simulate_put(url, body=body, headers=headers))[1] for url, body, headers in requests]

    missing, large, truncated = IMAGE_URL.replace("/photos/", "/missing/"), b"x" * len(JPEG) * 2, JPEG[:-1]
    assert codes(
        (missing.upper().replace("/BUCKETS", "/buckets").replace("/IMAGES", "/images"), large, BAD_REQUEST_ID),
        (missing, large, BAD_REQUEST_ID),
        (missing, large, {}),
        (missing, b"", {}),
        (missing, truncated, {}),
        (missing, JPEG, {}),
        (IMAGE_URL, truncated, OTHER_ACCOUNT),
        (IMAGE_URL, JPEG, OTHER_ACCOUNT),
    ) == [12013, 12046, 13903, 12030, 18002, 13901, 18002, 13904]

    client.put_object(headers=ACCOUNT)
    missing, text = OBJECT_URL.replace("/photos/", "/missing/"), {"Content-Type": "text/plain"}
    assert codes(
        (missing + "x", b"large text", BAD_REQUEST_ID),
        (missing, b"large text", {**text, **BAD_REQUEST_ID}),
        (missing, b"large text", text),
        (missing, b"", text),
        (missing, b"\xff", text),
        (missing, b"text", text),
        (OBJECT_URL, b"\xff", {**text, **OTHER_ACCOUNT}),
        (OBJECT_URL, b"text", {**text, **OTHER_ACCOUNT}),
    ) == [12013, 12046, 13903, 12030, 12025, 13901, 12025, 13904]


def test_deletion_checks_route_headers_query_size_body_storage_in_this_order(client):
    missing, bad_query = "/1/buckets/missing/images", {"account_id": "x"}

    def code(path, query, headers, body):
        return error(client.simulate_delete(path, params=query, headers=headers, body=body))[1]

    huge = b" " * (2**20 + 1)
    assert code("/1/buckets/B/images", bad_query, BAD_REQUEST_ID, huge) == 12013
    assert code(missing, bad_query, BAD_REQUEST_ID, huge) == 12046
    assert code(missing, bad_query, {}, huge) == 12012
    assert code(missing, {}, {}, huge) == 13903
    assert code(missing, {}, {}, b"x") == 12002
    assert code(missing, {}, {}, b"{}") == 12003
    assert code(missing, {}, {}, b'{"images": []}') == 13901


def test_read_checks_route_headers_query_storage_in_this_order(client):
    missing = IMAGE_URL.replace("/photos/", "/missing/")

    def code(path, query, headers):
        return error(client.simulate_get(path, params=query, headers=headers))[1]

    assert code("/1/buckets/B/images/x", {"with_meta": "x"}, BAD_REQUEST_ID) == 12013
    assert code(missing, {"with_meta": "x"}, BAD_REQUEST_ID) == 12046
    assert code(missing, {"with_meta": "x"}, {}) == 12012
    assert code(missing, {}, {}) == 13901
    assert code(IMAGE_URL, {}, {}) == 13003


@ON_DISK
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/1/buckets"), ("POST", "/1/buckets?bucket=new"), ("POST", IMAGES)],
)
def test_missing_storage_root_returns_503_without_the_path(client, root, method, path):
    shutil.rmtree(root)
    root.write_text("not a directory")
    response = client.simulate_request(method, path, body=JPEG)
    assert error(response) == (503, 13905)
    assert response.headers["retry-after"] == "5"
    assert response.json["desc"] == "Storage is unavailable"
    assert str(root) not in response.text
    assert re.fullmatch("[a-z ]+", response.json["detail"])


def test_full_disk_returns_507(small_disk):
    client = Client(create_app(load(environ={}), DiskStorage(str(small_disk))))
    client.simulate_post("/1/buckets", params={"bucket": "photos"})
    response = client.simulate_put(OBJECT_URL, body=b"x" * 2**23, content_type="text/plain")
    assert error(response) == (507, 13907)
    assert (response.json["desc"], response.json["detail"]) == ("Insufficient storage", "save")
    assert error(client.simulate_get(OBJECT_URL)) == (404, 13007)


def test_damaged_image_is_not_sent(client, record):
    client.put_image()
    record.write_bytes(b"\0" + record.read_bytes()[1:])
    response = client.simulate_get(IMAGE_URL)
    assert error(response) == (500, 13909)
    assert (response.json["desc"], response.json["detail"]) == ("Stored data is damaged", f"Id {IMAGE_ID}")
    assert client.simulate_get(f"{IMAGE_URL}_32").status_code == 200


def test_preview_of_a_damaged_image_is_not_rendered(client, record):
    data = sample_images.encoded(Image.effect_noise((1400, 1200), 100), quality=95)
    assert len(data) > MAX_IN_MEMORY_PAYLOAD
    client.put_image(data)
    assert sample_images.decoded(client.simulate_get(f"{IMAGE_URL}_140").content).size == (140, 120)
    stored = bytearray(record.read_bytes())
    stored[len(data) // 2] ^= 1
    record.write_bytes(stored)
    assert error(client.simulate_get(f"{IMAGE_URL}_140")) == (500, 13909)
    assert client.simulate_get(f"{IMAGE_URL}_32").status_code == 200


def test_damaged_preview_is_rendered_again(client, record):
    client.put_image(sample_images.jpeg(320, 160))
    data = bytearray(record.read_bytes())
    data[data.rindex(b"\xff\xd9") - 1] ^= 1  # within the last preview
    record.write_bytes(data)
    response = client.simulate_get(f"{IMAGE_URL}_32")
    assert response.status_code == 200
    assert sample_images.decoded(response.content).size == (32, 16)


def test_record_with_damaged_index_can_be_replaced_and_is_skipped_by_bulk_deletion(client, record):
    client.put_image(headers=ACCOUNT)
    record.write_bytes(record.read_bytes()[:-1])
    for path in (IMAGE_URL, f"{IMAGE_URL}_32", f"{IMAGE_URL}_33"):
        assert error(client.simulate_get(path)) == (500, 13909)
        assert client.simulate_head(path).status_code == 500
    body = f'{{"images": ["{IMAGE_ID}"]}}'
    assert client.simulate_delete(IMAGES, params=account_query(ACCOUNT), body=body).status_code == 204
    assert record.exists()
    client.put_image(headers=OTHER_ACCOUNT)
    assert client.simulate_get(IMAGE_URL, params=account_query(OTHER_ACCOUNT)).content == JPEG


def test_damaged_record_can_be_deleted(client, record):
    client.put_image()
    record.write_bytes(b"")
    assert client.simulate_delete(IMAGE_URL).status_code == 204
    assert error(client.simulate_get(IMAGE_URL)) == (404, 13003)
