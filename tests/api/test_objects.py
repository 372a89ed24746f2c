import json
import re

import pytest

from tests.api.client import ANOTHER, IMAGE_URL, OBJECT, OBJECT_URL, OBJECTS, TEXT, error

DOCUMENTS = {
    "application/json": (b'{"a": 1}', "json"),
    "application/pdf": (b"%PDF-1.7\n...", "pdf"),
    "application/zip": (b"PK\x03\x04...", "zip"),
    "text/plain": ("naïve".encode(), "txt"),
}
UNUSUAL = {
    "half a surrogate pair": ("application/json", rb'"\ud83d"'),
    "2,000 brackets": ("application/json", b"[" * 2000 + b"]" * 2000),
    "1,000,000 brackets": ("application/json", b"[" * 10**6 + b"]" * 10**6),
    "objects in arrays": ("application/json", b'[{"":' * 10**5 + b"0" + b"}]" * 10**5),
    "a PDF after a byte order mark": ("application/pdf", b"\xef\xbb\xbf%PDF-1.4\n%%EOF"),
    "a PDF after 1,023 bytes": ("application/pdf", b"\n" * 1023 + b"%PDF-1.4\n%%EOF"),
}
UPLOADS = [("POST", OBJECTS), ("PUT", OBJECT_URL)]


@pytest.mark.parametrize(("kind", "data", "ending"), [(kind, *document) for kind, document in DOCUMENTS.items()])
def test_an_object_of_each_type_comes_back_as_it_was_stored(client, kind, data, ending):
    client.put_object(data, headers={"Content-Type": kind})
    answer = client.simulate_get(OBJECT_URL)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, kind)
    assert answer.headers["content-disposition"] == f'attachment; filename="{OBJECT}.{ending}"'


def test_an_object_is_saved_under_a_new_id(client):
    answer = client.simulate_post(OBJECTS, body=b"text", headers=TEXT)
    assert answer.status_code == 201
    object_id = answer.json["object_id"]
    assert re.fullmatch("[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}", object_id)
    assert answer.json == {"object_id": object_id, "url": f"{OBJECTS}/{object_id}"}
    assert answer.headers["location"] == answer.json["url"]
    assert client.simulate_get(answer.json["url"]).content == b"text"


def test_an_object_is_saved_under_a_given_id_in_place_of_the_one_before(client):
    for kind, (data, ending) in DOCUMENTS.items():
        answer = client.simulate_put(OBJECT_URL, body=data, content_type=kind)
        assert (answer.status_code, answer.json) == (200, {"object_id": OBJECT, "url": OBJECT_URL})
        answer = client.simulate_get(OBJECT_URL)
        assert (answer.content, answer.headers["content-type"]) == (data, kind)
        assert answer.headers["content-disposition"].endswith(f'.{ending}"')


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", 'text/plain;charset="UTF-8";format=flowed', "Text/Plain"])
def test_the_type_is_kept_as_it_was_written(client, kind):
    client.put_object(headers={"Content-Type": kind})
    assert client.simulate_get(OBJECT_URL).headers["content-type"] == kind


def test_a_text_in_another_charset_is_kept_as_it_is(client):
    data = "naïve".encode("latin-1")
    client.put_object(data, headers={"Content-Type": "text/plain; charset=iso-8859-1"})
    assert client.simulate_get(OBJECT_URL).content == data


@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_a_type_is_needed(client, method, url):
    answer = client.simulate_request(method, url, body=b"text")
    assert error(answer) == (400, 12017)


@pytest.mark.parametrize("kind", ["image/jpeg", "text/html", "text", "*/*", "application/x-zip", "text/plain, application/pdf"])
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_a_type_that_is_not_taken_is_refused(client, method, url, kind):
    answer = client.simulate_request(method, url, body=b"text", content_type=kind)
    assert error(answer) == (415, 12024)
    assert answer.json["desc"] == "Bad/incomplete input data"


@pytest.mark.parametrize("kind", ["text/plain; a=\xff", "text/plain; a=\tb", "text/plain; a=\x7fb"])
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_a_type_that_could_not_be_sent_back_is_refused(client, method, url, kind):
    assert error(client.simulate_request(method, url, body=b"text", content_type=kind)) == (400, 12046)


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_an_empty_body_is_refused(client, method, url, kind):
    answer = client.simulate_request(method, url, content_type=kind)
    assert error(answer) == (400, 12030)
    assert answer.json["detail"] == "Request does not contain data"


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_data_that_is_not_what_its_type_says_is_refused(client, method, url, kind):
    answer = client.simulate_request(method, url, body=b"\xff\xfe\x00", content_type=kind)
    assert error(answer) == (400, 12025)
    assert answer.json["detail"] == "Specified content type does not match data type"
    assert client.simulate_get(OBJECT_URL).status_code == 404


@pytest.mark.parametrize(("kind", "data"), UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_data_that_is_what_its_type_says_comes_back_as_it_was_stored(client, kind, data):
    answer = client.simulate_post(OBJECTS, body=data, content_type=kind)
    assert answer.status_code == 201
    assert client.simulate_get(answer.json["url"]).content == data


def test_deep_json_that_is_not_closed_is_refused(client):
    assert error(client.simulate_post(OBJECTS, body=b"[" * 10**6, content_type="application/json")) == (400, 12025)


@pytest.mark.parametrize(("method", "url"), UPLOADS)
@pytest.mark.parametrize("extras", [{}, {"CONTENT_LENGTH": ""}], ids=["announced", "chunked"])
def test_an_object_over_the_limit_is_refused(client, make_client, method, url, extras):
    limited = make_client(OBJECTS__MAX_SIZE=4)
    answer = limited.simulate_request(method, url, body=b"texts", headers=TEXT, extras=extras)
    assert error(answer) == (413, 13903)
    assert answer.json["detail"] == "The limit is 4 bytes"
    assert client.simulate_get(OBJECT_URL).status_code == 404
    assert limited.simulate_request(method, url, body=b"text", headers=TEXT, extras=extras).status_code < 300


@pytest.mark.parametrize(("method", "url"), UPLOADS)
def test_a_body_that_breaks_off_is_refused(client, method, url):
    answer = client.simulate_request(method, url, body=b"text", headers=TEXT, extras={"CONTENT_LENGTH": "5"})
    assert error(answer) == (400, 12046)
    assert client.simulate_get(OBJECT_URL).status_code == 404


@pytest.mark.parametrize(
    "accept", ["text/plain", "text/*", "*/*", "application/pdf, text/plain;q=0.1", "Text/Plain", "text/plain; charset=utf-8"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_object_is_sent_where_its_type_is_acceptable(client, method, accept):
    client.put_object(headers={"Content-Type": "text/plain; charset=utf-8"})
    assert client.simulate_request(method, OBJECT_URL, headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize("accept", ["application/pdf", "image/*", "text/html", "text/plain;q=0", "*/*, text/plain;q=0", "text"])
def test_an_object_is_refused_where_its_type_is_not_acceptable(client, accept):
    client.put_object()
    answer = client.simulate_get(OBJECT_URL, headers={"Accept": accept})
    assert error(answer) == (406, 12023)
    assert answer.json["detail"] == "Content type is unacceptable allowed types: 'text/plain'"
    answer = client.simulate_head(OBJECT_URL, headers={"Accept": accept})
    assert (answer.status_code, answer.content) == (406, b"")


def test_a_missing_object_is_missing_whatever_is_acceptable(client):
    assert error(client.simulate_get(OBJECT_URL, headers={"Accept": "image/png"})) == (404, 13007)


def test_an_object_is_deleted(client):
    client.put_object()
    answer = client.simulate_delete(OBJECT_URL)
    assert (answer.status_code, answer.content) == (204, b"")
    for answer in (client.simulate_get(OBJECT_URL), client.simulate_delete(OBJECT_URL)):
        assert error(answer) == (404, 13007)
        assert answer.json["detail"] == f"Object with id {OBJECT} not found"
    assert client.simulate_head(OBJECT_URL).status_code == 404


def test_a_picture_and_an_object_may_have_the_same_id(client):
    client.put_image()
    client.put_object(url=IMAGE_URL.replace("images", "objects"))
    client.simulate_delete(IMAGE_URL)
    assert client.simulate_get(IMAGE_URL.replace("images", "objects")).content == b"text"


def test_many_objects_are_deleted_at_once_and_missing_ones_passed_over(client):
    urls = [client.simulate_post(OBJECTS, body=b"text", headers=TEXT).json["url"] for _ in range(3)]
    body = {"objects": [urls[0].rpartition("/")[2], urls[1].rpartition("/")[2], ANOTHER]}
    assert client.simulate_delete(OBJECTS, body=json.dumps(body)).status_code == 204
    assert [client.simulate_get(url).status_code for url in urls] == [404, 404, 200]


@pytest.mark.parametrize(
    ("body", "code"), [("", 12002), ("{}", 12003), ('{"objects": ["x"]}', 12022), (json.dumps({"objects": [OBJECT] * 1001}), 13902)]
)
def test_a_bulk_deletion_keeps_the_rules_of_that_of_images(client, body, code):
    client.put_object()
    assert error(client.simulate_delete(OBJECTS, body=body)) == (400, code)
    assert client.simulate_get(OBJECT_URL).status_code == 200
