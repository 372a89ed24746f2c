"""Connections: keep-alive, pipelining and timeouts. A slow client holds one thread and nothing else."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from threading import Event

import pytest
import requests

from ..machine import wait_until
from .conftest import Start
from .images import noise_image
from .service import SERVE, Service, read_answer
from .test_restarts import reload

IMAGES, OBJECTS = "/1/buckets/photos/images", "/1/buckets/photos/objects"
GET = b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body: bytes) -> bytes:
    return f"POST {IMAGES} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def status_of(client: socket.socket) -> int | None:
    """Read one response and return its status, or None if the connection ends without a response."""
    answer = read_answer(client)
    return answer and answer.status


def is_closed(client: socket.socket) -> bool:
    """Return whether the server closes the connection without more data."""
    client.settimeout(30)
    return client.recv(1) == b""


def answers_quickly(service: Service, count: int = 20) -> bool:
    started = time.monotonic()
    assert {service.get("/version").status_code for _ in range(count)} == {200}
    return time.monotonic() - started < 10


@contextmanager
def connections(service: Service, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open connections and send the same bytes on each."""
    with ExitStack() as stack:
        clients = [stack.enter_context(service.connection()) for _ in range(count)]
        for client in clients:
            client.sendall(sent)
        yield clients


def test_a_connection_serves_several_requests(start: Start) -> None:
    service = start()
    with closing(HTTPConnection(*service.address, timeout=60)) as client:

        def send(method: str, path: str, body: bytes | None = None) -> tuple[HTTPResponse, bytes]:
            client.request(method, path, body)
            answer = client.getresponse()
            assert answer.headers["Connection"] == "keep-alive"
            return answer, answer.read()

        assert send("POST", "/1/buckets?bucket=photos")[1] == b"{}"
        port = client.sock.getsockname()
        for side in (20, 300, 2000):
            body = noise_image(side, side)
            url = send("POST", IMAGES, body)[0].headers["Location"]
            assert send("GET", url)[1] == body
            assert send("HEAD", url)[0].headers["Content-Length"] == str(len(body))
            assert send("GET", f"{url}_50")[0].status == 200
            assert send("DELETE", url)[0].status == 204
            assert send("GET", url)[0].status == 404
        assert client.sock.getsockname() == port


def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    body = noise_image()
    with service.connection() as client:
        client.sendall(GET + post(body) + GET * 50 + post(body)[:500])
        assert [status_of(client) for _ in range(52)] == [200, 201, *[200] * 50]
        client.sendall(post(body)[500:])
        assert status_of(client) == 201


def test_an_unknown_method_is_refused_with_405(start: Start) -> None:
    service = start()
    for method in (b"FETCH", b"-FETCH", b"_GET", b"get", b"G"):
        with service.connection() as client:
            client.sendall(method)
            time.sleep(0.2)
            client.sendall(GET[3:])
            assert status_of(client) == 405


def test_the_last_response_arrives_if_the_client_sends_more_data(start: Start) -> None:
    service = start()
    with service.connection() as client:
        client.sendall(GET[:-2] + b"Connection: close\r\n\r\n" + b"x" * 50_000)
        time.sleep(1)
        answer = read_answer(client)
        assert answer
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert is_closed(client)


def test_each_response_is_followed_by_the_next_response(start: Start) -> None:
    service = start()
    service.make_bucket()
    body = noise_image()
    url = service.post(IMAGES, body).json()["url"]
    large = service.post(OBJECTS, b"x" * 3 * 2**20, headers={"Content-Type": "text/plain"}).json()["url"]
    chunked = f"Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n"
    cases = (
        ("GET", url, b"If-None-Match: *\r\n", 304, 0),
        ("GET", url, b"Range: bytes=5-14\r\n", 206, 10),
        ("GET", url, b"Range: bytes=99999999-\r\n", 416, None),
        ("GET", large, b"", 200, 3 * 2**20),  # by sendfile
        ("GET", large, b"Range: bytes=0-2000000\r\n", 206, 2_000_001),
        ("HEAD", large, b"", 200, 0),
        ("DELETE", f"{url[:-1]}x", b"", 404, None),
        ("POST", IMAGES, b"", 400, None),
        ("POST", IMAGES, chunked, 201, None),
        ("PUT", f"{IMAGES}/x", b"Content-Length: 9\r\n\r\n123456789", 404, None),  # its body is not read
    )
    with service.connection() as client:
        for method, path, rest, status, length in cases:
            end = b"" if rest.endswith(b"9") else b"\r\n"
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: h\r\n".encode() + rest + end + GET)
            first, second = read_answer(client, method), read_answer(client)
            assert first
            assert second
            assert (first.status, first.headers["connection"]) == (status, "keep-alive")
            assert length in (None, len(first.body))
            assert (second.status, second.json().keys()) == (200, {"Version"})


@pytest.mark.parametrize("head", ["GET /version HTTP/1.1\r\nHost: h\r\nConnection: close", "GET /version HTTP/1.0"])
def test_a_connection_closes_if_the_request_demands_it(start: Start, head: str) -> None:
    service = start()
    with service.connection() as client:
        client.sendall(f"{head}\r\n\r\n".encode())
        answer = read_answer(client)
        assert answer
        assert answer.headers["connection"] == "close"
        assert is_closed(client)


def test_an_idle_connection_closes_after_the_keepalive_timeout(start: Start) -> None:
    for seconds in (0, 1):
        service = start(HTTP__KEEPALIVE_TIMEOUT=seconds)
        with service.connection() as client:
            client.sendall(GET)
            answer, answered = read_answer(client), time.monotonic()
            assert answer
            assert answer.headers["connection"] == ("keep-alive" if seconds else "close")
            assert is_closed(client)
            assert seconds - 0.1 < time.monotonic() - answered < seconds + 5


def test_connections_without_data_do_not_delay_other_clients(start: Start) -> None:
    """A browser opens connections in advance."""
    service = start(HTTP__WORKERS=1)
    with connections(service, 50, b"") as clients:
        assert answers_quickly(service)
        clients[-1].sendall(GET)
        assert status_of(clients[-1]) == 200


def test_a_slow_client_holds_only_one_thread(start: Start) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=4, HTTP__REQUEST_TIMEOUT=30)
    service.make_bucket()
    body = post(noise_image())
    with service.connection() as one, service.connection() as other, service.connection() as third:
        sent = ((one, GET[:-5], GET[-5:]), (other, body[:-1], body[-1:]), (third, GET[:9], GET[9:]))
        for client, first, _ in sent:
            client.sendall(first)
        assert answers_quickly(service)
        for client, _, rest in sent:
            client.sendall(rest)
        assert [status_of(client) for client, _, _ in sent] == [200, 201, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [(GET[:-5], None), (post(noise_image())[:-1], 400), (post(noise_image())[:90], 400)],
    ids=["in headers", "in body", "before body"],
)
def test_a_client_that_stops_sending_times_out(start: Start, sent: bytes, status: int | None) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=2, HTTP__REQUEST_TIMEOUT=1)
    service.make_bucket()
    started = time.monotonic()
    with connections(service, 2, sent) as clients:
        for client in clients:
            assert status_of(client) == status
            assert is_closed(client)
    assert time.monotonic() - started < 15
    assert answers_quickly(service)
    assert "Traceback" not in service.log()
    assert ("client timeout: connection closed" in service.log()) is (status is None)


def test_clients_that_do_not_read_hold_one_thread_each_until_the_timeout(start: Start) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=5, HTTP__REQUEST_TIMEOUT=4)
    service.make_bucket()
    large = b"x" * 64 * 2**20
    url = service.post(OBJECTS, large, headers={"Content-Type": "text/plain"}).json()["url"]
    workers = service.workers()
    request = f"GET {url} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    with connections(service, 4, request):
        assert answers_quickly(service)
        wait_until(lambda: not service.connections(), 60)
        assert answers_quickly(service)
        assert service.get(url).content == large
    assert service.workers() == workers
    assert "Traceback" not in service.log()


def test_clients_that_do_not_close_their_side_do_not_block_others(start: Start) -> None:
    service = start(HTTP__WORKERS=1, HTTP__REQUEST_TIMEOUT=5)
    workers = service.workers()
    with connections(service, 24, b"GET /livez HTTP/1.0\r\n\r\n"):
        started = time.monotonic()
        assert service.get("/version").status_code == 200
        assert time.monotonic() - started < 20  # eight threads wait for up to 2 s per connection; the main loop would wait for 48 s
    assert service.workers() == workers
    assert "WORKER TIMEOUT" not in service.log()


def test_a_client_that_reads_slowly_gets_the_complete_response(start: Start) -> None:
    service = start(HTTP__WORKERS=1, HTTP__REQUEST_TIMEOUT=2)
    service.make_bucket()
    url = service.post(OBJECTS, b"x" * 16 * 2**20, headers={"Content-Type": "text/plain"}).json()["url"]
    with service.connection() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.sendall(f"GET {url} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received, started = 0, time.monotonic()
        while received < 16 * 2**20:
            received += len(client.recv(2**18))
            if time.monotonic() - started < 6:
                time.sleep(0.1)
        assert time.monotonic() - started > 5


def test_a_refused_client_that_continues_to_send_does_not_delay_others(start: Start) -> None:
    service = start(HTTP__WORKERS=1)
    with service.connection() as client:
        client.sendall(b"GET /version HTTP/1.1\r\nbad header\r\n\r\n")
        assert status_of(client) == 400
        for _ in range(4):
            with suppress(ConnectionError):
                client.sendall(b"x")
            started = time.monotonic()
            assert service.get("/version").status_code == 200
            assert time.monotonic() - started < 3
            time.sleep(0.5)


@pytest.mark.parametrize(
    ("before", "data"),
    [(b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"), (b"", b'{"a": 1}\r\n\r\n'), (GET, b"\0" * 300_000)],
    ids=["tls", "json", "zeros"],
)
def test_data_other_than_http_is_refused_with_a_json_error(start: Start, before: bytes, data: bytes) -> None:
    service = start(HTTP__WORKERS=1)
    with service.connection() as client:
        client.sendall(before + data)
        answers = [read_answer(client) for _ in range(2 if before else 1)]
    assert answers[-1]
    assert answers[-1].status in (400, 414)
    assert answers[-1].json()["error_code"] == 12046
    assert answers[-1].headers["luna-request-id"] in service.log()
    assert answers_quickly(service)


def test_a_client_with_many_pipelined_requests_does_not_block_others(start: Start) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    url = service.post(IMAGES, noise_image(4000, 4000)).json()["url"]
    with service.connection() as busy:
        busy.sendall(f"GET {url}_100 HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 50)
        assert read_answer(busy)
        assert answers_quickly(service, 3)


def test_a_reload_with_keepalive_connections_loses_no_request(start: Start) -> None:
    service = start()
    service.make_bucket()
    stopped, body = Event(), noise_image()

    def work() -> int:
        saved = 0
        with requests.Session() as session:
            while not stopped.wait(0.02):
                answer = session.post(f"http://127.0.0.1:{service.port}{IMAGES}", body, timeout=60)
                assert answer.status_code == 201
                saved += 1
        return saved

    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(work) for _ in range(4)]
        try:
            for _ in range(2):
                reload(service)
        finally:
            stopped.set()
    assert sum(client.result() for client in clients) == len(service.storage.ids("images"))


def test_connections_beyond_the_limit_of_a_worker_wait_and_are_served(start: Start) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=2)
    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(lambda _: service.get("/version").status_code, range(400))) == {200}


def test_idle_keepalive_connections_do_not_block_new_connections(start: Start) -> None:
    """An idle connection counts only until HTTP.KEEPALIVE_TIMEOUT."""
    service = start(HTTP__WORKERS=1, HTTP__THREADS=2, HTTP__KEEPALIVE_TIMEOUT=1)
    with connections(service, 20, GET) as clients:
        assert {status_of(client) for client in clients} == {200}
        assert service.get("/version").status_code == 200


def test_the_start_fails_if_connections_exceed_the_limit_of_open_files(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    service = Service(tmp_path_factory.mktemp("limited"), HTTP__CONNECTIONS=500)
    result = service.run("prlimit", "--nofile=400", *SERVE, "--check")
    assert result.returncode == 1
    assert "HTTP.CONNECTIONS" in result.stderr
    assert "LimitNOFILE" in result.stderr
