"""The S3 requests of each request to the service, counted by a proxy."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.s3_proxy import S3Proxy

from ..machine import wait_until
from ..swift import PAGE, Swift
from .images import noise_image
from .raw_storage import RawS3
from .service import Service

BUCKET = "/1/buckets/photos"
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
    storage = RawS3(swift.fresh_account(), proxy.endpoint)
    service = Service(tmp_path_factory.mktemp("requests"), storage, HTTP__WORKERS=1)
    try:
        service.start().make_bucket()
        assert service.put(f"{IMAGES}/{ID}", noise_image()).status_code == 200
        assert service.put(f"{OBJECTS}/{ID}", b"text", headers=TEXT).status_code == 200
        yield service
    finally:
        service.end()


@pytest.mark.parametrize(
    ("send", "operations"),
    [
        (lambda service: service.post(IMAGES, noise_image()), ["PutObject"]),
        (lambda service: service.post(OBJECTS, b"text", headers=TEXT), ["PutObject"]),
        (lambda service: service.put(f"{IMAGES}/{ID}", noise_image()), ["HeadObject", "PutObject"]),
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
        (lambda service: service.post("/1/buckets?bucket=photos"), ["HeadBucket"]),
        (lambda service: service.get("/version"), []),
        (lambda service: service.post(IMAGES, b"no image"), []),
    ],
    ids=[
        *("post image", "post object", "put image", "put object"),
        *("get image", "get image with meta", "get object", "get preview", "head image", "head object", "head preview"),
        *("delete images", "list buckets", "check health", "make existing bucket", "get version", "post invalid image"),
    ],
)
def test_request_sends_the_expected_s3_requests(
    service: Service, proxy: S3Proxy, send: Callable[[Service], object], operations: list[str]
) -> None:
    with proxy.recorded() as lines:
        send(service)
    assert [operation(line) for line in lines] == operations


def test_deletion_looks_up_the_record_and_deletes_it(service: Service, proxy: S3Proxy) -> None:
    url = service.post(IMAGES, noise_image()).json()["url"]
    with proxy.recorded() as lines:
        assert service.delete(url).status_code == 204
    assert [operation(line) for line in lines] == ["HeadObject", "DeleteObject"]


def test_bulk_deletion_by_an_account_looks_up_each_owner(service: Service, proxy: S3Proxy) -> None:
    with proxy.recorded() as lines:
        assert service.delete(f"{OBJECTS}?account_id={OWNER}", json={"objects": [ID, OTHER]}).status_code == 204
    assert sorted(operation(line) for line in lines) == ["DeleteObjects", "HeadObject", "HeadObject"]
    assert service.put(f"{OBJECTS}/{ID}", b"text", headers=TEXT).status_code == 200


def test_large_object_is_uploaded_in_parts_and_downloaded_at_once(service: Service, proxy: S3Proxy) -> None:
    with proxy.recorded() as lines:
        url = service.post(OBJECTS, b"x" * 20 * 2**20, headers=TEXT).json()["url"]
    assert [operation(line) for line in lines] == ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
    with proxy.recorded() as lines:
        assert len(service.get(url).content) == 20 * 2**20
    assert [operation(line) for line in lines] == ["GetObject", "GetObject"]  # one reads the index at the end of the record
    with proxy.recorded() as lines:
        assert service.get(url, headers={"Range": "bytes=9-19"}).content == b"x" * 11
    assert [operation(line) for line in lines] == ["GetObject"] * 3


def test_bucket_is_deleted_page_by_page(service: Service, proxy: S3Proxy) -> None:
    service.make_bucket("large")
    assert isinstance(service.storage, RawS3)
    service.storage.fill("large", PAGE * 2 + 1)
    with proxy.recorded() as lines:
        assert service.delete("/1/buckets/large").status_code == 202
        # after 5 seconds the service responds and continues in the background
        wait_until(lambda: [operation(line) for line in proxy.requests[-2:]] == ["DeleteBucket", "HeadBucket"])
    pages = ["ListObjectsV2", "DeleteObjects"] * 3
    assert [operation(line) for line in lines] == ["HeadBucket", *pages, "ListMultipartUploads", "DeleteBucket", "HeadBucket"]
    assert service.get("/1/buckets").json() == ["photos"]
