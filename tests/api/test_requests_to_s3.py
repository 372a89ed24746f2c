"""The requests to S3 that one request to the service causes, counted at the S3 server."""

import re
from uuid import uuid4

import pytest

from tests.api.backends import ON_S3
from tests.api.client import ACCOUNT, IMAGE_URL, IMAGES, JPEG, OBJECT_URL, OBJECTS, TEXT, account_query

pytestmark = ON_S3
LARGE_META = {f"X-Luna-Meta-{number}": "x" * 60 for number in range(32)}


@pytest.fixture
def new_requests(client, s3):
    """Return a function that lists the requests to S3 since its last call, without the keys of S3 objects."""

    def list_requests():
        return [re.sub(r"/(images|objects)/[^?]*|&.*|=.*", "", request) for request in s3.requests()]

    list_requests()
    return list_requests


def test_post_sends_one_request(client, new_requests):
    client.simulate_post(IMAGES, body=JPEG)
    assert new_requests() == ["PUT /photos"]
    client.simulate_post(OBJECTS, body=b"text", headers=TEXT)
    assert new_requests() == ["PUT /photos"]


def test_put_reads_the_owner_first(client, new_requests):
    client.put_image()
    new_requests()
    client.put_image()
    assert new_requests() == ["HEAD /photos", "PUT /photos"]


@pytest.mark.parametrize("url", [IMAGE_URL, OBJECT_URL, f"{IMAGE_URL}_160"])
def test_get_sends_one_request(client, new_requests, url):
    client.put_image()
    client.put_object()
    new_requests()
    assert client.simulate_get(url).status_code == 200
    assert new_requests() == ["GET /photos"]


@pytest.mark.parametrize("url", [IMAGE_URL, OBJECT_URL])
def test_head_sends_one_request(client, new_requests, url):
    client.put_image()
    client.put_object()
    new_requests()
    assert client.simulate_head(url).status_code == 200
    assert new_requests() == ["HEAD /photos"]


def test_head_with_large_metadata_sends_a_second_request(client, new_requests):
    client.put_image(headers=LARGE_META)
    new_requests()
    assert client.simulate_head(IMAGE_URL, params={"with_meta": 1}).headers["X-Luna-Meta-0"] == "x" * 60
    assert new_requests() == ["HEAD /photos", "GET /photos"]
    assert client.simulate_get(IMAGE_URL).status_code == 200
    assert new_requests() == ["GET /photos"]


def test_deletion_checks_that_the_record_exists(client, new_requests):
    for query in ({}, account_query(ACCOUNT)):
        client.put_image()
        new_requests()
        assert client.simulate_delete(IMAGE_URL, params=query).status_code == 204
        assert new_requests() in (["HEAD /photos", "DELETE /photos"], ["HEAD /photos", "POST /photos?delete"])


def test_bulk_deletion_sends_one_request(client, new_requests):
    ids = [str(uuid4()) for _ in range(1000)]
    assert client.simulate_delete(IMAGES, json={"images": ids}).status_code == 204
    assert new_requests() == ["POST /photos?delete"]


def test_bulk_deletion_for_an_account_reads_each_owner(client, new_requests):
    ids = [client.simulate_post(IMAGES, body=JPEG, headers=ACCOUNT).json["image_id"] for _ in range(3)]
    new_requests()
    assert client.simulate_delete(IMAGES, json={"images": ids}, params=account_query(ACCOUNT)).status_code == 204
    assert new_requests() == ["HEAD /photos"] * 3 + ["POST /photos?delete"]
