import json
import re
from uuid import uuid4

import pytest

from tests import pictures
from tests.api.client import ANOTHER, IMAGE, IMAGE_URL, IMAGES, JPEG, error

ID = "[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}"
STORED = (32, 64, 96, 160)
MALFORMED_IDS = [
    IMAGE.upper(),
    IMAGE.replace("-", ""),
    f"urn:uuid:{IMAGE}",
    f"{{{IMAGE}}}",
    IMAGE[:-1],
    IMAGE + "0",
    IMAGE + "%0a",
    IMAGE + "%00",
    IMAGE + "%20",
    IMAGE + ".jpg",
    IMAGE.replace("1", "%d9%a1"),
    "g" + IMAGE[1:],
    "..",
    "%2e%2e",
    "%2e%2e%2f" + IMAGE,
    "..%2f..%2f.lock",
    "%ff",
    "x" * 5000,
]
MALFORMED_BUCKETS = [
    "",
    "B",
    "b%0a",
    "%0ab",
    "b.",
    "..",
    "%2e%2e",
    "%2e%2e%2fb",
    "b%00",
    "b%20",
    "%c3%a9",
    "%ff",
    ".tmp",
    "x" * 256,
]


def sizes(client, url):
    return {size: pictures.decoded(client.simulate_get(f"{url}_{size}").content).size for size in STORED}


def test_a_picture_is_saved_under_a_new_id(client):
    answer = client.simulate_post(IMAGES, body=JPEG, content_type="image/jpeg")
    assert answer.status_code == 201
    image_id = answer.json["image_id"]
    assert re.fullmatch(ID, image_id)
    url = f"/1/buckets/pictures/images/{image_id}"
    assert answer.json == {"image_id": image_id, "url": url, **{f"url{size}": f"{url}_{size}" for size in STORED}}
    assert answer.headers["location"] == url
    for link in ("url", "url32", "url64", "url96", "url160"):
        assert client.simulate_get(answer.json[link]).headers["content-type"] == "image/jpeg"


def test_each_picture_gets_an_id_of_its_own(client):
    assert len({client.simulate_post(IMAGES, body=JPEG).json["image_id"] for _ in range(5)}) == 5


def test_a_picture_is_saved_under_a_given_id(client):
    answer = client.simulate_put(IMAGE_URL, body=JPEG)
    assert (answer.status_code, answer.json) == (200, {"url": IMAGE_URL})
    assert client.simulate_get(IMAGE_URL).content == JPEG


@pytest.mark.parametrize("image_id", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, ANOTHER, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
def test_an_id_is_a_uuid_of_any_version(client, image_id):
    assert client.simulate_get(client.put_image(url=f"{IMAGES}/{image_id}")).content == JPEG


def test_a_jpeg_is_sent_as_it_came_byte_for_byte(client):
    data = pictures.lying(6, "JPEG") + b"trailing bytes"
    assert client.simulate_get(client.put_image(data)).content == data


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_a_picture_of_each_format_becomes_a_jpeg_with_previews(client, kind):
    url = client.put_image(pictures.encoded(pictures.quadrants(320, 160), kind))
    picture = pictures.decoded(client.simulate_get(url).content)
    assert (picture.format, picture.size, pictures.corners(picture)) == ("JPEG", (320, 160), pictures.UPRIGHT)
    assert sizes(client, url) == {32: (32, 16), 64: (64, 32), 96: (96, 48), 160: (160, 80)}


@pytest.mark.parametrize(
    ("size", "expected"), [(1, (1, 1)), (100, (100, 50)), (319, (319, 160)), (320, (320, 160)), (2048, (320, 160))]
)
def test_a_preview_of_any_size_is_made_on_request_and_never_enlarged(client, size, expected):
    url = client.put_image(pictures.jpeg(320, 160))
    answer = client.simulate_get(f"{url}_{size}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert pictures.decoded(answer.content).size == expected


def test_a_put_replaces_picture_previews_and_metadata(client):
    client.put_image(headers={"X-Luna-Meta-Old": "1"})
    client.put_image(pictures.jpeg(48, 64), headers={"X-Luna-Meta-New": "2"})
    answer = client.simulate_get(IMAGE_URL, params={"with_meta": "1"})
    assert answer.content == pictures.jpeg(48, 64)
    assert answer.headers["x-luna-meta-new"] == "2"
    assert "x-luna-meta-old" not in answer.headers
    assert sizes(client, IMAGE_URL)[32] == (24, 32)


def test_a_refused_put_leaves_what_was_there(client):
    client.put_image()
    assert error(client.simulate_put(IMAGE_URL, body=JPEG[:-10])) == (400, 18002)
    assert client.simulate_get(IMAGE_URL).content == JPEG


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "tiff", "gif", "x-portable-pixmap", "JPEG", "png; charset=utf-8"])
def test_what_a_picture_is_shows_from_its_bytes_whatever_type_is_said(client, kind):
    client.put_image(content_type=f"image/{kind}")
    assert client.simulate_get(IMAGE_URL).content == JPEG


@pytest.mark.parametrize("kind", ["image/webp", "image/svg+xml", "text/plain", "application/octet-stream", "jpeg", "image/*"])
@pytest.mark.parametrize(("method", "url"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_a_type_that_is_not_taken_is_refused(client, method, url, kind):
    answer = client.simulate_request(method, url, body=JPEG, content_type=kind)
    assert error(answer) == (400, 12017)
    assert answer.json["detail"] == "Bad content type"


@pytest.mark.parametrize(
    "data", [b"no picture", JPEG[:-1], JPEG[: len(JPEG) // 2], b"\xff\xd8\xff", pictures.encoded(pictures.quadrants(), "ICO")]
)
@pytest.mark.parametrize(("method", "url"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_what_cannot_be_decoded_is_refused(client, method, url, data):
    assert error(client.simulate_request(method, url, body=data)) == (400, 18002)
    assert client.simulate_get(IMAGE_URL).status_code == 404


@pytest.mark.parametrize(("method", "url"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_an_empty_body_is_refused(client, method, url):
    answer = client.simulate_request(method, url)
    assert error(answer) == (400, 12030)
    assert answer.json["detail"] == "Request does not contain data"


@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
@pytest.mark.parametrize("extras", [{}, {"CONTENT_LENGTH": ""}], ids=["announced", "chunked"])
def test_a_picture_over_the_limit_is_refused(client, make_client, method, path, extras):
    limited = make_client(IMAGES__MAX_SIZE=len(JPEG))
    answer = limited.simulate_request(method, path, body=JPEG + b"\0", extras=extras)
    assert error(answer) == (413, 13903)
    assert answer.json["detail"] == f"The limit is {len(JPEG)} bytes"
    assert limited.simulate_request(method, path, body=JPEG, extras=extras).status_code < 300


@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_a_picture_of_too_many_pixels_is_refused(client, make_client, method, path):
    limited = make_client(IMAGES__MAX_PIXELS=64 * 48 - 1)
    answer = limited.simulate_request(method, path, body=JPEG)
    assert error(answer) == (400, 13908)
    assert answer.json["detail"] == "The picture has 3072 pixels, the limit is 3071"


@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_a_body_that_breaks_off_is_refused(client, method, path):
    answer = client.simulate_request(method, path, body=JPEG, extras={"CONTENT_LENGTH": str(len(JPEG) + 1)})
    assert error(answer) == (400, 12046)
    assert client.simulate_get(IMAGE_URL).status_code == 404


def test_settings_say_how_pictures_are_rendered(client, make_client):
    picture = pictures.encoded(pictures.quadrants().convert("RGBA").point(lambda level: level // 2), "PNG")
    client.put_image(picture)
    other = make_client(IMAGES__JPEG_QUALITY=10, IMAGES__PREVIEW_QUALITY=10, IMAGES__BACKGROUND="#000000")
    other.put_image(picture, url=f"{IMAGES}/{ANOTHER}")
    ours, theirs = (client.simulate_get(f"{IMAGES}/{image_id}").content for image_id in (IMAGE, ANOTHER))
    assert len(theirs) < len(ours)
    assert sum(pictures.decoded(theirs).getpixel((0, 0))) < sum(pictures.decoded(ours).getpixel((0, 0)))
    assert len(client.simulate_get(f"{IMAGES}/{ANOTHER}_32").content) < len(client.simulate_get(f"{IMAGE_URL}_32").content)


def test_a_picture_is_deleted_with_its_previews(client):
    client.put_image()
    answer = client.simulate_delete(IMAGE_URL)
    assert (answer.status_code, answer.content) == (204, b"")
    for url in (IMAGE_URL, f"{IMAGE_URL}_32", f"{IMAGE_URL}_33"):
        assert error(client.simulate_get(url)) == (404, 13003)
        assert client.simulate_head(url).status_code == 404
    assert error(client.simulate_delete(IMAGE_URL)) == (404, 13003)


@pytest.mark.parametrize("url", [IMAGE_URL, f"{IMAGE_URL}_64", f"{IMAGE_URL}_65"])
def test_an_image_that_is_missing_is_named(client, url):
    assert client.simulate_get(url).json == {
        "error_code": 13003,
        "desc": "Object not found",
        "detail": f"Image with id {IMAGE} not found",
    }


@pytest.mark.parametrize(
    "size", ["0", "2049", "00", "064", "9999999", "-1", "+64", "1.5", "6_4", "", "x", "64%0a", "%d9%a1", "64_64"]
)
def test_a_preview_of_a_size_out_of_range_is_no_page(client, size):
    client.put_image()
    assert error(client.simulate_get(f"{IMAGE_URL}_{size}")) == (404, 12013)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_preview_can_only_be_read(client, method):
    answer = client.simulate_request(method, f"{IMAGE_URL}_64")
    assert error(answer) == (405, 12021)
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("kind", ["images", "objects"])
@pytest.mark.parametrize("record_id", MALFORMED_IDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_malformed_id_is_no_page(client, method, record_id, kind):
    answer = client.simulate_request(method, f"/1/buckets/pictures/{kind}/{record_id}", content_type="image/jpeg", body=JPEG)
    assert answer.status_code == 404
    assert method == "HEAD" or answer.json["error_code"] == 12013


@pytest.mark.parametrize("image_id", MALFORMED_IDS)
def test_a_malformed_id_of_a_preview_is_no_page(client, image_id):
    assert error(client.simulate_get(f"{IMAGES}/{image_id}_64")) == (404, 12013)


@pytest.mark.parametrize("bucket", MALFORMED_BUCKETS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", ""),
        ("POST", "/images"),
        ("DELETE", "/images"),
        ("POST", "/objects"),
        ("DELETE", "/objects"),
        ("GET", f"/images/{IMAGE}"),
        ("PUT", f"/images/{IMAGE}"),
        ("GET", f"/images/{IMAGE}_64"),
        ("GET", f"/objects/{IMAGE}"),
        ("PUT", f"/objects/{IMAGE}"),
    ],
)
def test_a_malformed_bucket_is_no_page(client, method, path, bucket):
    answer = client.simulate_request(method, f"/1/buckets/{bucket}{path}", content_type="image/jpeg", body=JPEG)
    assert error(answer) == (404, 12013)


def bulk(client, body, **options):
    return client.simulate_delete(IMAGES, body=json.dumps(body), **options)


def test_many_pictures_are_deleted_at_once_and_missing_ones_passed_over(client):
    ids = [client.simulate_post(IMAGES, body=JPEG).json["image_id"] for _ in range(3)]
    answer = bulk(client, {"images": [ids[0], ids[1], ANOTHER, ids[0]]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert [client.simulate_get(f"{IMAGES}/{image_id}").status_code for image_id in ids] == [404, 404, 200]


def test_objects_of_the_same_id_are_left_alone_by_a_bulk_deletion(client):
    client.put_object(url=f"/1/buckets/pictures/objects/{IMAGE}")
    client.put_image()
    assert bulk(client, {"images": [IMAGE]}).status_code == 204
    assert client.simulate_get(f"/1/buckets/pictures/objects/{IMAGE}").status_code == 200


@pytest.mark.parametrize("ids", [[], [str(uuid4()) for _ in range(1000)]], ids=["none", "1000"])
def test_up_to_a_thousand_ids_are_taken(client, ids):
    assert bulk(client, {"images": ids, "more": 1}).status_code == 204


def test_more_than_a_thousand_ids_are_refused(client):
    client.put_image()
    assert error(bulk(client, {"images": [*[IMAGE] * 1000, "no id"]})) == (400, 13902)
    answer = bulk(client, {"images": [IMAGE] * 1001})
    assert error(answer) == (400, 13902)
    assert answer.json["detail"] == "No more than 1000 ids are allowed, 1001 given"
    assert client.simulate_get(IMAGE_URL).status_code == 200


@pytest.mark.parametrize("body", [b"", b"images", b"{", b'{"images": ["\xff"]}', b"[" * 100_000, b'{"images": []} x', b"\0"])
def test_a_bulk_deletion_without_json_is_refused(client, body):
    answer = client.simulate_delete(IMAGES, body=body)
    assert error(answer) == (400, 12002)
    assert answer.json["detail"] == "Request does not contain json"


@pytest.mark.parametrize("body", [{}, {"objects": [IMAGE]}, {"Images": [IMAGE]}])
def test_a_bulk_deletion_without_ids_is_refused(client, body):
    answer = bulk(client, body)
    assert error(answer) == (400, 12003)
    assert answer.json["detail"] == "Field images not found in json"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"images": [IMAGE, "x"]}, "images.1"),
        ({"images": [IMAGE.upper()]}, "images.0"),
        ({"images": [IMAGE + "\n"]}, "images.0"),
        ({"images": [f"../{IMAGE}"]}, "images.0"),
        ({"images": [None]}, "images.0"),
        ({"images": [1]}, "images.0"),
        ({"images": [[IMAGE]]}, "images.0"),
        ({"images": None}, "images"),
        ({"images": IMAGE}, "images"),
        ({"images": {IMAGE: 1}}, "images"),
        ([IMAGE], ""),
        (None, ""),
        ("images", ""),
        (1, ""),
    ],
)
def test_a_bulk_deletion_with_bad_values_is_refused_and_deletes_nothing(client, body, path):
    client.put_image()
    answer = bulk(client, body)
    assert error(answer) == (400, 12022)
    assert answer.json["detail"].startswith(f"Failed to validate input json. Path: '{path}' message: '")
    assert client.simulate_get(IMAGE_URL).status_code == 200


def meta_of(answer):
    return {name: value for name, value in answer.headers.items() if name.startswith("x-luna-meta-")}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_metadata_comes_back_when_it_is_asked_for(client, method):
    meta = {"X-Luna-Meta-Name": "Ada Lovelace", "X-LUNA-META-camera-7": "~!@#$%^&*()", "X-Luna-Meta-1": "1"}
    client.put_image(headers=meta)
    answer = client.simulate_request(method, IMAGE_URL, params={"with_meta": "1"})
    assert meta_of(answer) == {name.lower(): value for name, value in meta.items()}


def test_metadata_is_kept_by_post_too(client):
    url = client.simulate_post(IMAGES, body=JPEG, headers={"X-Luna-Meta-Name": "Ada"}).json["url"]
    assert meta_of(client.simulate_get(url, params={"with_meta": "1"})) == {"x-luna-meta-name": "Ada"}


@pytest.mark.parametrize("query", [{}, {"with_meta": "0"}])
def test_metadata_is_not_sent_otherwise(client, query):
    client.put_image(headers={"X-Luna-Meta-Name": "Ada"})
    assert meta_of(client.simulate_get(IMAGE_URL, params=query)) == {}
    assert meta_of(client.simulate_head(IMAGE_URL, params=query)) == {}


@pytest.mark.parametrize("size", [32, 33])
def test_previews_carry_no_metadata(client, size):
    client.put_image(headers={"X-Luna-Meta-Name": "Ada"})
    assert meta_of(client.simulate_get(f"{IMAGE_URL}_{size}", params={"with_meta": "1"})) == {}


@pytest.mark.parametrize("query", ["2", "", "true", "01", "-1", "1.0", "%d9%a1", "1&with_meta=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_value_of_with_meta_is_refused(client, method, query):
    client.put_image()
    answer = client.simulate_request(method, IMAGE_URL, query_string=f"with_meta={query}")
    assert answer.status_code == 400
    if method == "GET":
        assert answer.json["error_code"] == 12012
        assert answer.json["detail"] == "Bad query parameters with_meta"


@pytest.mark.parametrize(
    "meta",
    [
        {"X-Luna-Meta-" + "k" * 64: ""},
        {"X-Luna-Meta-k": "v" * 2047},
        {f"X-Luna-Meta-{number:02}": "v" * 62 for number in range(32)},
        {"X-Luna-Meta--k-7": "hyphens"},
    ],
)
def test_metadata_may_fill_its_limits(client, meta):
    client.put_image(headers=meta)
    answer = client.simulate_get(IMAGE_URL, params={"with_meta": "1"})
    assert meta_of(answer) == {name.lower(): value for name, value in meta.items()}


@pytest.mark.parametrize(
    "meta",
    [
        {"X-Luna-Meta-" + "k" * 65: ""},
        {"X-Luna-Meta-": "no key"},
        {"X-Luna-Meta-a.b": "dot"},
        {"X-Luna-Meta-k": "v" * 2048},
        {f"X-Luna-Meta-{number:02}": "v" * 63 for number in range(32)},
        {"X-Luna-Meta-k": "caf\xe9"},
        {"X-Luna-Meta-k": "a\tb"},
        {"X-Luna-Meta-k": "a\x7f"},
        {"X-Luna-Meta-k": "a\nb"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_metadata_over_its_limits_is_refused(client, method, path, meta):
    answer = client.simulate_request(method, path, body=JPEG, headers=meta)
    assert error(answer) == (400, 12046)
    assert client.simulate_get(IMAGE_URL).status_code == 404
