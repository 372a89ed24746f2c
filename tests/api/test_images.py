import json
import re
from uuid import uuid4

import pytest

from tests import sample_images
from tests.api.client import IMAGE_ID, IMAGE_URL, IMAGES, JPEG, OTHER_ID, error

ID = "[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}"
STORED_SIZES = (32, 64, 96, 160)
MALFORMED_IDS = [
    IMAGE_ID.upper(),
    IMAGE_ID.replace("-", ""),
    f"urn:uuid:{IMAGE_ID}",
    f"{{{IMAGE_ID}}}",
    IMAGE_ID[:-1],
    IMAGE_ID + "0",
    IMAGE_ID + "%0a",
    IMAGE_ID + "%00",
    IMAGE_ID + "%20",
    IMAGE_ID + ".jpg",
    IMAGE_ID.replace("1", "%d9%a1"),
    "g" + IMAGE_ID[1:],
    "..",
    "%2e%2e",
    "%2e%2e%2f" + IMAGE_ID,
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


def preview_sizes(client, url):
    return {size: sample_images.decoded(client.simulate_get(f"{url}_{size}").content).size for size in STORED_SIZES}


def test_post_stores_an_image_under_a_new_id(client):
    response = client.simulate_post(IMAGES, body=JPEG, content_type="image/jpeg")
    assert response.status_code == 201
    image_id = response.json["image_id"]
    assert re.fullmatch(ID, image_id)
    url = f"/1/buckets/photos/images/{image_id}"
    assert response.json == {"image_id": image_id, "url": url, **{f"url{size}": f"{url}_{size}" for size in STORED_SIZES}}
    assert response.headers["location"] == url
    for link in ("url", "url32", "url64", "url96", "url160"):
        assert client.simulate_get(response.json[link]).headers["content-type"] == "image/jpeg"


def test_each_post_creates_another_id(client):
    assert len({client.simulate_post(IMAGES, body=JPEG).json["image_id"] for _ in range(5)}) == 5


def test_put_stores_an_image_under_the_given_id(client):
    response = client.simulate_put(IMAGE_URL, body=JPEG)
    assert (response.status_code, response.json) == (200, {"url": IMAGE_URL})
    assert client.simulate_get(IMAGE_URL).content == JPEG


@pytest.mark.parametrize("image_id", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, OTHER_ID, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
def test_id_may_be_a_uuid_of_any_version(client, image_id):
    assert client.simulate_get(client.put_image(url=f"{IMAGES}/{image_id}")).content == JPEG


def test_jpeg_is_stored_unchanged(client):
    data = sample_images.rotated(6, "JPEG") + b"trailing bytes"
    assert client.simulate_get(client.put_image(data)).content == data


@pytest.mark.parametrize("image_format", sample_images.FORMATS)
def test_image_of_each_format_is_stored_as_jpeg_with_previews(client, image_format):
    url = client.put_image(sample_images.encoded(sample_images.quadrants(320, 160), image_format))
    image = sample_images.decoded(client.simulate_get(url).content)
    assert (image.format, image.size, sample_images.corners(image)) == ("JPEG", (320, 160), sample_images.UPRIGHT)
    assert preview_sizes(client, url) == {32: (32, 16), 64: (64, 32), 96: (96, 48), 160: (160, 80)}


@pytest.mark.parametrize(
    ("size", "expected"), [(1, (1, 1)), (100, (100, 50)), (319, (319, 160)), (320, (320, 160)), (2048, (320, 160))]
)
def test_preview_of_any_size_is_rendered_and_never_enlarged(client, size, expected):
    url = client.put_image(sample_images.jpeg(320, 160))
    response = client.simulate_get(f"{url}_{size}")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
    assert sample_images.decoded(response.content).size == expected


def test_put_replaces_image_previews_and_metadata(client):
    client.put_image(headers={"X-Luna-Meta-Old": "1"})
    client.put_image(sample_images.jpeg(48, 64), headers={"X-Luna-Meta-New": "2"})
    response = client.simulate_get(IMAGE_URL, params={"with_meta": "1"})
    assert response.content == sample_images.jpeg(48, 64)
    assert response.headers["x-luna-meta-new"] == "2"
    assert "x-luna-meta-old" not in response.headers
    assert preview_sizes(client, IMAGE_URL)[32] == (24, 32)


def test_refused_put_does_not_change_the_record(client):
    client.put_image()
    assert error(client.simulate_put(IMAGE_URL, body=JPEG[:-10])) == (400, 18002)
    assert client.simulate_get(IMAGE_URL).content == JPEG


@pytest.mark.parametrize("subtype", ["jpeg", "png", "bmp", "tiff", "gif", "x-portable-pixmap", "JPEG", "png; charset=utf-8"])
def test_format_is_detected_from_the_bytes_and_not_from_content_type(client, subtype):
    client.put_image(content_type=f"image/{subtype}")
    assert client.simulate_get(IMAGE_URL).content == JPEG


@pytest.mark.parametrize(
    "content_type", ["image/webp", "image/svg+xml", "text/plain", "application/octet-stream", "jpeg", "image/*"]
)
@pytest.mark.parametrize(("method", "url"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_unsupported_content_type_is_refused(client, method, url, content_type):
    response = client.simulate_request(method, url, body=JPEG, content_type=content_type)
    assert error(response) == (400, 12017)
    assert response.json["detail"] == "Bad content type"


@pytest.mark.parametrize(
    "data",
    [b"not an image", JPEG[:-1], JPEG[: len(JPEG) // 2], b"\xff\xd8\xff", sample_images.encoded(sample_images.quadrants(), "ICO")],
)
@pytest.mark.parametrize(("method", "url"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_undecodable_image_is_refused(client, method, url, data):
    assert error(client.simulate_request(method, url, body=data)) == (400, 18002)
    assert client.simulate_get(IMAGE_URL).status_code == 404


@pytest.mark.parametrize(("method", "url"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_empty_body_is_refused(client, method, url):
    response = client.simulate_request(method, url)
    assert error(response) == (400, 12030)
    assert response.json["detail"] == "Request does not contain data"


@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
@pytest.mark.parametrize("extras", [{}, {"CONTENT_LENGTH": ""}], ids=["content-length", "chunked"])
def test_image_over_the_size_limit_is_refused(client, make_client, method, path, extras):
    limited = make_client(IMAGES__MAX_SIZE=len(JPEG))
    response = limited.simulate_request(method, path, body=JPEG + b"\0", extras=extras)
    assert error(response) == (413, 13903)
    assert response.json["detail"] == f"The limit is {len(JPEG)} bytes"
    assert limited.simulate_request(method, path, body=JPEG, extras=extras).status_code < 300


@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_image_with_too_many_pixels_is_refused(client, make_client, method, path):
    limited = make_client(IMAGES__MAX_PIXELS=64 * 48 - 1)
    response = limited.simulate_request(method, path, body=JPEG)
    assert error(response) == (400, 13908)
    assert response.json["detail"] == "The picture has 3072 pixels, the limit is 3071"  # codespell:ignore


@pytest.mark.parametrize(("method", "path"), [("POST", IMAGES), ("PUT", IMAGE_URL)])
def test_incomplete_body_is_refused(client, method, path):
    response = client.simulate_request(method, path, body=JPEG, extras={"CONTENT_LENGTH": str(len(JPEG) + 1)})
    assert error(response) == (400, 12046)
    assert client.simulate_get(IMAGE_URL).status_code == 404


def test_render_settings_are_used(client, make_client):
    upload = sample_images.encoded(sample_images.quadrants().convert("RGBA").point(lambda level: level // 2), "PNG")
    client.put_image(upload)
    other_client = make_client(IMAGES__JPEG_QUALITY=10, IMAGES__PREVIEW_QUALITY=10, IMAGES__BACKGROUND="#000000")
    other_client.put_image(upload, url=f"{IMAGES}/{OTHER_ID}")
    image, other = (client.simulate_get(f"{IMAGES}/{image_id}").content for image_id in (IMAGE_ID, OTHER_ID))
    assert len(other) < len(image)
    assert sum(sample_images.decoded(other).getpixel((0, 0))) < sum(sample_images.decoded(image).getpixel((0, 0)))
    assert len(client.simulate_get(f"{IMAGES}/{OTHER_ID}_32").content) < len(client.simulate_get(f"{IMAGE_URL}_32").content)


def test_image_is_deleted_with_its_previews(client):
    client.put_image()
    response = client.simulate_delete(IMAGE_URL)
    assert (response.status_code, response.content) == (204, b"")
    for url in (IMAGE_URL, f"{IMAGE_URL}_32", f"{IMAGE_URL}_33"):
        assert error(client.simulate_get(url)) == (404, 13003)
        assert client.simulate_head(url).status_code == 404
    assert error(client.simulate_delete(IMAGE_URL)) == (404, 13003)


@pytest.mark.parametrize("url", [IMAGE_URL, f"{IMAGE_URL}_64", f"{IMAGE_URL}_65"])
def test_error_for_a_missing_image_contains_its_id(client, url):
    assert client.simulate_get(url).json == {
        "error_code": 13003,
        "desc": "Object not found",
        "detail": f"Image with id {IMAGE_ID} not found",
    }


@pytest.mark.parametrize(
    "size", ["0", "2049", "00", "064", "9999999", "-1", "+64", "1.5", "6_4", "", "x", "64%0a", "%d9%a1", "64_64"]
)
def test_invalid_preview_size_is_page_not_found(client, size):
    client.put_image()
    assert error(client.simulate_get(f"{IMAGE_URL}_{size}")) == (404, 12013)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_previews_are_read_only(client, method):
    response = client.simulate_request(method, f"{IMAGE_URL}_64")
    assert error(response) == (405, 12021)
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("kind", ["images", "objects"])
@pytest.mark.parametrize("record_id", MALFORMED_IDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_malformed_id_is_page_not_found(client, method, record_id, kind):
    response = client.simulate_request(method, f"/1/buckets/photos/{kind}/{record_id}", content_type="image/jpeg", body=JPEG)
    assert response.status_code == 404
    assert method == "HEAD" or response.json["error_code"] == 12013


@pytest.mark.parametrize("image_id", MALFORMED_IDS)
def test_malformed_id_of_a_preview_is_page_not_found(client, image_id):
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
        ("GET", f"/images/{IMAGE_ID}"),
        ("PUT", f"/images/{IMAGE_ID}"),
        ("GET", f"/images/{IMAGE_ID}_64"),
        ("GET", f"/objects/{IMAGE_ID}"),
        ("PUT", f"/objects/{IMAGE_ID}"),
    ],
)
def test_malformed_bucket_is_page_not_found(client, method, path, bucket):
    response = client.simulate_request(method, f"/1/buckets/{bucket}{path}", content_type="image/jpeg", body=JPEG)
    assert error(response) == (404, 12013)


def delete_many(client, body, **options):
    return client.simulate_delete(IMAGES, body=json.dumps(body), **options)


def test_bulk_deletion_deletes_images_and_skips_missing_ones(client):
    ids = [client.simulate_post(IMAGES, body=JPEG).json["image_id"] for _ in range(3)]
    response = delete_many(client, {"images": [ids[0], ids[1], OTHER_ID, ids[0]]})
    assert (response.status_code, response.content) == (204, b"")
    assert [client.simulate_get(f"{IMAGES}/{image_id}").status_code for image_id in ids] == [404, 404, 200]


def test_bulk_deletion_of_images_keeps_objects_with_the_same_id(client):
    client.put_object(url=f"/1/buckets/photos/objects/{IMAGE_ID}")
    client.put_image()
    assert delete_many(client, {"images": [IMAGE_ID]}).status_code == 204
    assert client.simulate_get(f"/1/buckets/photos/objects/{IMAGE_ID}").status_code == 200


@pytest.mark.parametrize("ids", [[], [str(uuid4()) for _ in range(1000)]], ids=["none", "1000"])
def test_bulk_deletion_accepts_up_to_1000_ids(client, ids):
    assert delete_many(client, {"images": ids, "more": 1}).status_code == 204


def test_bulk_deletion_refuses_more_than_1000_ids(client):
    client.put_image()
    assert error(delete_many(client, {"images": [*[IMAGE_ID] * 1000, "not an id"]})) == (400, 13902)
    response = delete_many(client, {"images": [IMAGE_ID] * 1001})
    assert error(response) == (400, 13902)
    assert response.json["detail"] == "No more than 1000 ids are allowed, 1001 given"
    assert client.simulate_get(IMAGE_URL).status_code == 200


@pytest.mark.parametrize("body", [b"", b"images", b"{", b'{"images": ["\xff"]}', b"[" * 100_000, b'{"images": []} x', b"\0"])
def test_bulk_deletion_without_json_is_refused(client, body):
    response = client.simulate_delete(IMAGES, body=body)
    assert error(response) == (400, 12002)
    assert response.json["detail"] == "Request does not contain json"


@pytest.mark.parametrize("body", [{}, {"objects": [IMAGE_ID]}, {"Images": [IMAGE_ID]}])
def test_bulk_deletion_without_ids_is_refused(client, body):
    response = delete_many(client, body)
    assert error(response) == (400, 12003)
    assert response.json["detail"] == "Field images not found in json"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"images": [IMAGE_ID, "x"]}, "images.1"),
        ({"images": [IMAGE_ID.upper()]}, "images.0"),
        ({"images": [IMAGE_ID + "\n"]}, "images.0"),
        ({"images": [f"../{IMAGE_ID}"]}, "images.0"),
        ({"images": [None]}, "images.0"),
        ({"images": [1]}, "images.0"),
        ({"images": [[IMAGE_ID]]}, "images.0"),
        ({"images": None}, "images"),
        ({"images": IMAGE_ID}, "images"),
        ({"images": {IMAGE_ID: 1}}, "images"),
        ([IMAGE_ID], ""),
        (None, ""),
        ("images", ""),
        (1, ""),
    ],
)
def test_bulk_deletion_with_an_invalid_value_is_refused_and_deletes_nothing(client, body, path):
    client.put_image()
    response = delete_many(client, body)
    assert error(response) == (400, 12022)
    assert response.json["detail"].startswith(f"Failed to validate input json. Path: '{path}' message: '")
    assert client.simulate_get(IMAGE_URL).status_code == 200


def meta_headers(response):
    return {name: value for name, value in response.headers.items() if name.startswith("x-luna-meta-")}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_with_meta_returns_the_metadata(client, method):
    meta = {"X-Luna-Meta-Name": "Ada Lovelace", "X-LUNA-META-camera-7": "~!@#$%^&*()", "X-Luna-Meta-1": "1"}
    client.put_image(headers=meta)
    response = client.simulate_request(method, IMAGE_URL, params={"with_meta": "1"})
    assert meta_headers(response) == {name.lower(): value for name, value in meta.items()}


def test_post_stores_metadata(client):
    url = client.simulate_post(IMAGES, body=JPEG, headers={"X-Luna-Meta-Name": "Ada"}).json["url"]
    assert meta_headers(client.simulate_get(url, params={"with_meta": "1"})) == {"x-luna-meta-name": "Ada"}


@pytest.mark.parametrize("query", [{}, {"with_meta": "0"}])
def test_metadata_is_returned_only_with_with_meta(client, query):
    client.put_image(headers={"X-Luna-Meta-Name": "Ada"})
    assert meta_headers(client.simulate_get(IMAGE_URL, params=query)) == {}
    assert meta_headers(client.simulate_head(IMAGE_URL, params=query)) == {}


@pytest.mark.parametrize("size", [32, 33])
def test_previews_have_no_metadata(client, size):
    client.put_image(headers={"X-Luna-Meta-Name": "Ada"})
    assert meta_headers(client.simulate_get(f"{IMAGE_URL}_{size}", params={"with_meta": "1"})) == {}


@pytest.mark.parametrize("query", ["2", "", "true", "01", "-1", "1.0", "%d9%a1", "1&with_meta=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_invalid_with_meta_is_refused(client, method, query):
    client.put_image()
    response = client.simulate_request(method, IMAGE_URL, query_string=f"with_meta={query}")
    assert response.status_code == 400
    if method == "GET":
        assert response.json["error_code"] == 12012
        assert response.json["detail"] == "Bad query parameters with_meta"


@pytest.mark.parametrize(
    "meta",
    [
        {"X-Luna-Meta-" + "k" * 64: ""},
        {"X-Luna-Meta-k": "v" * 2047},
        {f"X-Luna-Meta-{number:02}": "v" * 62 for number in range(32)},
        {"X-Luna-Meta--k-7": "hyphens"},
    ],
)
def test_metadata_at_the_limits_is_accepted(client, meta):
    client.put_image(headers=meta)
    response = client.simulate_get(IMAGE_URL, params={"with_meta": "1"})
    assert meta_headers(response) == {name.lower(): value for name, value in meta.items()}


@pytest.mark.parametrize(
    "meta",
    [
        {"X-Luna-Meta-" + "k" * 65: ""},
        {"X-Luna-Meta-": "empty key"},
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
def test_invalid_metadata_is_refused(client, method, path, meta):
    response = client.simulate_request(method, path, body=JPEG, headers=meta)
    assert error(response) == (400, 12046)
    assert client.simulate_get(IMAGE_URL).status_code == 404
