import json

import pytest

from tests.api.client import ANOTHER, IMAGE, IMAGES, JPEG, OBJECTS, OURS, TEXT, THEIRS, account, error

MALFORMED = ["", "x", OURS["Luna-Account-Id"].upper(), OURS["Luna-Account-Id"] + "0", OURS["Luna-Account-Id"].replace("-", "")]


class Record:
    """A picture or an object, whose rules for accounts are the same."""

    def __init__(self, client, kind):
        self.client = client
        self.kind = kind
        self.collection = {"images": IMAGES, "objects": OBJECTS}[kind]
        self.url = f"{self.collection}/{IMAGE}"
        self.missing = {"images": 13003, "objects": 13007}[kind]

    def upload(self, method, url, headers):
        body, more = (JPEG, {}) if self.kind == "images" else (b"text", TEXT)
        return self.client.simulate_request(method, url, body=body, headers={**more, **headers})

    def put(self, headers, url=None):
        return self.upload("PUT", url or self.url, headers)

    def exists(self, url=None):
        return self.client.simulate_head(url or self.url).status_code == 200


@pytest.fixture(params=["images", "objects"])
def record(request, client):
    return Record(client, request.param)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(("owner", "asks"), [({}, {}), ({}, account(THEIRS)), (OURS, {}), (OURS, account(OURS))], ids=str)
def test_a_record_is_seen_without_an_owner_by_its_owner_or_when_nobody_is_named(record, method, owner, asks):
    assert record.put(owner).status_code == 200
    assert record.client.simulate_request(method, record.url, params=asks).status_code in (200, 204)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_another_accounts_record_looks_like_a_missing_one(record, method):
    record.put(OURS)
    answer = record.client.simulate_request(method, record.url, params=account(THEIRS))
    missing = record.client.simulate_request(method, f"{record.collection}/{ANOTHER}", params=account(THEIRS))
    assert (answer.status_code, answer.text) == (404, missing.text.replace(ANOTHER, IMAGE))
    assert method == "HEAD" or error(answer) == (404, record.missing)
    assert record.exists()


def test_an_owner_is_kept_by_post_too(record):
    url = record.upload("POST", record.collection, OURS).json["url"]
    assert record.client.simulate_get(url, params=account(OURS)).status_code == 200
    assert error(record.client.simulate_get(url, params=account(THEIRS))) == (404, record.missing)


def test_a_put_that_names_nobody_keeps_the_owner(record):
    record.put(OURS)
    assert record.put({}).status_code == 200
    assert error(record.client.simulate_get(record.url, params=account(THEIRS))) == (404, record.missing)


def test_a_put_of_another_account_is_forbidden(record):
    record.put(OURS)
    before = record.client.simulate_get(record.url).headers["etag"]
    answer = record.put(THEIRS)
    assert error(answer) == (403, 13904)
    assert answer.json["detail"] == f"Id {IMAGE} belongs to another account"
    assert record.client.simulate_get(record.url).headers["etag"] == before


def test_a_put_may_claim_what_is_open_to_all(record):
    record.put({})
    assert record.put(OURS).status_code == 200
    assert record.put(THEIRS).status_code == 403


def test_an_id_is_free_again_once_it_was_deleted(record):
    record.put(OURS)
    record.client.simulate_delete(record.url)
    assert record.put(THEIRS).status_code == 200


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_account_in_a_header_is_refused(record, value):
    for method, url in (("PUT", record.url), ("POST", record.collection)):
        assert error(record.upload(method, url, {"Luna-Account-Id": value})) == (400, 12046)
    assert not record.exists()


@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_malformed_account_in_a_query_is_refused(record, method, value):
    record.put({})
    answer = record.client.simulate_request(method, record.url, params={"account_id": value})
    assert answer.status_code == 400
    assert method == "HEAD" or error(answer) == (400, 12012)
    assert record.exists()


def test_an_account_that_is_named_twice_is_refused(record):
    record.put({})
    query = f"account_id={IMAGE}&account_id={IMAGE}"
    assert error(record.client.simulate_get(record.url, query_string=query)) == (400, 12012)


def test_a_query_does_not_name_the_account_of_an_upload_nor_a_header_that_of_a_read(record):
    record.put(OURS, f"{record.url}?account_id=nonsense")
    assert record.client.simulate_get(record.url, headers=THEIRS).status_code == 200
    assert record.client.simulate_get(record.url, headers={"Luna-Account-Id": "nonsense"}).status_code == 200


@pytest.mark.parametrize("size", [32, 33])
def test_previews_need_no_account(client, size):
    client.put_image(headers=OURS)
    assert client.simulate_get(f"{IMAGES}/{IMAGE}_{size}", params=account(THEIRS)).status_code == 200


def test_a_bulk_deletion_passes_over_what_belongs_to_another_account(record):
    ids = [IMAGE, ANOTHER, OURS["Luna-Account-Id"]]
    urls = [f"{record.collection}/{record_id}" for record_id in ids]
    for url, owner in zip(urls, (OURS, THEIRS, {}), strict=True):
        assert record.put(owner, url).status_code == 200
    body = json.dumps({record.kind: ids})
    assert record.client.simulate_delete(record.collection, params=account(OURS), body=body).status_code == 204
    assert [record.exists(url) for url in urls] == [False, True, False]
    assert record.client.simulate_delete(record.collection, body=body).status_code == 204
    assert not record.exists(urls[1])


def test_a_malformed_account_of_a_bulk_deletion_is_refused(record):
    record.put({})
    body = json.dumps({record.kind: [IMAGE]})
    assert error(record.client.simulate_delete(record.collection, params={"account_id": "x"}, body=body)) == (400, 12012)
    assert record.exists()
