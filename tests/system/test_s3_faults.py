"""S3 that is down, slow, broken or refuses: every request gets the row that tells of it, no half is kept, and it passes."""

import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.s3_proxy import At, End, Fault, S3Proxy

from ..machine import wait_until
from ..swift import Account, Swift
from .kept import Kept, OnS3
from .pictures import picture
from .service import Service

MIB = 2**20
IMAGES, OBJECTS = "/1/buckets/pictures/images", "/1/buckets/pictures/objects"
ID = "8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
ZIP = {"Content-Type": "application/zip"}
LARGE = b"PK\x03\x04" + bytes(20 * MIB)  # three parts
ONE_TRY = {"HTTP__WORKERS": 1, "HTTP__THREADS": 16, "S3__MAX_ATTEMPTS": 1}
IMPATIENT = {"S3__CONNECT_TIMEOUT": 1, "S3__READ_TIMEOUT": 3}
UNAVAILABLE, TIMEOUT, FULL = (503, 13905), (504, 13906), (507, 13907)

Use = Callable[[Service], requests.Response]
USES: Mapping[str, Use] = {
    "list_buckets": lambda service: service.get("/1/buckets"),
    "head_bucket": lambda service: service.post("/1/buckets?bucket=another"),
    "put_object": lambda service: service.post(IMAGES, picture()),
    "create_multipart_upload": lambda service: service.post(OBJECTS, LARGE, headers=ZIP),
    "get_object": lambda service: service.get(f"{IMAGES}/{ID}"),
    "get_object of a preview": lambda service: service.get(f"{IMAGES}/{ID}_96"),
    "head_object": lambda service: service.request("HEAD", f"{IMAGES}/{ID}"),
    "head_object of an owner": lambda service: service.put(f"{IMAGES}/{ID}", picture()),
    "delete_objects": lambda service: service.delete(IMAGES, json={"images": [ID]}),
    "head_object to delete": lambda service: service.delete(f"{IMAGES}/{ID}"),
    "head_bucket to delete": lambda service: service.delete("/1/buckets/pictures"),
}


@pytest.fixture(scope="module")
def account(swift: Swift) -> Account:
    return swift.fresh_account()


@pytest.fixture(scope="module")
def proxy(account: Account) -> Iterator[S3Proxy]:
    with S3Proxy(account.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def kept(account: Account, proxy: S3Proxy) -> OnS3:
    return OnS3(account, proxy.endpoint)


@contextmanager
def serving(folder: Path, kept: Kept, **settings: object) -> Iterator[Service]:
    service = Service(folder, kept, **{**ONE_TRY, **settings})
    try:
        yield service.start()
        log = service.log()
        assert "Traceback" not in log
        assert "WORKER TIMEOUT" not in log
        assert str(service.kept.settings["S3__SECRET_ACCESS_KEY"]) not in log
    finally:
        service.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, kept: OnS3) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("faults"), kept) as service:
        service.make_bucket()
        assert service.put(f"{IMAGES}/{ID}", picture()).status_code == 200
        yield service


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, running: Service) -> Iterator[Service]:
    """Another service on the same records, for faults that are waited for."""
    with serving(tmp_path_factory.mktemp("impatient"), running.kept, **IMPATIENT) as service:
        yield service


@pytest.fixture
def service(running: Service, kept: OnS3) -> Iterator[Service]:
    """The service, which must come out of the test unharmed, with nothing kept that was not acknowledged."""
    workers = running.workers()
    yield running
    assert kept.ids("images") == [ID]
    assert kept.ids("objects") == []
    assert kept.leftovers() == []
    assert running.get(f"{IMAGES}/{ID}").content == picture()
    assert running.workers() == workers


def told(answer: requests.Response, status: int, code: int) -> None:
    assert (answer.status_code, answer.json()["error_code"] if answer.content else code) == (status, code), answer.content
    assert ("Retry-After" in answer.headers) is (status == 503)


def are_told(service: Service, row: tuple[int, int], *uses: Use) -> str:
    """Make requests at once, and give what is logged."""
    seen = len(service.log())
    with ThreadPoolExecutor(len(uses)) as pool:
        for answer in list(pool.map(lambda use: use(service), uses)):
            told(answer, *row)
    return service.log()[seen:]


def all_are_told(service: Service, row: tuple[int, int], *but: str) -> str:
    return are_told(service, row, *(use for name, use in USES.items() if name not in but))


def getting(path: str, **headers: str) -> Use:
    return lambda service: service.get(path, headers=headers)


def operations(log: str) -> set[str]:
    return {name for name in USES if " " not in name and name in log}


# Every request fails


@pytest.mark.parametrize(
    ("status", "code", "row"),
    [
        (500, "InternalError", UNAVAILABLE),
        (503, "SlowDown", UNAVAILABLE),
        (403, "SignatureDoesNotMatch", UNAVAILABLE),
        (403, "RequestTimeTooSkewed", UNAVAILABLE),
        (400, "RequestTimeout", TIMEOUT),
        (507, "InsufficientStorage", FULL),
    ],
)
def test_what_s3_refuses_is_told(service: Service, proxy: S3Proxy, status: int, code: str, row: tuple[int, int]) -> None:
    bare = () if row is UNAVAILABLE or status == 507 else [name for name in USES if "head" in name]  # HEAD tells the status only
    with proxy.broken(Fault(status=status, code=code)):
        log = all_are_told(service, row, *bare)
    assert operations(log) == operations(" ".join(USES)) - {*bare}
    assert code in log


@pytest.mark.parametrize(
    ("end", "at", "row"),
    [
        (End.RESET, At.REQUEST, UNAVAILABLE),
        (End.CLOSE, At.REQUEST, UNAVAILABLE),
        (End.SILENCE, At.REQUEST, TIMEOUT),
        (End.RESET, At.ANSWER, UNAVAILABLE),
        (End.SILENCE, At.ANSWER, TIMEOUT),
    ],
)
def test_a_connection_that_ends_is_told(
    service: Service, impatient: Service, proxy: S3Proxy, end: End, at: At, row: tuple[int, int]
) -> None:
    writes = ("put_object", "create_multipart_upload", "delete_objects") if at is At.ANSWER else ()  # S3 does what it got whole
    with proxy.broken(Fault(end=end, at=at)):
        log = all_are_told(impatient if end is End.SILENCE else service, row, *writes)
    assert operations(log) >= {"list_buckets", "head_bucket", "get_object", "head_object"}


def test_a_refused_connection_is_told(service: Service, proxy: S3Proxy) -> None:
    with proxy.closed():
        all_are_told(service, UNAVAILABLE)


def test_a_bucket_that_is_missing_is_told(service: Service) -> None:
    missing = "/1/buckets/missing"
    for answer in (
        service.post(f"{missing}/images", picture()),
        service.post(f"{missing}/objects", LARGE, headers=ZIP),
        service.put(f"{missing}/images/{ID}", picture()),
        service.get(f"{missing}/images/{ID}"),
        service.get(f"{missing}/images/{ID}_96"),
        service.request("HEAD", f"{missing}/images/{ID}"),
        service.delete(f"{missing}/images/{ID}"),
        service.delete(f"{missing}/images", json={"images": [ID]}),
        service.delete(missing),
        service.get(f"/1/buckets/No-Bucket_of-S3/images/{ID}".lower()),
    ):
        told(answer, 404, 13901)


def test_a_fault_that_passes_quickly_is_not_noticed(tmp_path: Path, service: Service, proxy: S3Proxy) -> None:
    faults = (Fault(status=503, code="SlowDown", times=2), Fault(end=End.RESET, at=At.REQUEST, after=10_000, times=2))
    with serving(tmp_path, service.kept, S3__MAX_ATTEMPTS=3) as patient:
        for fault in (*faults, Fault(end=End.RESET, at=At.ANSWER, times=1)):
            with proxy.broken(fault):
                assert patient.put(f"{IMAGES}/{ID}", picture()).status_code == 200
            with proxy.broken(fault):
                assert patient.get(f"{IMAGES}/{ID}").status_code == 200


# Uploads


@pytest.mark.parametrize(("end", "row"), [(End.RESET, UNAVAILABLE), (End.CLOSE, UNAVAILABLE), (End.SILENCE, TIMEOUT)])
def test_an_upload_that_s3_breaks_off_leaves_nothing(
    service: Service, impatient: Service, proxy: S3Proxy, end: End, row: tuple[int, int]
) -> None:
    used = impatient if end is End.SILENCE else service
    with proxy.broken(Fault(end=end, at=At.REQUEST, after=1000, where="^PUT")):
        are_told(used, row, *(USES[name] for name in ("put_object", "create_multipart_upload", "head_object of an owner")))
    with proxy.broken(Fault(end=end, at=At.REQUEST, after=5 * MIB, where="partNumber=2")):
        are_told(used, row, USES["create_multipart_upload"])


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("uploads", 503),
        ("partNumber=1", 503),
        ("partNumber=3", 503),
        ("^POST .*uploadId=", 503),
        ("^POST .*uploadId=", 200),  # while it puts the parts together, S3 may find a fault after it has begun its answer
    ],
)
def test_a_large_upload_that_s3_refuses_at_any_step_leaves_nothing(
    service: Service, proxy: S3Proxy, where: str, status: int
) -> None:
    with proxy.broken(Fault(status=status, code="SlowDown", where=where)):
        told(service.post(OBJECTS, LARGE, headers=ZIP), *UNAVAILABLE)


def test_an_upload_that_can_not_be_aborted_is_logged_and_shows_nowhere(service: Service, proxy: S3Proxy, kept: OnS3) -> None:
    with proxy.broken(Fault(status=503, code="SlowDown", where="partNumber=2|^DELETE")):
        told(service.post(OBJECTS, LARGE, headers=ZIP), *UNAVAILABLE)
    assert "abort_multipart_upload" in service.log()
    assert kept.ids("objects") == []
    assert len(kept.leftovers()) == 1
    kept.abort_uploads()


@pytest.mark.parametrize("content", [b"PK\x03\x04", LARGE], ids=["small", "large"])
def test_a_save_whose_acknowledgement_is_lost_is_there_whole(service: Service, proxy: S3Proxy, content: bytes) -> None:
    with proxy.broken(Fault(end=End.RESET, at=At.ANSWER, where="^PUT [^?]*$|^POST .*uploadId=")):
        told(service.put(f"{OBJECTS}/{ID}", content, headers=ZIP), *UNAVAILABLE)
    assert service.get(f"{OBJECTS}/{ID}").content == content
    assert service.put(f"{OBJECTS}/{ID}", content, headers=ZIP).status_code == 200  # as a client does who does not know
    assert service.delete(f"{OBJECTS}/{ID}").status_code == 204


# Downloads


@pytest.mark.parametrize(("end", "row"), [(End.RESET, UNAVAILABLE), (End.CLOSE, UNAVAILABLE), (End.SILENCE, TIMEOUT)])
def test_a_download_that_s3_breaks_off_before_anything_was_sent_is_told(
    service: Service, impatient: Service, proxy: S3Proxy, large: str, end: End, row: tuple[int, int]
) -> None:
    paths = (f"{IMAGES}/{ID}", f"{IMAGES}/{ID}_96", f"{IMAGES}/{ID}_97", large)
    with proxy.broken(Fault(end=end, at=At.BODY, after=1000)):
        part = getting(large, Range=f"bytes={5 * MIB}-")
        are_told(impatient if end is End.SILENCE else service, row, part, *map(getting, paths))


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("wanted", ["bytes=0-", f"bytes={4 * MIB}-"])
def test_a_large_download_that_s3_breaks_off_does_not_end_as_if_it_were_whole(
    service: Service, impatient: Service, proxy: S3Proxy, large: str, end: End, wanted: str
) -> None:
    used = impatient if end is End.SILENCE else service
    with (
        proxy.broken(Fault(end=end, at=At.BODY, after=10 * MIB)),
        used.get(large, headers={"Range": wanted}, stream=True) as answer,
    ):
        assert answer.status_code == 206
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
            answer.content  # noqa: B018  # reading is what is tested


@pytest.fixture
def large(service: Service) -> Iterator[str]:
    """Keep a large object for the time of a test."""
    url = service.post(OBJECTS, LARGE, headers=ZIP).json()["url"]
    yield url
    assert service.get(url).content == LARGE
    assert service.delete(url).status_code == 204


# Health, and the start


def test_the_health_check_tells_of_faults_and_of_their_end(service: Service, proxy: S3Proxy) -> None:
    for fault in (
        Fault(status=503, code="SlowDown"),
        Fault(status=403, code="InvalidAccessKeyId"),
        Fault(end=End.SILENCE, at=At.REQUEST),
    ):
        with proxy.broken(fault):
            wait_until(lambda: service.get("/healthcheck", timeout=10).status_code == 502)  # a balancer would not wait longer
        wait_until(lambda: service.get("/healthcheck").status_code == 200)
    with proxy.closed():
        wait_until(lambda: service.get("/healthcheck", timeout=10).status_code == 502)
    wait_until(lambda: service.get("/healthcheck").status_code == 200)


def test_it_starts_while_s3_is_down_and_works_when_it_comes_back(tmp_path: Path, service: Service, proxy: S3Proxy) -> None:
    with proxy.closed(), serving(tmp_path, service.kept) as early:
        told(early.get("/1/buckets"), *UNAVAILABLE)
        assert early.get("/healthcheck").status_code == 502
        assert early.get("/version").status_code == 200
        proxy.open()
        assert early.get("/1/buckets").json() == ["pictures"]
        wait_until(lambda: early.get("/healthcheck").status_code == 200)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"S3__SECRET_ACCESS_KEY": "a-wrong-secret"}, "SignatureDoesNotMatch"),
        ({"S3__ACCESS_KEY_ID": "nobody"}, ""),
        ({"S3__ENDPOINT_URL": "http://nowhere.invalid:80"}, "nowhere.invalid"),
    ],
)
def test_settings_that_lead_nowhere_are_told(tmp_path: Path, service: Service, setting: Mapping[str, object], reason: str) -> None:
    with serving(tmp_path, service.kept, **setting) as lost:
        for answer in (lost.post(IMAGES, picture()), lost.get(f"{IMAGES}/{ID}"), lost.get("/1/buckets")):
            told(answer, *UNAVAILABLE)
        assert lost.get("/healthcheck").status_code == 502
        assert reason in lost.log()
        assert "a-wrong-secret" not in lost.log()


def test_a_server_that_takes_no_connections_is_told(tmp_path: Path, service: Service) -> None:
    """Its queue is full, and the system drops what comes: the connection is never refused and never made."""
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with serving(tmp_path, service.kept, **{**IMPATIENT, "S3__ENDPOINT_URL": endpoint}) as lost:
            told(lost.post(IMAGES, picture()), *TIMEOUT)
            assert lost.get("/healthcheck", timeout=10).status_code == 502
