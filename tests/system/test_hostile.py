"""Broken, slow and malicious clients use one service. None may cause an error of the service or delay other clients."""

import random
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from urllib.parse import quote

import pytest

from .conftest import Start
from .images import jpeg_size, noise_image
from .raw_storage import RawS3
from .service import Answer, Service, read_answer

REQUEST_TIMEOUT = 3
MIB = 2**20
ID = "8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
IMAGES, OBJECTS = "/1/buckets/photos/images", "/1/buckets/photos/objects"
TYPES = {IMAGES: "image/jpeg", OBJECTS: "text/plain"}
FUZZ_SECONDS = 10


on_disk_and_s3 = pytest.mark.parametrize("running", ["disk", "s3"], indirect=True)


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with its storage on a disk, or on S3 in tests with on_disk_and_s3."""
    is_on_s3 = getattr(request, "param", "disk") == "s3"
    storage = RawS3(request.getfixturevalue("swift").fresh_account()) if is_on_s3 else None
    limits = {"HTTP__REQUEST_TIMEOUT": REQUEST_TIMEOUT, "OBJECTS__MAX_SIZE": 80 * MIB}
    service = Service(tmp_path_factory.mktemp("hostile"), storage, HTTP__WORKERS=4, **limits)
    try:
        service.start().make_bucket()
        yield service
    finally:
        service.end()


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """The service. After the test, check its workers, its log and its buckets."""
    workers, seen = {worker.pid for worker in running.workers()}, len(running.log())
    yield running
    assert running.get("/version", timeout=5).status_code == 200
    assert {worker.pid for worker in running.workers()} == workers
    log = running.log()[seen:]
    assert "WORKER TIMEOUT" not in log
    assert "Traceback" not in log
    assert running.get("/1/buckets").json() == ["photos"]


def check_refusal(answer: Answer | None, status: int, code: int) -> None:
    assert answer is not None
    check_format(answer)
    assert (answer.status, answer.json()["error_code"]) == (status, code), answer


def check_format(answer: Answer) -> None:
    """Check that a response has a request id and a status below 500, and that an error has the JSON body of an error."""
    assert "luna-request-id" in answer.headers, answer
    assert len(answer.body) == int(answer.headers.get("content-length", 0)), answer
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json().keys() == {"error_code", "desc", "detail"}


def head(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: h", *headers, "", "")).encode("latin-1")


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


def post(target: str, body: bytes, *headers: str) -> bytes:
    return head("POST", target, f"Content-Length: {len(body)}", *headers) + body


CHUNKED = "Transfer-Encoding: chunked"


# Bodies


@pytest.mark.parametrize("size", [64 * MIB + 1, 70 * MIB])
def test_too_large_body_that_is_sent_completely_is_refused(service: Service, size: int) -> None:
    check_refusal(service.exchange(post(IMAGES, bytes(size))), 413, 13903)
    assert not service.storage.leftovers()


def test_too_large_body_is_refused_before_it_is_sent(service: Service) -> None:
    check_refusal(service.exchange(head("POST", IMAGES, f"Content-Length: {10**15}")), 413, 13903)


@on_disk_and_s3
@pytest.mark.parametrize(("target", "size"), [(IMAGES, 70), (OBJECTS, 90)])
def test_too_large_chunked_body_is_refused(service: Service, target: str, size: int) -> None:
    body = chunked(*[b"x" * MIB] * size, b"")
    check_refusal(service.exchange(head("POST", target, CHUNKED, "Content-Type: " + TYPES[target]) + body), 413, 13903)
    assert not service.storage.leftovers()


def test_too_large_json_body_is_refused(service: Service) -> None:
    check_refusal(service.exchange(head("DELETE", IMAGES, f"Content-Length: {8 * MIB}") + b" " * 8 * MIB), 413, 13903)


@pytest.mark.parametrize("body", [b'{"images": ["\xff"]}', b'{"\xff": 1}', b"\xff", b'{"images": ["\\ud800"]}', b"[" * 500_000])
def test_invalid_json_is_refused(service: Service, body: bytes) -> None:
    check_refusal(service.exchange(head("DELETE", IMAGES, f"Content-Length: {len(body)}") + body), 400, 12002)


@on_disk_and_s3
@pytest.mark.parametrize("target", [IMAGES, OBJECTS])
def test_body_shorter_than_content_length_is_refused(service: Service, target: str) -> None:
    before = service.storage.ids("images") + service.storage.ids("objects")
    request_head = head("POST", target, "Content-Length: 9000", "Content-Type: " + TYPES[target])
    check_refusal(service.exchange(request_head + b"half", half_close=True), 400, 12046)
    assert service.storage.ids("images") + service.storage.ids("objects") == before
    assert not service.storage.leftovers()


@on_disk_and_s3
def test_chunked_body_is_accepted(service: Service) -> None:
    jpeg = noise_image()
    for trailer in (b"\r\n", b"X-Checksum: 1\r\n\r\n"):
        answer = service.exchange(head("POST", IMAGES, CHUNKED) + chunked(jpeg[:1], jpeg[1:1000], jpeg[1000:]) + b"0\r\n" + trailer)
        assert answer
        assert answer.status == 201
        assert service.get(answer.json()["url"]).content == jpeg


@on_disk_and_s3
@pytest.mark.parametrize(
    "body",
    [
        b"xyz\r\n",
        b"-5\r\nabcde\r\n",
        b"0x5\r\nabcde\r\n",
        b"5\r\nabcdefgh\r\n0\r\n\r\n",
        b"5\nabcde\n0\n\n",
        b"ffffffffffffffffff\r\nabc",
        b"5;" + b"x" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n",
        b"5\r\nabcde\r\n",
        b"5\r\nab",
        b"5\r\nabcde\r\n0\r\n",
        b"5\r\nabcde\r\n0\r\nbroken trailer\r\n\r\n",
        b"5\r\nabcde\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"5\r\nabcde\r\n0\r\n" + b"X-A: 1\r\n" * 200_000 + b"\r\n",
    ],
    ids=range(13),
)
def test_invalid_chunks_are_refused(service: Service, body: bytes) -> None:
    before = service.storage.ids("objects")
    check_refusal(service.exchange(head("POST", OBJECTS, CHUNKED, "Content-Type: text/plain") + body, half_close=True), 400, 12046)
    assert service.storage.ids("objects") == before
    assert not service.storage.leftovers()


@pytest.mark.parametrize(
    "headers",
    [
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 5"],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 5_0"],
        ["Content-Length: \xb2"],
        ["Content-Length: five"],
        ["Content-Length: " + "9" * 5000],
    ],
)
def test_body_of_ambiguous_length_is_refused(service: Service, headers: list[str]) -> None:
    answer = service.exchange(head("POST", OBJECTS, "Content-Type: text/plain", *headers) + b"hello", half_close=True)
    assert answer
    check_format(answer)
    assert answer.status in (400, 413)


# Images


def png_of(width: int, height: int) -> bytes:
    """Return a small PNG file that declares the given size in pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "body",
    [
        png_of(60_000, 60_000),
        b"P6 60000 60000 255\n" + bytes(99),
        b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 60_000, 60_000, 1, 24) + bytes(24),
    ],
    ids=["png", "ppm", "bmp"],
)
def test_image_with_too_many_pixels_is_refused(service: Service, body: bytes) -> None:
    check_refusal(service.exchange(post(IMAGES, body)), 400, 13908)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_truncated_images_are_refused(service: Service, form: str) -> None:
    image = noise_image(image_format=form)
    for length in (1, 8, 30, len(image) // 2, len(image) - 30):
        check_refusal(service.exchange(post(IMAGES, image[:length])), 400, 18002)


def test_random_bytes_are_refused(service: Service) -> None:
    rng = random.Random(1)
    signatures = (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"GIF89a", b"P6 ")
    for start in signatures:
        answer = service.exchange(post(IMAGES, start + rng.randbytes(5000)))
        assert answer
        check_format(answer)
        assert answer.json()["error_code"] in (18002, 13908)  # random bytes can declare too many pixels


# Request lines and headers


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Luna-Meta-a: \x01"],
        ["X-Luna-Meta-a: \x7f"],
        ["X-Luna-Meta-a: a\x00b"],
        ["X-Luna-Meta-a: a\rb"],
        ["X-Luna-Meta-a: a\nb"],
        ["X-Luna-Meta-a: caf\xe9"],
        ["X-Luna-Meta-a: " + "x" * 2048],
        ["X-Luna-Meta-" + "k" * 65 + ": 1"],
        ["Luna-Request-Id: \xe9"],
        ["Luna-Request-Id: \x00"],
        ["Luna-Account-Id: \xff"],
        ["X-Big: " + "x" * 100_000],
        [f"X-{number}: 1" for number in range(200)],
        ["Host: two"],
        [" folded: x"],
        ["no colon"],
        [": no name"],
        ["X\xe9: 1"],
        ["Expect: miracles"],
    ],
    ids=range(19),
)
def test_invalid_headers_are_refused(service: Service, headers: list[str]) -> None:
    before = service.storage.ids()
    check_refusal(service.exchange(post(IMAGES, noise_image(), *headers)), 400, 12046)
    assert service.storage.ids() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Accept", "\xff/\x80;q=x"),
        ("Accept", "," * 5000),
        ("Range", "bytes=9-1"),
        ("Range", "bytes=" + "9" * 5000 + "-"),
        ("Range", "bytes=\xb2-"),
        ("Range", "lines=1-2"),
        ("If-Range", '"\xff'),
        ("If-None-Match", '"'),
        ("If-None-Match", "W/," * 2000),
        ("If-Modified-Since", "Mon, 99 Foo 99999 99:99:99 GMT"),
        ("If-Modified-Since", "Mon, 01 Jan 0001 00:00:00 GMT"),
        ("Connection", "Luna-Request-Id"),
        ("Cookie", "\xff=\xff"),
        ("Forwarded", "for=;;;=,\xff"),
        ("X-Forwarded-Proto", "ftp"),
        ("Content-Type", "\xff"),
    ],
)
def test_unusual_header_values_cause_no_server_error(service: Service, name: str, value: str) -> None:
    for target, kind in TYPES.items():
        url = service.post(target, noise_image() if target == IMAGES else b"text", headers={"Content-Type": kind}).json()["url"]
        for method in ("GET", "HEAD", "DELETE"):
            answer = service.exchange(head(method, url, f"{name}: {value}"))
            assert answer
            assert "luna-request-id" in answer.headers
            assert answer.status < 500


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 x\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"x" * 1_000_000,
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(505),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET /version HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes(10_000),
    ],
    ids=range(15),
)
def test_data_that_is_not_http_is_refused(service: Service, data: bytes) -> None:
    answer = service.exchange(data, half_close=True)
    if answer:
        check_format(answer)
        assert answer.status in (400, 404)


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "PROPFIND", "BREW", "X" * 19, "CONNECT", "get"])
def test_unsupported_methods_are_not_allowed(service: Service, method: str) -> None:
    answer = service.exchange(head(method, IMAGES))
    assert answer
    check_format(answer)
    assert answer.status in (400, 405)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://h/version", 200),
        ("http://elsewhere.invalid/version", 200),
        ("*", 400),
        ("//version", 200),
        ("/version/", 404),
        ("/version?%ff=%00&&&==", 200),
    ],
)
def test_unusual_request_targets_get_a_response(service: Service, target: str, status: int) -> None:
    answer = service.exchange(head("GET", target))
    assert answer
    check_format(answer)
    assert answer.status == status


def traversal_paths() -> Iterable[str]:
    for step in (
        "..",
        "%2e%2e",
        ".%2e",
        "%252e%252e",
        "..%2f..",
        "..%5c..",
        "..%00",
        "%c0%ae%c0%ae",
        ".",
        ".tmp",
        ".trash",
        "%00",
        "%ff",
        "~",
        "x" * 300,
    ):
        for target in (
            "/{}",
            "/1/buckets/{}",
            "/1/buckets/{}/images",
            "/1/buckets/photos/{}",
            "/1/buckets/photos/images/{}",
            "/1/buckets/photos/objects/{}",
        ):
            yield target.format(step)
        yield f"/1/buckets/photos/images/{ID}_{step}"
        yield f"/1/buckets/photos/objects/{step}/{step}/{step}/etc/passwd"
        yield f"/1/buckets/{step}/{step}/{step}/etc/passwd"
        yield f"/docs/dev/{step}/{step}/{step}/{step}/{step}/{step}/etc/passwd"
        yield f"/docs/spec/{step}/settings.py"


def test_no_path_leaves_its_bucket(service: Service) -> None:
    for target in traversal_paths():
        for method in ("GET", "PUT", "DELETE"):
            answer = service.exchange(head(method, target, "Content-Type: text/plain", "Content-Length: 5") + b"hello")
            assert answer, target
            check_format(answer)
            assert answer.status in (400, 404, 405), (method, target, answer)
    invalid_names = ("..", ".tmp", ".trash", "a/b", "a\\b", "", ".", "\0", "\n", "a\n", "A", "\xe9", "x" * 256)
    for name in invalid_names:
        assert service.post(f"/1/buckets?bucket={quote(name)}").status_code == 400, name
    assert sorted(path.name for path in service.root.iterdir()) == [".lock", ".tmp", ".trash", "photos"]


# Slow clients


def send_half_a_head(client: socket.socket) -> None:
    client.sendall(b"GET /version HTTP/1.1\r\nHost")


def send_half_a_body(client: socket.socket) -> None:
    client.sendall(head("POST", IMAGES, "Content-Length: 1000") + b"half")


def send_half_a_chunk(client: socket.socket) -> None:
    client.sendall(head("POST", OBJECTS, CHUNKED, "Content-Type: text/plain") + b"ff\r\nhalf")


def send_slowly(client: socket.socket, start: bytes) -> None:
    client.sendall(start)
    with suppress(ConnectionError):
        for _ in range(REQUEST_TIMEOUT * 4):
            client.sendall(b"x")
            time.sleep(1)


def send_slow_head(client: socket.socket) -> None:
    send_slowly(client, b"GET /version HTTP/1.1\r\nX: ")


def send_slow_body(client: socket.socket) -> None:
    send_slowly(client, head("POST", IMAGES, "Content-Length: 1000"))


@pytest.mark.parametrize("behave", [send_half_a_head, send_half_a_body, send_half_a_chunk, send_slow_head, send_slow_body])
def test_slow_clients_do_not_delay_other_clients(service: Service, behave: Callable[[socket.socket], None]) -> None:
    def use_slowly() -> Answer | None:
        with service.connection(4 * REQUEST_TIMEOUT + 5) as client:
            behave(client)
            with suppress(ConnectionResetError):
                return read_answer(client)
        return None

    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(use_slowly) for _ in range(3)]  # of four workers
        while not all(client.done() for client in slow):
            started = time.monotonic()
            assert service.get("/version", timeout=5).status_code == 200
            assert time.monotonic() - started < REQUEST_TIMEOUT - 1  # a request queued behind a slow client would take longer
            time.sleep(0.1)
    for answer in (client.result() for client in slow):
        if answer:
            check_format(answer)
            assert answer.status == 400
    assert not service.storage.leftovers()


@on_disk_and_s3
def test_client_that_stalls_within_a_body_gets_an_error(service: Service) -> None:
    check_refusal(service.exchange(head("POST", IMAGES, "Content-Length: 1000") + b"half"), 400, 12046)


@on_disk_and_s3
def test_clients_that_never_read_a_large_response_are_disconnected(service: Service) -> None:
    url = service.post(OBJECTS, b"x" * 64 * MIB, headers={"Content-Type": "text/plain"}).json()["url"]
    with ExitStack() as stack:
        for client in [stack.enter_context(service.connection()) for _ in range(3)]:
            client.sendall(head("GET", url))
        until = time.monotonic() + 20 * REQUEST_TIMEOUT
        while service.connections():
            assert time.monotonic() < until
            assert service.get("/version", timeout=5).status_code == 200
            time.sleep(0.1)
    assert service.delete(url).status_code == 204


def test_slow_clients_that_make_progress_are_served(service: Service) -> None:
    """The upload and the download take longer than the timeouts for silent clients and for workers."""
    size, pieces = 64 * MIB, 9
    url = service.post(OBJECTS, b"x" * size, headers={"Content-Type": "text/plain"}).json()["url"]

    def upload() -> Answer | None:
        with service.connection() as client:
            client.sendall(head("POST", OBJECTS, f"Content-Length: {pieces * 20_000}", "Content-Type: text/plain"))
            for _ in range(pieces):
                time.sleep(1.1)
                client.sendall(b"x" * 20_000)
            return read_answer(client)

    def download() -> int:
        with service.connection() as client, client.makefile("rb") as stream:
            client.sendall(head("GET", url))
            received = 0
            while piece := stream.read(size // pieces):
                received += len(piece)
                time.sleep(1.1)
            return received

    with ThreadPoolExecutor() as pool:
        up, down = pool.submit(upload), pool.submit(download)
    uploaded = up.result()
    assert uploaded
    assert uploaded.status == 201
    assert down.result() > size
    assert service.delete(url).status_code == 204


# Random requests


def random_request(rng: random.Random, jpeg: bytes) -> bytes:
    """Build a request of likely parts, and damage about half of the requests."""
    junk = rng.choice(
        ["", "\x00", "\xff" * 9, "%00", "%", "../" * 9, "9" * 99, "-1", "1e9", "{}", '"', ID, "x" * 9000, "\r\n", ";,=:"]
    )
    names = [
        "Content-Type",
        "Accept",
        "Range",
        "If-None-Match",
        "If-Modified-Since",
        "If-Range",
        "Luna-Request-Id",
        "Luna-Account-Id",
    ]
    names += ["X-Luna-Meta-a", "Expect", "Connection", "Upgrade", "Host", "TE", "Trailer", junk]
    values = [
        "text/plain",
        "image/jpeg",
        "application/json",
        "bytes=0-1",
        "bytes=-1",
        "*",
        '"a"',
        ID,
        "100-continue",
        "close",
        junk,
    ]
    targets = [
        "/version",
        "/1/buckets",
        "/1/buckets?bucket=photos",
        IMAGES,
        OBJECTS,
        f"{IMAGES}/{ID}",
        f"{IMAGES}/{ID}_{rng.randrange(3000)}",
    ]
    targets += [
        f"{OBJECTS}/{ID}?account_id={junk}",
        f"{IMAGES}/{ID}?with_meta={junk}",
        "/docs/spec",
        "/docs/dev",
        "/config",
        "/healthcheck",
        "/livez",
        "/readyz",
        junk,
    ]
    bodies = [
        b"",
        jpeg,
        jpeg[: rng.randrange(len(jpeg))],
        b'{"images": ["%s"]}' % ID.encode(),
        b'{"objects": [1, {}]}',
        b"[" * 9999,
    ]
    body = rng.choice([*bodies, rng.randbytes(rng.randrange(3000)), junk.encode("latin-1")])
    length = rng.choice([len(body)] * 6 + [len(body) + 9, max(0, len(body) - 9), junk])
    framing = rng.choice([f"Content-Length: {length}"] * 5 + [CHUNKED, "X: y"])
    headers = [f"{rng.choice(names)}: {rng.choice(values)}" for _ in range(rng.randrange(5))]
    method = rng.choice(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", junk])
    request = bytearray(head(method, rng.choice(targets), framing, *headers) + (chunked(body, b"") if framing == CHUNKED else body))
    if rng.random() < 0.5:
        for _ in range(rng.randrange(1, 6)):
            request[rng.randrange(min(len(request), 400))] = rng.randrange(256)
    return bytes(request[: rng.randrange(1, len(request))] if rng.random() < 0.1 else request)


def test_random_requests_cause_no_server_error(service: Service) -> None:
    jpeg, until = noise_image(40, 30), time.monotonic() + FUZZ_SECONDS
    seen: set[int] = set()

    def send_requests(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until:
            request, answer = random_request(rng, jpeg), None
            with suppress(OSError):  # the service may close the connection during the request
                answer = service.exchange(request, half_close=True)
            if answer:
                assert "luna-request-id" in answer.headers, request
                assert answer.status < 500, request
                if answer.status >= 400 and answer.body:
                    assert answer.json().keys() == {"error_code", "desc", "detail"}, request
            seen.add(answer.status if answer else 0)

    with ThreadPoolExecutor() as pool:
        for client in [pool.submit(send_requests, seed) for seed in range(3)]:
            client.result()
    assert {200, 400, 404, 405} <= seen
    if "photos" not in service.get("/1/buckets").json():
        service.make_bucket()
    for image_id in service.storage.ids():
        assert jpeg_size(service.get(f"{IMAGES}/{image_id}").content)


def test_silent_connections_do_not_block_the_workers(start: Start) -> None:
    """More connections than workers send no data for 7 seconds."""
    service = start(HTTP__WORKERS=2)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(service.connection())
        time.sleep(7)
        started = time.monotonic()
        assert service.get("/version").status_code == 200
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /version", "X-Forwarded-Ssl: on", "X-Forwarded-Proto: https"])
def test_proxy_headers_do_not_change_the_response(service: Service, header: str) -> None:
    answer = service.exchange(f"GET /version HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    assert answer is not None
    assert answer.status == 200
