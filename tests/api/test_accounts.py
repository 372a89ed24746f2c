import json

import pytest

from tests.api.client import ACCOUNT, IMAGE_ID, IMAGES, JPEG, OBJECTS, OTHER_ACCOUNT, OTHER_ID, TEXT, account_query, error

MALFORMED_ACCOUNTS = [
    "",
    "x",
    ACCOUNT["Luna-Account-Id"].upper(),
    ACCOUNT["Luna-Account-Id"] + "0",
    ACCOUNT["Luna-Account-Id"].replace("-", ""),
]


class Record:
    """An image or an object: both have the same rules for accounts."""

    def __init__(self, client, kind):
        self.client = client
        self.kind = kind
        self.collection = {"images": IMAGES, "objects": OBJECTS}[kind]
        self.url = f"{self.collection}/{IMAGE_ID}"
        self.not_found_code = {"images": 13003, "objects": 13007}[kind]

    def upload(self, method, url, headers):
        body, content_type = (JPEG, {}) if self.kind == "images" else (b"text", TEXT)
        return self.client.simulate_request(method, url, body=body, headers={**content_type, **headers})

    def put(self, headers, url=None):
        return self.upload("PUT", url or self.url, headers)

    def exists(self, url=None):
        return self.client.simulate_head(url or self.url).status_code == 200


@pytest.fixture(params=["images", "objects"])
def record(request, client):
    return Record(client, request.param)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    ("owner", "query"), [({}, {}), ({}, account_query(OTHER_ACCOUNT)), (ACCOUNT, {}), (ACCOUNT, account_query(ACCOUNT))], ids=str
)
def test_record_is_found_without_owner_for_its_owner_or_without_account(record, method, owner, query):
    assert record.put(owner).status_code == 200
    assert record.client.simulate_request(method, record.url, params=query).status_code in (200, 204)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_record_of_another_account_gets_the_same_404_as_a_missing_record(record, method):
    record.put(ACCOUNT)
    response = record.client.simulate_request(method, record.url, params=account_query(OTHER_ACCOUNT))
    missing = record.client.simulate_request(method, f"{record.collection}/{OTHER_ID}", params=account_query(OTHER_ACCOUNT))
    assert (response.status_code, response.text) == (404, missing.text.replace(OTHER_ID, IMAGE_ID))
    assert method == "HEAD" or error(response) == (404, record.not_found_code)
    assert record.exists()


def test_post_stores_the_owner(record):
    url = record.upload("POST", record.collection, ACCOUNT).json["url"]
    assert record.client.simulate_get(url, params=account_query(ACCOUNT)).status_code == 200
    assert error(record.client.simulate_get(url, params=account_query(OTHER_ACCOUNT))) == (404, record.not_found_code)


def test_put_without_account_keeps_the_owner(record):
    record.put(ACCOUNT)
    assert record.put({}).status_code == 200
    assert error(record.client.simulate_get(record.url, params=account_query(OTHER_ACCOUNT))) == (404, record.not_found_code)


def test_put_by_another_account_is_forbidden(record):
    record.put(ACCOUNT)
    before = record.client.simulate_get(record.url).headers["etag"]
    response = record.put(OTHER_ACCOUNT)
    assert error(response) == (403, 13904)
    assert response.json["detail"] == f"Id {IMAGE_ID} belongs to another account"
    assert record.client.simulate_get(record.url).headers["etag"] == before


def test_put_can_set_the_owner_of_a_record_without_owner(record):
    record.put({})
    assert record.put(ACCOUNT).status_code == 200
    assert record.put(OTHER_ACCOUNT).status_code == 403


def test_id_of_a_deleted_record_can_be_used_by_another_account(record):
    record.put(ACCOUNT)
    record.client.simulate_delete(record.url)
    assert record.put(OTHER_ACCOUNT).status_code == 200


@pytest.mark.parametrize("value", MALFORMED_ACCOUNTS)
def test_malformed_account_header_is_refused(record, value):
    for method, url in (("PUT", record.url), ("POST", record.collection)):
        assert error(record.upload(method, url, {"Luna-Account-Id": value})) == (400, 12046)
    assert not record.exists()


@pytest.mark.parametrize("value", MALFORMED_ACCOUNTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_malformed_account_query_is_refused(record, method, value):
    record.put({})
    response = record.client.simulate_request(method, record.url, params={"account_id": value})
    assert response.status_code == 400
    assert method == "HEAD" or error(response) == (400, 12012)
    assert record.exists()


def test_repeated_account_query_is_refused(record):
    record.put({})
    query = f"account_id={IMAGE_ID}&account_id={IMAGE_ID}"
    assert error(record.client.simulate_get(record.url, query_string=query)) == (400, 12012)


def test_uploads_ignore_the_account_query_and_reads_ignore_the_account_header(record):
    record.put(ACCOUNT, f"{record.url}?account_id=nonsense")
    assert record.client.simulate_get(record.url, headers=OTHER_ACCOUNT).status_code == 200
    assert record.client.simulate_get(record.url, headers={"Luna-Account-Id": "nonsense"}).status_code == 200


@pytest.mark.parametrize("size", [32, 33])
def test_previews_are_open_to_all_accounts(client, size):
    client.put_image(headers=ACCOUNT)
    assert client.simulate_get(f"{IMAGES}/{IMAGE_ID}_{size}", params=account_query(OTHER_ACCOUNT)).status_code == 200


def test_bulk_deletion_skips_records_of_other_accounts(record):
    ids = [IMAGE_ID, OTHER_ID, ACCOUNT["Luna-Account-Id"]]
    urls = [f"{record.collection}/{record_id}" for record_id in ids]
    for url, owner in zip(urls, (ACCOUNT, OTHER_ACCOUNT, {}), strict=True):
        assert record.put(owner, url).status_code == 200
    body = json.dumps({record.kind: ids})
    assert record.client.simulate_delete(record.collection, params=account_query(ACCOUNT), body=body).status_code == 204
    assert [record.exists(url) for url in urls] == [False, True, False]
    assert record.client.simulate_delete(record.collection, body=body).status_code == 204
    assert not record.exists(urls[1])


def test_malformed_account_query_of_a_bulk_deletion_is_refused(record):
    record.put({})
    body = json.dumps({record.kind: [IMAGE_ID]})
    assert error(record.client.simulate_delete(record.collection, params={"account_id": "x"}, body=body)) == (400, 12012)
    assert record.exists()
