import pytest

from luna_image_store.storage.s3.names import RULES
from tests.api.backends import ON_DISK, ON_S3
from tests.api.client import IMAGE, IMAGE_URL, JPEG, OBJECT_URL, error
from tests.machine import wait_until


def create(client, name):
    return client.simulate_post("/1/buckets", params={"bucket": name})


def test_a_bucket_is_made_and_located(client):
    answer = create(client, "new")
    assert (answer.status_code, answer.json) == (201, {})
    assert answer.headers["location"] == "/1/buckets/new"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/1/buckets/", "/1/buckets//images", "/1/buckets/x/images/", "/1/buckets/x/objects/"])
def test_an_empty_name_or_id_is_a_path_that_is_not_there(client, method, path):
    assert error(client.simulate_request(method, path)) == (404, 12013)


def test_buckets_are_listed_by_name(client):
    for name in ("things", "another"):
        create(client, name)
    answer = client.simulate_get("/1/buckets")
    assert (answer.status_code, answer.json) == (200, ["another", "pictures", "things"])


@pytest.mark.parametrize("name", ["x" * 3, "0" * 63, "image-store-1"])
def test_a_name_may_have_lower_case_letters_digits_and_hyphens(client, name):
    assert create(client, name).status_code == 201
    assert name in client.simulate_get("/1/buckets").json
    assert client.simulate_delete(f"/1/buckets/{name}").status_code == 202


@ON_DISK
@pytest.mark.parametrize("name", ["x", "0", "-", "_", "image_store-bucket", "x" * 255])
def test_on_a_disk_a_name_may_also_be_short_long_and_with_underscores(client, name):
    assert create(client, name).status_code == 201
    assert name in client.simulate_get("/1/buckets").json
    assert client.simulate_delete(f"/1/buckets/{name}").status_code == 202


@pytest.mark.parametrize("name", ["", "A", "a.b", ".", "..", "a/b", "../b", ".tmp", "é", "a b", "new\n", "a\0", "x" * 256])
def test_a_name_of_another_form_is_refused(client, name):
    answer = create(client, name)
    assert error(answer) == (400, 12012)
    assert answer.json["detail"] == "Bad query parameters bucket"
    assert client.simulate_get("/1/buckets").json == ["pictures"]


@ON_S3
@pytest.mark.parametrize("rule", RULES)
def test_on_s3_a_name_must_keep_its_rules(client, rule):
    broken = dict(zip(RULES, ("xy", "image_store", "pictures-", "xn--pictures", "pictures--x-s3"), strict=True))
    answer = create(client, broken[rule])
    assert error(answer) == (400, 12012)
    assert answer.json["detail"] == f"Bad query parameters bucket: {rule}"


@ON_S3
@pytest.mark.parametrize("name", ["xy", "a_b", "-a-", "x" * 64, "pictures--x-s3"])
def test_a_bucket_that_s3_cannot_have_is_missing(client, name):
    for answer in (
        client.simulate_get(f"/1/buckets/{name}/images/{IMAGE}"),
        client.simulate_post(f"/1/buckets/{name}/images", body=JPEG),
        client.simulate_delete(f"/1/buckets/{name}"),
    ):
        assert error(answer) == (404, 13901)


def test_a_name_given_twice_is_refused(client):
    assert error(client.simulate_post("/1/buckets", query_string="bucket=x&bucket=y")) == (400, 12012)


def test_a_name_is_needed(client):
    answer = client.simulate_post("/1/buckets")
    assert error(answer) == (400, 12014)
    assert answer.json["detail"] == "Required parameters bucket not found"


def test_a_name_can_be_taken_once(client):
    answer = create(client, "pictures")
    assert error(answer) == (409, 13006)
    assert answer.json["detail"] == "Bucket with name pictures already exist"


def test_unknown_parameters_and_headers_are_ignored(client):
    answer = client.simulate_post("/1/buckets", params={"bucket": "new", "colour": "blue"}, headers={"X-Colour": "blue"})
    assert answer.status_code == 201


def test_a_bucket_goes_with_all_it_holds(client):
    client.put_image()
    client.put_object()
    answer = client.simulate_delete("/1/buckets/pictures")
    assert (answer.status_code, answer.json) == (202, {})
    assert client.simulate_get("/1/buckets").json == []
    assert error(client.simulate_get(IMAGE_URL)) == (404, 13901)
    create(client, "pictures")
    assert error(client.simulate_get(IMAGE_URL)) == (404, 13003)
    assert error(client.simulate_get(OBJECT_URL)) == (404, 13007)


@ON_DISK
def test_the_bytes_of_a_deleted_bucket_are_freed(client, root):
    client.put_image()
    client.simulate_delete("/1/buckets/pictures")
    wait_until(lambda: not any((root / ".trash").iterdir()))


def test_a_bucket_that_is_missing_cannot_be_deleted(client):
    answer = client.simulate_delete("/1/buckets/missing")
    assert error(answer) == (404, 13901)
    assert answer.json["detail"] == "Bucket with name missing not found"


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
def test_nothing_works_in_a_bucket_that_is_missing(client, method, path):
    if method == "DELETE" and "id" not in path:
        body, kind = f'{{"{path[1:]}": ["{IMAGE}"]}}', "application/json"
    elif path.startswith("/images"):
        body, kind = JPEG, "image/jpeg"
    else:
        body, kind = b"text", "text/plain"
    answer = client.simulate_request(method, "/1/buckets/missing" + path.format(id=IMAGE), body=body, content_type=kind)
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (404, b"")
    else:
        assert error(answer) == (404, 13901)
    assert client.simulate_get("/1/buckets").json == ["pictures"]
