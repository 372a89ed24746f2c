"""Responses to clients when S3 fails."""

import pytest

from luna_image_store.app import create_app
from luna_image_store.settings import load
from luna_image_store.storage.record import NewRecord, encode
from tests.api.client import IMAGE_URL, JPEG, OBJECT_ID, OBJECT_URL, Client, error
from tests.machine import wait_until
from tests.scripted_s3 import storage_at

LARGE = b"".join(encode(NewRecord("text/plain"), [bytes(2**21)]))
NO_BUCKETS = b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"


@pytest.fixture
def s3(scripted_server):
    scripted_server.requests.clear()
    return scripted_server


@pytest.fixture
def client(s3):
    return Client(create_app(load(environ={}), storage_at(s3.url, READ_TIMEOUT=0.5)))


def test_busy_s3_returns_503_with_retry_after(s3, client):
    s3.play = lambda connection, method, path: connection.refuse(503, "SlowDown", method)
    for response in (client.simulate_put(IMAGE_URL, body=JPEG), client.simulate_get(IMAGE_URL), client.simulate_get("/1/buckets")):
        assert error(response) == (503, 13905)
        assert response.headers["retry-after"] == "5"
        assert s3.url.removeprefix("http://") not in response.text


def test_silent_s3_returns_504(s3, client):
    s3.play = lambda connection, method, path: connection.hang()
    response = client.simulate_get(IMAGE_URL)
    assert error(response) == (504, 13906)
    assert response.json["detail"] == "read"


def test_health_follows_the_state_of_s3(s3, client):
    s3.play = lambda connection, method, path: connection.reset()
    response = client.simulate_get("/healthcheck")
    assert (response.status_code, response.json["components"]) == (502, [{"name": "storage", "detail": "health check"}])
    s3.play = lambda connection, method, path: connection.respond(200, NO_BUCKETS)
    wait_until(lambda: client.simulate_get("/healthcheck").status_code == 200)


def test_failed_range_request_to_s3_returns_an_error_without_content_headers(s3, client):
    content_range = f"bytes {len(LARGE) - 2**15}-{len(LARGE) - 1}/{len(LARGE)}"

    def play(connection, method, path):
        match len(s3.requests):
            case 1:
                connection.respond(200, LARGE, ETag='"1"')
            case 2:
                connection.respond(206, LARGE[-(2**15) :], ETag='"1"', **{"Content-Range": content_range})
            case _:
                connection.refuse(500, "InternalError")

    s3.play = play
    response = client.simulate_get(OBJECT_URL, headers={"Range": "bytes=100-199"})
    assert error(response) == (503, 13905)
    assert not {"etag", "content-range", "content-disposition"} & response.headers.keys()
    assert s3.requests == [f"GET /photos/objects/{OBJECT_ID}"] * 3
