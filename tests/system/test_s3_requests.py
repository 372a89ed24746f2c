"""What a request to the service costs in requests to S3, counted at the server's side."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.s3_proxy import S3Proxy

from ..machine import wait_until
from ..swift import PAGE, Swift
from .kept import OnS3
from .pictures import picture
from .service import Service

BUCKET = "/1/buckets/pictures"
IMAGES, OBJECTS = f"{BUCKET}/images", f"{BUCKET}/objects"
ID, OTHER = "8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a", "9b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
OWNER = "7b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
TEXT = {"Content-Type": "text/plain"}
MANY = [f"{number:08x}-2e9c-4e8b-a7a7-5caf86621b5a" for number in range(1000)]

OPERATIONS = {
    "HEAD /[^/]+": "HeadBucket",
    "GET /": "ListBuckets",
    r"GET /[^/]+\?.*list-type=2.*": "ListObjectsV2",
    r"GET /[^/]+\?.*uploads.*": "ListMultipartUploads",
    r"POST /[^/]+\?delete": "DeleteObjects",
    "DELETE /[^/]+": "DeleteBucket",
    r"POST /.+/.+\?uploads": "CreateMultipartUpload",
    r"PUT /.+/.+\?.*partNumber=.*": "UploadPart",
    r"POST /.+/.+\?.*uploadId=.*": "CompleteMultipartUpload",
    "HEAD /.+/.+": "HeadObject",
    "PUT /.+/.+": "PutObject",
    "GET /.+/.+": "GetObject",
    "DELETE /.+/.+": "DeleteObject",
}


def operation(line: str) -> str:
    return next((name for pattern, name in OPERATIONS.items() if re.fullmatch(pattern, line)), line)


@pytest.fixture(scope="module")
def proxy(swift: Swift) -> Iterator[S3Proxy]:
    with S3Proxy(swift.account.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, swift: Swift, proxy: S3Proxy) -> Iterator[Service]:
    kept = OnS3(swift.fresh_account(), proxy.endpoint)
    service = Service(tmp_path_factory.mktemp("requests"), kept, HTTP__WORKERS=1)
    try:
        service.start().make_bucket()
        assert service.put(f"{IMAGES}/{ID}", picture()).status_code == 200
        assert service.put(f"{OBJECTS}/{ID}", b"text", headers=TEXT).status_code == 200
        yield service
    finally:
        service.end()


@pytest.mark.parametrize(
    ("use", "operations"),
    [
        (lambda service: service.post(IMAGES, picture()), ["PutObject"]),
        (lambda service: service.post(OBJECTS, b"text", headers=TEXT), ["PutObject"]),
        (lambda service: service.put(f"{IMAGES}/{ID}", picture()), ["HeadObject", "PutObject"]),
        (lambda service: service.put(f"{OBJECTS}/{ID}", b"text", headers=TEXT), ["HeadObject", "PutObject"]),
        (lambda service: service.get(f"{IMAGES}/{ID}"), ["GetObject"]),
        (lambda service: service.get(f"{IMAGES}/{ID}?with_meta=1&account_id={OWNER}"), ["GetObject"]),
        (lambda service: service.get(f"{OBJECTS}/{ID}"), ["GetObject"]),
        (lambda service: service.get(f"{IMAGES}/{ID}_96"), ["GetObject"]),
        (lambda service: service.request("HEAD", f"{IMAGES}/{ID}"), ["HeadObject"]),
        (lambda service: service.request("HEAD", f"{OBJECTS}/{ID}"), ["HeadObject"]),
        (lambda service: service.request("HEAD", f"{IMAGES}/{ID}_96"), ["GetObject"]),
        (lambda service: service.delete(IMAGES, json={"images": MANY}), ["DeleteObjects"]),
        (lambda service: service.get("/1/buckets"), ["ListBuckets"]),
        (lambda service: service.get("/healthcheck"), ["ListBuckets"]),
        (lambda service: service.post("/1/buckets?bucket=pictures"), ["HeadBucket"]),
        (lambda service: service.get("/version"), []),
        (lambda service: service.post(IMAGES, b"no picture"), []),
    ],
    ids=[
        *("post image", "post object", "put image", "put object"),
        *("get image", "get image with meta", "get object", "get preview", "head image", "head object", "head preview"),
        *("delete images", "list buckets", "check health", "make bucket again", "get version", "post what is no image"),
    ],
)
def test_a_request_costs_as_few_requests_as_can_be(
    service: Service, proxy: S3Proxy, use: Callable[[Service], object], operations: list[str]
) -> None:
    with proxy.counted() as lines:
        use(service)
    assert [operation(line) for line in lines] == operations


def test_a_deletion_costs_one_request_more_than_the_look_whether_there_is_anything(service: Service, proxy: S3Proxy) -> None:
    url = service.post(IMAGES, picture()).json()["url"]
    with proxy.counted() as lines:
        assert service.delete(url).status_code == 204
    assert [operation(line) for line in lines] == ["HeadObject", "DeleteObject"]


def test_owners_are_looked_up_one_by_one_where_an_account_deletes(service: Service, proxy: S3Proxy) -> None:
    with proxy.counted() as lines:
        assert service.delete(f"{OBJECTS}?account_id={OWNER}", json={"objects": [ID, OTHER]}).status_code == 204
    assert sorted(operation(line) for line in lines) == ["DeleteObjects", "HeadObject", "HeadObject"]
    assert service.put(f"{OBJECTS}/{ID}", b"text", headers=TEXT).status_code == 200


def test_a_large_object_goes_up_in_parts_and_comes_down_in_one(service: Service, proxy: S3Proxy) -> None:
    with proxy.counted() as lines:
        url = service.post(OBJECTS, b"x" * 20 * 2**20, headers=TEXT).json()["url"]
    assert [operation(line) for line in lines] == ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
    with proxy.counted() as lines:
        assert len(service.get(url).content) == 20 * 2**20
    assert [operation(line) for line in lines] == ["GetObject", "GetObject"]  # of the tail, too: it has the index
    with proxy.counted() as lines:
        assert service.get(url, headers={"Range": "bytes=9-19"}).content == b"x" * 11
    assert [operation(line) for line in lines] == ["GetObject"] * 3


def test_a_bucket_is_deleted_page_by_page(service: Service, proxy: S3Proxy) -> None:
    service.make_bucket("leaving")
    assert isinstance(service.kept, OnS3)
    service.kept.fill("leaving", PAGE * 2 + 1)
    with proxy.counted() as lines:
        assert service.delete("/1/buckets/leaving").status_code == 202
        # after 5 seconds the service answers and continues in the background
        wait_until(lambda: [operation(line) for line in proxy.requests[-2:]] == ["DeleteBucket", "HeadBucket"])
    pages = ["ListObjectsV2", "DeleteObjects"] * 3
    assert [operation(line) for line in lines] == ["HeadBucket", *pages, "ListMultipartUploads", "DeleteBucket", "HeadBucket"]
    assert service.get("/1/buckets").json() == ["pictures"]
