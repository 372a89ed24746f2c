"""Conditional requests and ranges for images, previews and objects."""

from wsgiref.util import FileWrapper

import pytest

from tests.api.client import IMAGE_URL, JPEG, OBJECT_URL, TEXT, error

LARGE = bytes(range(97, 123)) * 60_000  # larger than MAX_IN_MEMORY_PAYLOAD
LONG_AGO, FAR_AHEAD = "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.fixture(params=["image", "stored preview", "rendered preview", "object", "large object"])
def content(request, client):
    """Store an image or object. Return a URL and the complete response to GET."""
    match request.param:
        case "object" | "large object":
            url = client.put_object(LARGE if "large" in request.param else b"text")
        case "image":
            url = client.put_image()
        case _:
            url = client.put_image() + ("_32" if "stored" in request.param else "_33")
    return url, client.simulate_get(url)


@pytest.fixture
def large(client):
    return client.put_object(LARGE)


def test_content_has_the_documented_headers(content):
    headers = content[1].headers
    assert headers["etag"].startswith('"')
    assert headers["last-modified"].endswith(" GMT")
    assert headers["cache-control"] == "private, no-cache"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert int(headers["content-length"]) == len(content[1].content)


def test_head_returns_the_headers_of_get_without_body(client, content):
    url, complete = content
    response = client.simulate_head(url, headers={"Luna-Request-Id": complete.headers["luna-request-id"]})
    assert (response.status_code, response.headers, response.content) == (200, complete.headers, b"")


def test_large_object_is_sent_with_and_without_wsgi_file_wrapper(client, large):
    assert client.simulate_get(large).content == LARGE
    assert client.simulate_get(large, file_wrapper=FileWrapper).content == LARGE


def test_etag_depends_on_the_payload(client):
    tags = {client.simulate_get(client.put_object(data)).headers["etag"] for data in (b"one", b"two", LARGE)}
    tags |= {client.simulate_get(client.put_image() + suffix).headers["etag"] for suffix in ("", "_32", "_33")}
    assert len(tags) == 6
    assert client.simulate_get(client.put_object(b"one")).headers["etag"] in tags


def get_and_head(client, url, headers):
    responses = [client.simulate_request(method, url, headers=headers) for method in ("GET", "HEAD")]
    assert responses[0].status_code == responses[1].status_code
    return responses[0]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '{}, "other"', "*", 'W/"other",W/{}'])
def test_matching_if_none_match_returns_304(client, content, form):
    url, complete = content
    response = get_and_head(client, url, {"If-None-Match": form.format(complete.headers["etag"])})
    assert (response.status_code, response.content) == (304, b"")
    for name in ("etag", "last-modified", "cache-control"):
        assert response.headers[name] == complete.headers[name]


@pytest.mark.parametrize("tag", ['"other"', 'W/"other"', '"a", "b"', "", "nonsense", '"*"', ",", '"'])
def test_other_if_none_match_returns_the_payload(client, content, tag):
    response = get_and_head(client, content[0], {"If-None-Match": tag})
    assert (response.status_code, response.content) == (200, content[1].content)


def test_later_if_modified_since_returns_304(client, content):
    url, complete = content
    for date in (complete.headers["last-modified"], FAR_AHEAD):
        response = get_and_head(client, url, {"If-Modified-Since": date})
        assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize("date", [LONG_AGO, "", "yesterday", "Thu, 99 Jan 2100 00:00:00 GMT", "2100-01-01T00:00:00Z", "4102444800"])
def test_earlier_or_malformed_if_modified_since_returns_200(client, content, date):
    assert get_and_head(client, content[0], {"If-Modified-Since": date}).status_code == 200


@pytest.mark.parametrize(("tag", "status"), [('"other"', 200), ("*", 304)])
def test_if_none_match_has_priority_over_if_modified_since(client, content, tag, status):
    date = FAR_AHEAD if status == 200 else LONG_AGO
    response = get_and_head(client, content[0], {"If-None-Match": tag, "If-Modified-Since": date})
    assert response.status_code == status


def test_etag_of_a_replaced_record_does_not_match(client):
    tag = client.simulate_get(client.put_object(b"one")).headers["etag"]
    client.put_object(b"two")
    assert client.simulate_get(OBJECT_URL, headers={"If-None-Match": tag}).content == b"two"


def get_range(client, url, value, **headers):
    return client.simulate_get(url, headers={"Range": value, **{name.replace("_", "-"): text for name, text in headers.items()}})


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1-2", 1, 3),
        ("bytes=1-", 1, None),
        ("bytes=0-", 0, None),
        ("bytes=-1", -1, None),
        ("bytes=-3", -3, None),
        ("bytes=-999999999", 0, None),
        ("bytes=2-999999999", 2, None),
    ],
)
def test_single_range_returns_206(client, content, value, start, end):
    url, complete = content
    response = get_range(client, url, value)
    expected = complete.content[start:end]
    first = start if start >= 0 else len(complete.content) + start
    assert (response.status_code, response.content) == (206, expected)
    assert response.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(complete.content)}"
    assert int(response.headers["content-length"]) == len(expected)
    for name in ("etag", "last-modified", "content-type", "cache-control", "content-security-policy"):
        assert response.headers[name] == complete.headers[name]


def test_range_of_a_large_object_is_sent_by_wsgi_file_wrapper(client, large):
    headers = {"Range": "bytes=1200000-1200009"}
    assert client.simulate_get(large, headers=headers, file_wrapper=FileWrapper).content == LARGE[1_200_000:1_200_010]


@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-1,2-3",
        "bytes=0-0, -1",
        "bytes=2-1",
        "bytes=",
        "bytes=-",
        "bytes",
        "bytes=a-b",
        "bytes=--1",
        "bytes=1_0-2_0",
        "bytes=+0-+1",
        "bytes=0x0-0x1",
        "lines=0-1",
        "",
        "0-1",
    ],
)
def test_several_or_malformed_ranges_return_the_complete_payload(client, content, value):
    url, complete = content
    response = get_range(client, url, value)
    assert (response.status_code, response.content) == (200, complete.content)
    assert "content-range" not in response.headers


@pytest.mark.parametrize("value", ["bytes={}-", "bytes={}-999999999", "bytes=999999999-", "bytes=-0"])
def test_range_beyond_the_end_or_empty_range_returns_416(client, content, value):
    url, complete = content
    length = len(complete.content)
    response = get_range(client, url, value.format(length))
    assert error(response)[0] == 416
    assert not {"etag", "last-modified", "content-disposition"} & set(response.headers)
    assert response.headers["content-range"] == f"bytes */{length}"


def test_matching_if_range_returns_206(client, content):
    url, complete = content
    for validator in ("etag", "last-modified"):
        assert get_range(client, url, "bytes=0-0", If_Range=complete.headers[validator]).status_code == 206


@pytest.mark.parametrize("if_range", ['"other"', "W/{}", LONG_AGO, FAR_AHEAD, "nonsense", ""])
def test_other_if_range_returns_the_complete_payload(client, content, if_range):
    url, complete = content
    response = get_range(client, url, "bytes=0-0", If_Range=if_range.format(complete.headers["etag"]))
    assert (response.status_code, response.content) == (200, complete.content)
    assert get_range(client, url, "bytes=999999999-", If_Range=if_range.format(complete.headers["etag"])).status_code == 200


def test_if_none_match_has_priority_over_range(client, content):
    url, complete = content
    assert get_range(client, url, "bytes=0-0", If_None_Match=complete.headers["etag"]).status_code == 304


def test_head_ignores_range(client, content):
    url, complete = content
    response = client.simulate_head(url, headers={"Range": "bytes=0-0"})
    assert (response.status_code, response.headers["content-length"]) == (200, complete.headers["content-length"])


def test_uploads_ignore_conditional_headers_and_range(client):
    headers = {"If-None-Match": "*", "If-Modified-Since": FAR_AHEAD, "Range": "bytes=0-0"}
    client.put_image(headers=headers)
    assert client.simulate_get(IMAGE_URL).content == JPEG
    assert client.simulate_put(OBJECT_URL, body=b"text", headers={**TEXT, **headers}).status_code == 200
