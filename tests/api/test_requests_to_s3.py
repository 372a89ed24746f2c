"""How many requests of S3 a request of ours takes, counted where they arrive."""

import re
from uuid import uuid4

import pytest

from tests.api.backends import ON_S3
from tests.api.client import IMAGE_URL, IMAGES, JPEG, OBJECT_URL, OBJECTS, OURS, TEXT, account

pytestmark = ON_S3
MUCH = {f"X-Luna-Meta-{number}": "x" * 60 for number in range(32)}


@pytest.fixture
def seen(client, s3):
    """Say what happened at S3 since this was last asked, without the names of the objects."""

    def since():
        return [re.sub(r"/(images|objects)/[^?]*|&.*|=.*", "", request) for request in s3.requests()]

    since()
    return since


def test_a_post_is_one_request(client, seen):
    client.simulate_post(IMAGES, body=JPEG)
    assert seen() == ["PUT /pictures"]
    client.simulate_post(OBJECTS, body=b"text", headers=TEXT)
    assert seen() == ["PUT /pictures"]


def test_a_put_looks_for_the_owner_first(client, seen):
    client.put_image()
    seen()
    client.put_image()
    assert seen() == ["HEAD /pictures", "PUT /pictures"]


@pytest.mark.parametrize("url", [IMAGE_URL, OBJECT_URL, f"{IMAGE_URL}_160"])
def test_a_get_is_one_request(client, seen, url):
    client.put_image()
    client.put_object()
    seen()
    assert client.simulate_get(url).status_code == 200
    assert seen() == ["GET /pictures"]


@pytest.mark.parametrize("url", [IMAGE_URL, OBJECT_URL])
def test_a_head_is_one_request(client, seen, url):
    client.put_image()
    client.put_object()
    seen()
    assert client.simulate_head(url).status_code == 200
    assert seen() == ["HEAD /pictures"]


def test_metadata_that_do_not_fit_cost_a_head_another_request(client, seen):
    client.put_image(headers=MUCH)
    seen()
    assert client.simulate_head(IMAGE_URL, params={"with_meta": 1}).headers["X-Luna-Meta-0"] == "x" * 60
    assert seen() == ["HEAD /pictures", "GET /pictures"]
    assert client.simulate_get(IMAGE_URL).status_code == 200
    assert seen() == ["GET /pictures"]


def test_a_deletion_looks_first(client, seen):
    for query in ({}, account(OURS)):
        client.put_image()
        seen()
        assert client.simulate_delete(IMAGE_URL, params=query).status_code == 204
        assert seen() in (["HEAD /pictures", "DELETE /pictures"], ["HEAD /pictures", "POST /pictures?delete"])


def test_a_bulk_deletion_is_one_request(client, seen):
    ids = [str(uuid4()) for _ in range(1000)]
    assert client.simulate_delete(IMAGES, json={"images": ids}).status_code == 204
    assert seen() == ["POST /pictures?delete"]


def test_a_bulk_deletion_for_an_account_looks_for_each_owner(client, seen):
    ids = [client.simulate_post(IMAGES, body=JPEG, headers=OURS).json["image_id"] for _ in range(3)]
    seen()
    assert client.simulate_delete(IMAGES, json={"images": ids}, params=account(OURS)).status_code == 204
    assert seen() == ["HEAD /pictures"] * 3 + ["POST /pictures?delete"]
