"""Conditional requests and ranges, for each way in which content is sent."""

from wsgiref.util import FileWrapper

import pytest

from tests.api.client import IMAGE_URL, JPEG, OBJECT_URL, TEXT, error

LARGE = bytes(range(97, 123)) * 60_000  # more than is read into memory at once
LONG_AGO, FAR_AHEAD = "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.fixture(params=["image", "stored preview", "made preview", "object", "large object"])
def content(request, client):
    """Store a content, and give its URL and whole answer."""
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


def test_content_has_the_headers_of_the_interface(content):
    headers = content[1].headers
    assert headers["etag"].startswith('"')
    assert headers["last-modified"].endswith(" GMT")
    assert headers["cache-control"] == "private, no-cache"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert int(headers["content-length"]) == len(content[1].content)


def test_head_gives_the_headers_of_get_and_no_body(client, content):
    url, whole = content
    answer = client.simulate_head(url, headers={"Luna-Request-Id": whole.headers["luna-request-id"]})
    assert (answer.status_code, answer.headers, answer.content) == (200, whole.headers, b"")


def test_a_large_object_is_sent_whole_with_and_without_the_servers_file_wrapper(client, large):
    assert client.simulate_get(large).content == LARGE
    assert client.simulate_get(large, file_wrapper=FileWrapper).content == LARGE


def test_the_etag_tells_contents_apart(client):
    tags = {client.simulate_get(client.put_object(data)).headers["etag"] for data in (b"one", b"two", LARGE)}
    tags |= {client.simulate_get(client.put_image() + suffix).headers["etag"] for suffix in ("", "_32", "_33")}
    assert len(tags) == 6
    assert client.simulate_get(client.put_object(b"one")).headers["etag"] in tags


def conditional(client, url, headers):
    answers = [client.simulate_request(method, url, headers=headers) for method in ("GET", "HEAD")]
    assert answers[0].status_code == answers[1].status_code
    return answers[0]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '{}, "other"', "*", 'W/"other",W/{}'])
def test_content_that_the_client_has_is_not_sent_again(client, content, form):
    url, whole = content
    answer = conditional(client, url, {"If-None-Match": form.format(whole.headers["etag"])})
    assert (answer.status_code, answer.content) == (304, b"")
    for name in ("etag", "last-modified", "cache-control"):
        assert answer.headers[name] == whole.headers[name]


@pytest.mark.parametrize("tag", ['"other"', 'W/"other"', '"a", "b"', "", "nonsense", '"*"', ",", '"'])
def test_content_that_the_client_does_not_have_is_sent(client, content, tag):
    answer = conditional(client, content[0], {"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (200, content[1].content)


def test_content_that_was_not_modified_is_not_sent_again(client, content):
    url, whole = content
    for date in (whole.headers["last-modified"], FAR_AHEAD):
        answer = conditional(client, url, {"If-Modified-Since": date})
        assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize("date", [LONG_AGO, "", "yesterday", "Thu, 99 Jan 2100 00:00:00 GMT", "2100-01-01T00:00:00Z", "4102444800"])
def test_content_is_sent_where_it_was_modified_or_the_date_is_bad(client, content, date):
    assert conditional(client, content[0], {"If-Modified-Since": date}).status_code == 200


@pytest.mark.parametrize(("tag", "status"), [('"other"', 200), ("*", 304)])
def test_a_tag_outweighs_a_date(client, content, tag, status):
    date = FAR_AHEAD if status == 200 else LONG_AGO
    answer = conditional(client, content[0], {"If-None-Match": tag, "If-Modified-Since": date})
    assert answer.status_code == status


def test_a_replaced_record_is_sent_anew(client):
    tag = client.simulate_get(client.put_object(b"one")).headers["etag"]
    client.put_object(b"two")
    assert client.simulate_get(OBJECT_URL, headers={"If-None-Match": tag}).content == b"two"


def part(client, url, value, **headers):
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
def test_a_single_range_is_sent(client, content, value, start, end):
    url, whole = content
    answer = part(client, url, value)
    expected = whole.content[start:end]
    first = start if start >= 0 else len(whole.content) + start
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(whole.content)}"
    assert int(answer.headers["content-length"]) == len(expected)
    for name in ("etag", "last-modified", "content-type", "cache-control", "content-security-policy"):
        assert answer.headers[name] == whole.headers[name]


def test_a_range_deep_in_a_large_object_is_sent_by_the_servers_file_wrapper_too(client, large):
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
def test_several_ranges_a_malformed_one_or_another_unit_give_the_whole(client, content, value):
    url, whole = content
    answer = part(client, url, value)
    assert (answer.status_code, answer.content) == (200, whole.content)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("value", ["bytes={}-", "bytes={}-999999999", "bytes=999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_or_of_nothing_cannot_be_satisfied(client, content, value):
    url, whole = content
    length = len(whole.content)
    answer = part(client, url, value.format(length))
    assert error(answer)[0] == 416
    assert not {"etag", "last-modified", "content-disposition"} & set(answer.headers)
    assert answer.headers["content-range"] == f"bytes */{length}"


def test_a_part_is_sent_of_the_content_that_the_client_knows(client, content):
    url, whole = content
    for known in ("etag", "last-modified"):
        assert part(client, url, "bytes=0-0", If_Range=whole.headers[known]).status_code == 206


@pytest.mark.parametrize("known", ['"other"', "W/{}", LONG_AGO, FAR_AHEAD, "nonsense", ""])
def test_the_whole_is_sent_where_the_client_knows_another_content(client, content, known):
    url, whole = content
    answer = part(client, url, "bytes=0-0", If_Range=known.format(whole.headers["etag"]))
    assert (answer.status_code, answer.content) == (200, whole.content)
    assert part(client, url, "bytes=999999999-", If_Range=known.format(whole.headers["etag"])).status_code == 200


def test_a_client_that_has_the_content_needs_no_part_of_it(client, content):
    url, whole = content
    assert part(client, url, "bytes=0-0", If_None_Match=whole.headers["etag"]).status_code == 304


def test_a_range_is_for_get_only(client, content):
    url, whole = content
    answer = client.simulate_head(url, headers={"Range": "bytes=0-0"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, whole.headers["content-length"])


def test_uploads_take_no_notice_of_conditions_and_ranges(client):
    headers = {"If-None-Match": "*", "If-Modified-Since": FAR_AHEAD, "Range": "bytes=0-0"}
    client.put_image(headers=headers)
    assert client.simulate_get(IMAGE_URL).content == JPEG
    assert client.simulate_put(OBJECT_URL, body=b"text", headers={**TEXT, **headers}).status_code == 200
