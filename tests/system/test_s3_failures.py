"""S3 is down, slow, broken or refuses requests. Each request gets the documented error, and no partial record is stored."""

import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.s3_proxy import At, End, Failure, S3Proxy

from ..machine import wait_until
from ..swift import Account, Swift
from .images import noise_image
from .raw_storage import RawS3, RawStorage
from .service import Service

MIB = 2**20
IMAGES, OBJECTS = "/1/buckets/photos/images", "/1/buckets/photos/objects"
ID = "8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
ZIP = {"Content-Type": "application/zip"}
LARGE = b"PK\x03\x04" + bytes(20 * MIB)  # three parts
ONE_ATTEMPT = {"HTTP__WORKERS": 1, "HTTP__THREADS": 16, "S3__MAX_ATTEMPTS": 1}
SHORT_TIMEOUTS = {"S3__CONNECT_TIMEOUT": 1, "S3__READ_TIMEOUT": 3}
UNAVAILABLE, TIMEOUT, FULL = (503, 13905), (504, 13906), (507, 13907)

Request = Callable[[Service], requests.Response]
REQUESTS: Mapping[str, Request] = {
    "list_buckets": lambda service: service.get("/1/buckets"),
    "head_bucket": lambda service: service.post("/1/buckets?bucket=another"),
    "put_object": lambda service: service.post(IMAGES, noise_image()),
    "create_multipart_upload": lambda service: service.post(OBJECTS, LARGE, headers=ZIP),
    "get_object": lambda service: service.get(f"{IMAGES}/{ID}"),
    "get_object of a preview": lambda service: service.get(f"{IMAGES}/{ID}_96"),
    "head_object": lambda service: service.request("HEAD", f"{IMAGES}/{ID}"),
    "head_object of an owner": lambda service: service.put(f"{IMAGES}/{ID}", noise_image()),
    "delete_objects": lambda service: service.delete(IMAGES, json={"images": [ID]}),
    "head_object to delete": lambda service: service.delete(f"{IMAGES}/{ID}"),
    "head_bucket to delete": lambda service: service.delete("/1/buckets/photos"),
}


@pytest.fixture(scope="module")
def account(swift: Swift) -> Account:
    return swift.fresh_account()


@pytest.fixture(scope="module")
def proxy(account: Account) -> Iterator[S3Proxy]:
    with S3Proxy(account.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def storage(account: Account, proxy: S3Proxy) -> RawS3:
    return RawS3(account, proxy.endpoint)


@contextmanager
def serving(folder: Path, storage: RawStorage, **settings: object) -> Iterator[Service]:
    service = Service(folder, storage, **{**ONE_ATTEMPT, **settings})
    try:
        yield service.start()
        log = service.log()
        assert "Traceback" not in log
        assert "WORKER TIMEOUT" not in log
        assert str(service.storage.settings["S3__SECRET_ACCESS_KEY"]) not in log
    finally:
        service.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, storage: RawS3) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("failures"), storage) as service:
        service.make_bucket()
        assert service.put(f"{IMAGES}/{ID}", noise_image()).status_code == 200
        yield service


@pytest.fixture(scope="module")
def short_timeout_service(tmp_path_factory: pytest.TempPathFactory, running: Service) -> Iterator[Service]:
    """Another service on the same records, for failures that end in a timeout."""
    with serving(tmp_path_factory.mktemp("short-timeouts"), running.storage, **SHORT_TIMEOUTS) as service:
        yield service


@pytest.fixture
def service(running: Service, storage: RawS3) -> Iterator[Service]:
    """The service. After the test, check that its workers still run and that it stores acknowledged records only."""
    workers = running.workers()
    yield running
    assert storage.ids("images") == [ID]
    assert storage.ids("objects") == []
    assert storage.leftovers() == []
    assert running.get(f"{IMAGES}/{ID}").content == noise_image()
    assert running.workers() == workers


def check_error(answer: requests.Response, status: int, code: int) -> None:
    assert (answer.status_code, answer.json()["error_code"] if answer.content else code) == (status, code), answer.content
    assert ("Retry-After" in answer.headers) is (status == 503)


def check_requests(service: Service, expected: tuple[int, int], *sends: Request) -> str:
    """Send requests at the same time, check their errors, and return the new log lines."""
    seen = len(service.log())
    with ThreadPoolExecutor(len(sends)) as pool:
        for answer in list(pool.map(lambda send: send(service), sends)):
            check_error(answer, *expected)
    return service.log()[seen:]


def check_all_requests(service: Service, expected: tuple[int, int], *excluded: str) -> str:
    return check_requests(service, expected, *(send for name, send in REQUESTS.items() if name not in excluded))


def get_request(path: str, **headers: str) -> Request:
    return lambda service: service.get(path, headers=headers)


def logged_operations(log: str) -> set[str]:
    return {name for name in REQUESTS if " " not in name and name in log}


# All requests fail


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalError", UNAVAILABLE),
        (503, "SlowDown", UNAVAILABLE),
        (403, "SignatureDoesNotMatch", UNAVAILABLE),
        (403, "RequestTimeTooSkewed", UNAVAILABLE),
        (400, "RequestTimeout", TIMEOUT),
        (507, "InsufficientStorage", FULL),
    ],
)
def test_error_of_s3_is_reported(service: Service, proxy: S3Proxy, status: int, code: str, expected: tuple[int, int]) -> None:
    # a response to HEAD has a status, but no error code
    without_code = () if expected is UNAVAILABLE or status == 507 else [name for name in REQUESTS if "head" in name]
    with proxy.failing(Failure(status=status, code=code)):
        log = check_all_requests(service, expected, *without_code)
    assert logged_operations(log) == logged_operations(" ".join(REQUESTS)) - {*without_code}
    assert code in log


@pytest.mark.parametrize(
    ("end", "at", "expected"),
    [
        (End.RESET, At.REQUEST, UNAVAILABLE),
        (End.CLOSE, At.REQUEST, UNAVAILABLE),
        (End.SILENCE, At.REQUEST, TIMEOUT),
        (End.RESET, At.RESPONSE, UNAVAILABLE),
        (End.SILENCE, At.RESPONSE, TIMEOUT),
    ],
)
def test_lost_connection_to_s3_is_reported(
    service: Service, short_timeout_service: Service, proxy: S3Proxy, end: End, at: At, expected: tuple[int, int]
) -> None:
    # S3 executes a complete request, even if its response is lost
    writes = ("put_object", "create_multipart_upload", "delete_objects") if at is At.RESPONSE else ()
    with proxy.failing(Failure(end=end, at=at)):
        log = check_all_requests(short_timeout_service if end is End.SILENCE else service, expected, *writes)
    assert logged_operations(log) >= {"list_buckets", "head_bucket", "get_object", "head_object"}


def test_refused_connection_to_s3_is_reported(service: Service, proxy: S3Proxy) -> None:
    with proxy.closed():
        check_all_requests(service, UNAVAILABLE)


def test_missing_bucket_is_reported(service: Service) -> None:
    missing = "/1/buckets/missing"
    for answer in (
        service.post(f"{missing}/images", noise_image()),
        service.post(f"{missing}/objects", LARGE, headers=ZIP),
        service.put(f"{missing}/images/{ID}", noise_image()),
        service.get(f"{missing}/images/{ID}"),
        service.get(f"{missing}/images/{ID}_96"),
        service.request("HEAD", f"{missing}/images/{ID}"),
        service.delete(f"{missing}/images/{ID}"),
        service.delete(f"{missing}/images", json={"images": [ID]}),
        service.delete(missing),
        service.get(f"/1/buckets/No-Bucket_of-S3/images/{ID}".lower()),
    ):
        check_error(answer, 404, 13901)


def test_short_failure_is_hidden_by_retries(tmp_path: Path, service: Service, proxy: S3Proxy) -> None:
    failures = (Failure(status=503, code="SlowDown", times=2), Failure(end=End.RESET, at=At.REQUEST, after=10_000, times=2))
    with serving(tmp_path, service.storage, S3__MAX_ATTEMPTS=3) as retrying:
        for failure in (*failures, Failure(end=End.RESET, at=At.RESPONSE, times=1)):
            with proxy.failing(failure):
                assert retrying.put(f"{IMAGES}/{ID}", noise_image()).status_code == 200
            with proxy.failing(failure):
                assert retrying.get(f"{IMAGES}/{ID}").status_code == 200


# Uploads


@pytest.mark.parametrize(("end", "expected"), [(End.RESET, UNAVAILABLE), (End.CLOSE, UNAVAILABLE), (End.SILENCE, TIMEOUT)])
def test_upload_that_s3_interrupts_leaves_no_data(
    service: Service, short_timeout_service: Service, proxy: S3Proxy, end: End, expected: tuple[int, int]
) -> None:
    used = short_timeout_service if end is End.SILENCE else service
    with proxy.failing(Failure(end=end, at=At.REQUEST, after=1000, where="^PUT")):
        check_requests(
            used, expected, *(REQUESTS[name] for name in ("put_object", "create_multipart_upload", "head_object of an owner"))
        )
    with proxy.failing(Failure(end=end, at=At.REQUEST, after=5 * MIB, where="partNumber=2")):
        check_requests(used, expected, REQUESTS["create_multipart_upload"])


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("uploads", 503),
        ("partNumber=1", 503),
        ("partNumber=3", 503),
        ("^POST .*uploadId=", 503),
        ("^POST .*uploadId=", 200),  # S3 can fail to join the parts after it has sent the status
    ],
)
def test_large_upload_that_s3_refuses_at_any_step_leaves_no_data(service: Service, proxy: S3Proxy, where: str, status: int) -> None:
    with proxy.failing(Failure(status=status, code="SlowDown", where=where)):
        check_error(service.post(OBJECTS, LARGE, headers=ZIP), *UNAVAILABLE)


def test_upload_that_cannot_be_aborted_is_logged_and_invisible(service: Service, proxy: S3Proxy, storage: RawS3) -> None:
    with proxy.failing(Failure(status=503, code="SlowDown", where="partNumber=2|^DELETE")):
        check_error(service.post(OBJECTS, LARGE, headers=ZIP), *UNAVAILABLE)
    assert "abort_multipart_upload" in service.log()
    assert storage.ids("objects") == []
    assert len(storage.leftovers()) == 1
    storage.abort_uploads()


@pytest.mark.parametrize("content", [b"PK\x03\x04", LARGE], ids=["small", "large"])
def test_save_without_a_response_from_s3_stores_a_complete_record(service: Service, proxy: S3Proxy, content: bytes) -> None:
    with proxy.failing(Failure(end=End.RESET, at=At.RESPONSE, where="^PUT [^?]*$|^POST .*uploadId=")):
        check_error(service.put(f"{OBJECTS}/{ID}", content, headers=ZIP), *UNAVAILABLE)
    assert service.get(f"{OBJECTS}/{ID}").content == content
    assert service.put(f"{OBJECTS}/{ID}", content, headers=ZIP).status_code == 200  # a client repeats the request
    assert service.delete(f"{OBJECTS}/{ID}").status_code == 204


# Downloads


@pytest.mark.parametrize(("end", "expected"), [(End.RESET, UNAVAILABLE), (End.CLOSE, UNAVAILABLE), (End.SILENCE, TIMEOUT)])
def test_download_that_s3_interrupts_before_the_first_byte_is_reported(
    service: Service, short_timeout_service: Service, proxy: S3Proxy, large: str, end: End, expected: tuple[int, int]
) -> None:
    paths = (f"{IMAGES}/{ID}", f"{IMAGES}/{ID}_96", f"{IMAGES}/{ID}_97", large)
    with proxy.failing(Failure(end=end, at=At.BODY, after=1000)):
        part = get_request(large, Range=f"bytes={5 * MIB}-")
        check_requests(short_timeout_service if end is End.SILENCE else service, expected, part, *map(get_request, paths))


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("byte_range", ["bytes=0-", f"bytes={4 * MIB}-"])
def test_large_download_that_s3_interrupts_is_visibly_incomplete(
    service: Service, short_timeout_service: Service, proxy: S3Proxy, large: str, end: End, byte_range: str
) -> None:
    used = short_timeout_service if end is End.SILENCE else service
    with (
        proxy.failing(Failure(end=end, at=At.BODY, after=10 * MIB)),
        used.get(large, headers={"Range": byte_range}, stream=True) as answer,
    ):
        assert answer.status_code == 206
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
            answer.content  # noqa: B018  # the test reads the body


@pytest.fixture
def large(service: Service) -> Iterator[str]:
    """Store a large object during a test, and yield its URL."""
    url = service.post(OBJECTS, LARGE, headers=ZIP).json()["url"]
    yield url
    assert service.get(url).content == LARGE
    assert service.delete(url).status_code == 204


# Health check and start


def test_health_check_reports_failures_and_recovery(service: Service, proxy: S3Proxy) -> None:
    for failure in (
        Failure(status=503, code="SlowDown"),
        Failure(status=403, code="InvalidAccessKeyId"),
        Failure(end=End.SILENCE, at=At.REQUEST),
    ):
        with proxy.failing(failure):
            wait_until(lambda: service.get("/healthcheck", timeout=10).status_code == 502)  # a load balancer does not wait longer
        wait_until(lambda: service.get("/healthcheck").status_code == 200)
    with proxy.closed():
        wait_until(lambda: service.get("/healthcheck", timeout=10).status_code == 502)
    wait_until(lambda: service.get("/healthcheck").status_code == 200)


def test_service_starts_while_s3_is_down_and_works_when_s3_is_up(tmp_path: Path, service: Service, proxy: S3Proxy) -> None:
    with proxy.closed(), serving(tmp_path, service.storage) as early:
        check_error(early.get("/1/buckets"), *UNAVAILABLE)
        assert early.get("/healthcheck").status_code == 502
        assert early.get("/version").status_code == 200
        proxy.open()
        assert early.get("/1/buckets").json() == ["photos"]
        wait_until(lambda: early.get("/healthcheck").status_code == 200)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"S3__SECRET_ACCESS_KEY": "a-wrong-secret"}, "SignatureDoesNotMatch"),
        ({"S3__ACCESS_KEY_ID": "nobody"}, ""),
        ({"S3__ENDPOINT_URL": "http://nowhere.invalid:80"}, "nowhere.invalid"),
    ],
)
def test_wrong_s3_settings_are_reported(tmp_path: Path, service: Service, setting: Mapping[str, object], reason: str) -> None:
    with serving(tmp_path, service.storage, **setting) as misconfigured:
        for answer in (
            misconfigured.post(IMAGES, noise_image()),
            misconfigured.get(f"{IMAGES}/{ID}"),
            misconfigured.get("/1/buckets"),
        ):
            check_error(answer, *UNAVAILABLE)
        assert misconfigured.get("/healthcheck").status_code == 502
        assert reason in misconfigured.log()
        assert "a-wrong-secret" not in misconfigured.log()


def test_server_that_accepts_no_connections_is_reported(tmp_path: Path, service: Service) -> None:
    """The accept queue is full. The kernel drops new connections: it neither refuses nor establishes them."""
    with ExitStack() as stack:
        full_server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full_server.getsockname())
        endpoint = f"http://127.0.0.1:{full_server.getsockname()[1]}"
        with serving(tmp_path, service.storage, **{**SHORT_TIMEOUTS, "S3__ENDPOINT_URL": endpoint}) as unconnected:
            check_error(unconnected.post(IMAGES, noise_image()), *TIMEOUT)
            assert unconnected.get("/healthcheck", timeout=10).status_code == 502
