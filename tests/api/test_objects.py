import json
import re

import pytest

from tests.api.client import IMAGE_URL, OBJECT_ID, OBJECT_URL, OBJECTS, OTHER_ID, TEXT, error

DOCUMENTS = {
    "application/json": (b'{"a": 1}', "json"),
    "application/pdf": (b"%PDF-1.7\n...", "pdf"),
    "application/zip": (b"PK\x03\x04...", "zip"),
    "text/plain": ("naïve".encode(), "txt"),
}
UNUSUAL = {
    "unpaired surrogate": ("application/json", rb'"\ud83d"'),
    "2,000 brackets": ("application/json", b"[" * 2000 + b"]" * 2000),
    "1,000,000 brackets": ("application/json", b"[" * 10**6 + b"]" * 10**6),
    "objects in arrays": ("application/json", b'[{"":' * 10**5 + b"0" + b"}]" * 10**5),
    "a PDF after a byte order mark": ("application/pdf", b"\xef\xbb\xbf%PDF-1.4\n%%EOF"),
    "a PDF after 1,023 bytes": ("application/pdf", b"\n" * 1023 + b"%PDF-1.4\n%%EOF"),
}
UPLOADS = [("POST", OBJECTS), ("PUT", OBJECT_URL)]


@pytest.mark.parametrize(
    ("content_type", "data", "extension"), [(content_type, *document) for content_type, document in DOCUMENTS.items()]
)
def test_object_of_each_type_is_returned_unchanged(client, content_type, data, extension):
    client.put_object(data, headers={"Content-Type": content_type})
    response = client.simulate_get(OBJECT_URL)
    assert (response.status_code, response.content, response.headers["content-type"]) == (200, data, content_type)
    assert response.headers["content-disposition"] == f'attachment; filename="{OBJECT_ID}.{extension}"'


def test_post_stores_an_object_under_a_new_id(client):
    response = client.simulate_post(OBJECTS, body=b"text", headers=TEXT)
    assert response.status_code == 201
    object_id = response.json["object_id"]
    assert re.fullmatch("[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}", object_id)
    assert response.json == {"object_id": object_id, "url": f"{OBJECTS}/{object_id}"}
    assert response.headers["location"] == response.json["url"]
    assert client.simulate_get(response.json["url"]).content == b"text"


def test_put_creates_and_replaces_an_object_under_the_given_id(client):
    for content_type, (data, extension) in DOCUMENTS.items():
        response = client.simulate_put(OBJECT_URL, body=data, content_type=content_type)
        assert (response.status_code, response.json) == (200, {"object_id": OBJECT_ID, "url": OBJECT_URL})
        response = client.simulate_get(OBJECT_URL)
        assert (response.content, response.headers["content-type"]) == (data, content_type)
        assert response.headers["content-disposition"].endswith(f'.{extension}"')


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", 'text/plain;charset="UTF-8";format=flowed', "Text/Plain"])
def test_content_type_is_returned_unchanged(client, content_type):
    client.put_object(headers={"Content-Type": content_type})
    assert client.simulate_get(OBJECT_URL).headers["content-type"] == content_type


def test_text_with_another_charset_is_stored_unchanged(client):
    data = "naïve".encode("latin-1")
    client.put_object(data, headers={"Content-Type": "text/plain; charset=iso-8859-1"})
    assert client.simulate_get(OBJECT_URL).content == data


@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_missing_content_type_is_refused(client, method, url):
    response = client.simulate_request(method, url, body=b"text")
    assert error(response) == (400, 12017)


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "text/html", "text", "*/*", "application/x-zip", "text/plain, application/pdf"]
)
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_unsupported_content_type_is_refused(client, method, url, content_type):
    response = client.simulate_request(method, url, body=b"text", content_type=content_type)
    assert error(response) == (415, 12024)
    assert response.json["desc"] == "Bad/incomplete input data"


@pytest.mark.parametrize("content_type", ["text/plain; a=\xff", "text/plain; a=\tb", "text/plain; a=\x7fb"])
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_content_type_with_unprintable_characters_is_refused(client, method, url, content_type):
    assert error(client.simulate_request(method, url, body=b"text", content_type=content_type)) == (400, 12046)


@pytest.mark.parametrize("content_type", DOCUMENTS)
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_empty_body_is_refused(client, method, url, content_type):
    response = client.simulate_request(method, url, content_type=content_type)
    assert error(response) == (400, 12030)
    assert response.json["detail"] == "Request does not contain data"


@pytest.mark.parametrize("content_type", DOCUMENTS)
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_body_that_does_not_match_its_content_type_is_refused(client, method, url, content_type):
    response = client.simulate_request(method, url, body=b"\xff\xfe\x00", content_type=content_type)
    assert error(response) == (400, 12025)
    assert response.json["detail"] == "Specified content type does not match data type"
    assert client.simulate_get(OBJECT_URL).status_code == 404


@pytest.mark.parametrize(("content_type", "data"), UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_valid_data_is_returned_unchanged(client, content_type, data):
    response = client.simulate_post(OBJECTS, body=data, content_type=content_type)
    assert response.status_code == 201
    assert client.simulate_get(response.json["url"]).content == data


def test_deeply_nested_unclosed_json_is_refused(client):
    assert error(client.simulate_post(OBJECTS, body=b"[" * 10**6, content_type="application/json")) == (400, 12025)


@pytest.mark.parametrize(("method", "url"), UPLOADS)
@pytest.mark.parametrize("extras", [{}, {"CONTENT_LENGTH": ""}], ids=["content-length", "chunked"])
def test_object_over_the_size_limit_is_refused(client, make_client, method, url, extras):
    limited = make_client(OBJECTS__MAX_SIZE=4)
    response = limited.simulate_request(method, url, body=b"texts", headers=TEXT, extras=extras)
    assert error(response) == (413, 13903)
    assert response.json["detail"] == "The limit is 4 bytes"
    assert client.simulate_get(OBJECT_URL).status_code == 404
    assert limited.simulate_request(method, url, body=b"text", headers=TEXT, extras=extras).status_code < 300


@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_incomplete_body_is_refused(client, method, url):
    response = client.simulate_request(method, url, body=b"text", headers=TEXT, extras={"CONTENT_LENGTH": "5"})
    assert error(response) == (400, 12046)
    assert client.simulate_get(OBJECT_URL).status_code == 404


@pytest.mark.parametrize(
    "accept", ["text/plain", "text/*", "*/*", "application/pdf, text/plain;q=0.1", "Text/Plain", "text/plain; charset=utf-8"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_object_is_sent_if_accept_allows_its_type(client, method, accept):
    client.put_object(headers={"Content-Type": "text/plain; charset=utf-8"})
    assert client.simulate_request(method, OBJECT_URL, headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize("accept", ["application/pdf", "image/*", "text/html", "text/plain;q=0", "*/*, text/plain;q=0", "text"])
def test_object_is_not_sent_if_accept_does_not_allow_its_type(client, accept):
    client.put_object()
    response = client.simulate_get(OBJECT_URL, headers={"Accept": accept})
    assert error(response) == (406, 12023)
    assert response.json["detail"] == "Content type is unacceptable allowed types: 'text/plain'"
    response = client.simulate_head(OBJECT_URL, headers={"Accept": accept})
    assert (response.status_code, response.content) == (406, b"")


def test_missing_object_returns_404_for_any_accept(client):
    assert error(client.simulate_get(OBJECT_URL, headers={"Accept": "image/png"})) == (404, 13007)


def test_object_is_deleted(client):
    client.put_object()
    response = client.simulate_delete(OBJECT_URL)
    assert (response.status_code, response.content) == (204, b"")
    for response in (client.simulate_get(OBJECT_URL), client.simulate_delete(OBJECT_URL)):
        assert error(response) == (404, 13007)
        assert response.json["detail"] == f"Object with id {OBJECT_ID} not found"
    assert client.simulate_head(OBJECT_URL).status_code == 404


def test_image_and_object_may_have_the_same_id(client):
    client.put_image()
    client.put_object(url=IMAGE_URL.replace("images", "objects"))
    client.simulate_delete(IMAGE_URL)
    assert client.simulate_get(IMAGE_URL.replace("images", "objects")).content == b"text"


def test_bulk_deletion_deletes_objects_and_skips_missing_ones(client):
    urls = [client.simulate_post(OBJECTS, body=b"text", headers=TEXT).json["url"] for _ in range(3)]
    body = {"objects": [urls[0].rpartition("/")[2], urls[1].rpartition("/")[2], OTHER_ID]}
    assert client.simulate_delete(OBJECTS, body=json.dumps(body)).status_code == 204
    assert [client.simulate_get(url).status_code for url in urls] == [404, 404, 200]


@pytest.mark.parametrize(
    ("body", "code"),
    [("", 12002), ("{}", 12003), ('{"objects": ["x"]}', 12022), (json.dumps({"objects": [OBJECT_ID] * 1001}), 13902)],
)
def test_bulk_deletion_of_objects_refuses_invalid_requests(client, body, code):
    client.put_object()
    assert error(client.simulate_delete(OBJECTS, body=body)) == (400, code)
    assert client.simulate_get(OBJECT_URL).status_code == 200
