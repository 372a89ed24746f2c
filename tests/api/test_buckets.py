import pytest

from luna_image_store.storage.s3.names import RULES
from tests.api.backends import ON_DISK, ON_S3
from tests.api.client import IMAGE_ID, IMAGE_URL, JPEG, OBJECT_URL, error
from tests.machine import wait_until


def create(client, name):
    return client.simulate_post("/1/buckets", params={"bucket": name})


def test_post_creates_a_bucket_and_returns_its_location(client):
    response = create(client, "new")
    assert (response.status_code, response.json) == (201, {})
    assert response.headers["location"] == "/1/buckets/new"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/1/buckets/", "/1/buckets//images", "/1/buckets/x/images/", "/1/buckets/x/objects/"])
def test_empty_name_or_id_is_page_not_found(client, method, path):
    assert error(client.simulate_request(method, path)) == (404, 12013)


def test_buckets_are_listed_in_order_of_their_names(client):
    for name in ("things", "another"):
        create(client, name)
    response = client.simulate_get("/1/buckets")
    assert (response.status_code, response.json) == (200, ["another", "photos", "things"])


@pytest.mark.parametrize("name", ["x" * 3, "0" * 63, "image-store-1"])
def test_bucket_names_may_have_lower_case_letters_digits_and_hyphens(client, name):
    assert create(client, name).status_code == 201
    assert name in client.simulate_get("/1/buckets").json
    assert client.simulate_delete(f"/1/buckets/{name}").status_code == 202


@ON_DISK
@pytest.mark.parametrize("name", ["x", "0", "-", "_", "image_store-bucket", "x" * 255])
def test_bucket_names_on_disk_may_be_short_or_long_or_have_underscores(client, name):
    assert create(client, name).status_code == 201
    assert name in client.simulate_get("/1/buckets").json
    assert client.simulate_delete(f"/1/buckets/{name}").status_code == 202


@pytest.mark.parametrize("name", ["", "A", "a.b", ".", "..", "a/b", "../b", ".tmp", "é", "a b", "new\n", "a\0", "x" * 256])
def test_malformed_bucket_name_is_refused(client, name):
    response = create(client, name)
    assert error(response) == (400, 12012)
    assert response.json["detail"] == "Bad query parameters bucket"
    assert client.simulate_get("/1/buckets").json == ["photos"]


@ON_S3
@pytest.mark.parametrize("rule", RULES)
def test_bucket_name_that_breaks_a_rule_of_s3_is_refused(client, rule):
    invalid_names = dict(zip(RULES, ("xy", "image_store", "photos-", "xn--photos", "photos--x-s3"), strict=True))
    response = create(client, invalid_names[rule])
    assert error(response) == (400, 12012)
    assert response.json["detail"] == f"Bad query parameters bucket: {rule}"


@ON_S3
@pytest.mark.parametrize("name", ["xy", "a_b", "-a-", "x" * 64, "photos--x-s3"])
def test_bucket_with_a_name_that_s3_does_not_allow_is_not_found(client, name):
    for response in (
        client.simulate_get(f"/1/buckets/{name}/images/{IMAGE_ID}"),
        client.simulate_post(f"/1/buckets/{name}/images", body=JPEG),
        client.simulate_delete(f"/1/buckets/{name}"),
    ):
        assert error(response) == (404, 13901)


def test_repeated_bucket_parameter_is_refused(client):
    assert error(client.simulate_post("/1/buckets", query_string="bucket=x&bucket=y")) == (400, 12012)


def test_missing_bucket_parameter_is_refused(client):
    response = client.simulate_post("/1/buckets")
    assert error(response) == (400, 12014)
    assert response.json["detail"] == "Required parameters bucket not found"


def test_existing_bucket_name_is_a_conflict(client):
    response = create(client, "photos")
    assert error(response) == (409, 13006)
    assert response.json["detail"] == "Bucket with name photos already exist"


def test_unknown_parameters_and_headers_are_ignored(client):
    response = client.simulate_post("/1/buckets", params={"bucket": "new", "colour": "blue"}, headers={"X-Colour": "blue"})
    assert response.status_code == 201


def test_bucket_is_deleted_with_all_its_records(client):
    client.put_image()
    client.put_object()
    response = client.simulate_delete("/1/buckets/photos")
    assert (response.status_code, response.json) == (202, {})
    assert client.simulate_get("/1/buckets").json == []
    assert error(client.simulate_get(IMAGE_URL)) == (404, 13901)
    create(client, "photos")
    assert error(client.simulate_get(IMAGE_URL)) == (404, 13003)
    assert error(client.simulate_get(OBJECT_URL)) == (404, 13007)


@ON_DISK
def test_deleted_bucket_is_removed_from_the_trash(client, root):
    client.put_image()
    client.simulate_delete("/1/buckets/photos")
    wait_until(lambda: not any((root / ".trash").iterdir()))


def test_deletion_of_a_missing_bucket_is_not_found(client):
    response = client.simulate_delete("/1/buckets/missing")
    assert error(response) == (404, 13901)
    assert response.json["detail"] == "Bucket with name missing not found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/images"),
        ("DELETE", "/images"),
        ("PUT", "/images/{id}"),
        ("GET", "/images/{id}"),
        ("HEAD", "/images/{id}"),
        ("DELETE", "/images/{id}"),
        ("GET", "/images/{id}_64"),
        ("HEAD", "/images/{id}_64"),
        ("POST", "/objects"),
        ("DELETE", "/objects"),
        ("PUT", "/objects/{id}"),
        ("GET", "/objects/{id}"),
        ("HEAD", "/objects/{id}"),
        ("DELETE", "/objects/{id}"),
    ],
)
def test_requests_in_a_missing_bucket_are_not_found(client, method, path):
    if method == "DELETE" and "id" not in path:
        body, content_type = f'{{"{path[1:]}": ["{IMAGE_ID}"]}}', "application/json"
    elif path.startswith("/images"):
        body, content_type = JPEG, "image/jpeg"
    else:
        body, content_type = b"text", "text/plain"
    response = client.simulate_request(
        method, "/1/buckets/missing" + path.format(id=IMAGE_ID), body=body, content_type=content_type
    )
    if method == "HEAD":
        assert (response.status_code, response.content) == (404, b"")
    else:
        assert error(response) == (404, 13901)
    assert client.simulate_get("/1/buckets").json == ["photos"]
