"""What a client is told when S3 fails."""

import pytest

from luna_image_store.app import create_app
from luna_image_store.settings import load
from luna_image_store.storage.record import NewRecord, encode
from tests.api.client import IMAGE_URL, JPEG, OBJECT, OBJECT_URL, Client, error
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


def test_an_s3_that_is_busy_is_told_and_when_to_try_again(s3, client):
    s3.play = lambda connection, method, path: connection.refuse(503, "SlowDown", method)
    for answer in (client.simulate_put(IMAGE_URL, body=JPEG), client.simulate_get(IMAGE_URL), client.simulate_get("/1/buckets")):
        assert error(answer) == (503, 13905)
        assert answer.headers["retry-after"] == "5"
        assert s3.url.removeprefix("http://") not in answer.text


def test_an_s3_that_is_silent_is_told(s3, client):
    s3.play = lambda connection, method, path: connection.hang()
    answer = client.simulate_get(IMAGE_URL)
    assert error(answer) == (504, 13906)
    assert answer.json["detail"] == "read"


def test_health_turns_with_s3(s3, client):
    s3.play = lambda connection, method, path: connection.reset()
    answer = client.simulate_get("/healthcheck")
    assert (answer.status_code, answer.json["components"]) == (502, [{"name": "storage", "detail": "health check"}])
    s3.play = lambda connection, method, path: connection.answer(200, NO_BUCKETS)
    wait_until(lambda: client.simulate_get("/healthcheck").status_code == 200)


def test_a_range_that_cannot_be_had_is_an_error_without_headers_of_the_content(s3, client):
    place = f"bytes {len(LARGE) - 2**15}-{len(LARGE) - 1}/{len(LARGE)}"

    def play(connection, method, path):
        match len(s3.requests):
            case 1:
                connection.answer(200, LARGE, ETag='"1"')
            case 2:
                connection.answer(206, LARGE[-(2**15) :], ETag='"1"', **{"Content-Range": place})
            case _:
                connection.refuse(500, "InternalError")

    s3.play = play
    answer = client.simulate_get(OBJECT_URL, headers={"Range": "bytes=100-199"})
    assert error(answer) == (503, 13905)
    assert not {"etag", "content-range", "content-disposition"} & answer.headers.keys()
    assert s3.requests == [f"GET /pictures/objects/{OBJECT}"] * 3
