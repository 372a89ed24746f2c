"""Connections: they serve one request after the other, end when it is time, and a slow client keeps nobody waiting."""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from select import select
from threading import Event

import pytest
import requests

from ..machine import wait_until
from .conftest import Start
from .pictures import picture
from .service import SERVE, read_answer
from .test_restarts import reload

IMAGES, OBJECTS = "/1/buckets/pictures/images", "/1/buckets/pictures/objects"
GET = b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n"
in_line_and_in_threads = pytest.mark.parametrize("threads", [1, 3])


def post(body: bytes) -> bytes:
    return f"POST {IMAGES} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def status_of(client: socket.socket) -> int | None:
    """Read one answer, and give its status; None where the connection ends without one."""
    answer = read_answer(client)
    return answer and answer.status


def is_over(client: socket.socket) -> bool:
    """Tell whether the other side hangs up and says no more."""
    client.settimeout(30)
    return client.recv(1) == b""


@in_line_and_in_threads
def test_serve_one_request_after_the_other(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads)
    with closing(HTTPConnection(*service.address, timeout=60)) as client:

        def ask(method: str, path: str, body: bytes | None = None) -> tuple[HTTPResponse, bytes]:
            client.request(method, path, body)
            answer = client.getresponse()
            assert answer.headers["Connection"] == "keep-alive"
            return answer, answer.read()

        assert ask("POST", "/1/buckets?bucket=pictures")[1] == b"{}"
        port = client.sock.getsockname()
        for side in (20, 300, 2000):  # the last one is heard in part before it is served
            body = picture(side, side)
            url = ask("POST", IMAGES, body)[0].headers["Location"]
            assert ask("GET", url)[1] == body
            assert ask("HEAD", url)[0].headers["Content-Length"] == str(len(body))
            assert ask("GET", f"{url}_50")[0].status == 200
            assert ask("DELETE", url)[0].status == 204
            assert ask("GET", url)[0].status == 404
        assert client.sock.getsockname() == port


@in_line_and_in_threads
def test_answer_in_their_order_what_comes_at_once(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads, HTTP__WORKERS=1)
    service.make_bucket()
    body = picture()
    with service.connection() as client:
        client.sendall(GET + post(body) + GET * 50 + post(body)[:500])
        answers = [read_answer(client) for _ in range(52)]
        assert [answer and answer.status for answer in answers] == [200, 201, *[200] * 50]
        client.sendall(post(body)[500:])
        last = read_answer(client)
    assert last
    assert last.status == 201


@in_line_and_in_threads
def test_a_request_that_came_in_time_is_served_though_the_worker_was_busy_for_longer(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads, HTTP__KEEPALIVE_TIMEOUT=1)
    service.make_bucket()
    heavy = picture(5000, 4000, "BMP")
    with service.connection() as idle, service.connection() as busy:
        idle.sendall(GET)
        assert read_answer(idle)
        for _ in range(3):
            busy.sendall(post(heavy))
            idle.sendall(GET)
            assert status_of(busy) == 201
            assert read_answer(idle)


@in_line_and_in_threads
def test_the_rest_of_a_request_that_came_in_part_with_another_is_waited_for(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads, HTTP__KEEPALIVE_TIMEOUT=1)
    service.make_bucket()
    with service.connection() as client:
        client.sendall(GET + post(picture())[:500])
        assert read_answer(client)
        time.sleep(3)
        client.sendall(post(picture())[500:])
        assert status_of(client) == 201
        client.sendall(GET + b"\r\n")
        assert read_answer(client)
        assert is_over(client)


@in_line_and_in_threads
def test_line_breaks_between_requests_are_nothing(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads)
    service.make_bucket()
    ask = post(picture())
    with service.connection() as client:
        for pieces in ((ask, b"\r\n" + ask), (ask + b"\r", b"\n" + ask), (ask, b"\r", b"\n\r\n", ask), (b"\r\n\r\n" + ask, ask)):
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.2)
            for _ in range(2):
                assert status_of(client) == 201


@in_line_and_in_threads
def test_a_line_break_is_no_beginning_of_a_request(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads, HTTP__KEEPALIVE_TIMEOUT=2)
    with service.connection() as client:
        client.sendall(GET)
        assert read_answer(client)
        answered = time.monotonic()
        time.sleep(0.5)
        client.sendall(b"\r\n")
        assert is_over(client)
        assert time.monotonic() - answered < 10


@in_line_and_in_threads
def test_a_method_of_any_name_is_refused_as_a_method(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads)
    for method in (b"FETCH", b"-FETCH", b"_GET", b"get", b"G"):
        with service.connection() as client:
            client.sendall(method)
            time.sleep(0.2)
            client.sendall(GET[3:])
            assert status_of(client) == 405


@in_line_and_in_threads
def test_while_a_client_is_waited_for_at_the_end_others_are_turned_away_at_once(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads, HTTP__GRACEFUL_TIMEOUT=30)
    with service.connection() as slow:
        slow.sendall(GET[:-5])
        time.sleep(0.5)
        service.signal(signal.SIGTERM)
        wait_until(lambda: refuses(service.address), 10)
        slow.sendall(GET[-5:])
        assert read_answer(slow)
    assert service.wait() == 0


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


@in_line_and_in_threads
def test_an_answer_that_ends_a_connection_arrives_though_more_was_sent(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads)
    for says_so in (b"close", b"TE, close"):
        with service.connection() as client:
            client.sendall(GET[:-2] + b"Connection: " + says_so + b"\r\n\r\n" + b"x" * 500_000)
            time.sleep(1)
            answer = read_answer(client)
            assert answer
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert is_over(client)


@in_line_and_in_threads
def test_what_follows_an_answer_of_any_kind_is_the_next_one(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads)
    service.make_bucket()
    body = picture()
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
    )
    with service.connection() as client:
        for method, path, rest, status, length in cases:
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: h\r\n".encode() + rest + b"\r\n" + GET)
            first, second = read_answer(client, method), read_answer(client)
            assert first
            assert second
            assert (first.status, first.headers["connection"]) == (status, "keep-alive")
            assert length in (None, len(first.body))
            assert (second.status, second.json().keys()) == (200, {"Version"})


@pytest.mark.parametrize(
    "head",
    [
        "GET /version HTTP/1.1\r\nHost: h\r\nConnection: close",
        "GET /version HTTP/1.0",
        f"PUT {IMAGES}/x HTTP/1.1\r\nHost: h\r\nContent-Length: 9",
    ],
)
def test_end_with_a_request_that_says_so_or_whose_body_is_not_read(start: Start, head: str) -> None:
    service = start()
    with service.connection() as client:
        client.sendall(f"{head}\r\n\r\n".encode() + b"x" * (9 if "Length" in head else 0))
        answer = read_answer(client)
        assert answer
        assert answer.headers["connection"] == "close"
        assert is_over(client)


def test_end_when_they_are_idle_for_as_long_as_the_settings_say(start: Start) -> None:
    for seconds in (0, 1):
        service = start(HTTP__KEEPALIVE_TIMEOUT=seconds)
        with service.connection() as client:
            client.sendall(GET)
            answer, answered = read_answer(client), time.monotonic()
            assert answer
            assert answer.headers["connection"] == ("keep-alive" if seconds else "close")
            assert is_over(client)
            assert seconds - 0.1 < time.monotonic() - answered < seconds + 5


@in_line_and_in_threads
def test_a_slow_client_keeps_nobody_waiting_though_there_is_one_worker(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads, HTTP__REQUEST_TIMEOUT=30)
    service.make_bucket()
    body = post(picture())
    with service.connection() as one, service.connection() as other, service.connection() as third, service.connection():
        one.sendall(GET[:-5])
        other.sendall(body[:-1])
        third.sendall(GET)
        assert read_answer(third)
        third.sendall(GET[:9])
        started = time.monotonic()
        assert service.get("/version").status_code == 200
        assert time.monotonic() - started < 5
        for client, rest in ((one, GET[-5:]), (other, body[-1:]), (third, GET[9:])):
            client.sendall(rest)
            answer = read_answer(client)
            assert answer
            assert answer.status < 300


@in_line_and_in_threads
def test_a_client_that_was_refused_and_goes_on_keeps_nobody_waiting(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads)
    with service.connection() as client:
        client.sendall(b"GET /version HTTP/1.1\r\nbad header\r\n\r\n")
        assert status_of(client) == 400
        for _ in range(4):
            client.sendall(b"x")
            started = time.monotonic()
            assert service.get("/version").status_code == 200
            assert time.monotonic() - started < 1
            time.sleep(0.9)


@in_line_and_in_threads
def test_what_is_no_http_is_refused_at_once(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"  # of TLS
    for before, noise in ((b"", hello), (b"", b'{"a": '), (GET, b"\r\n" + hello), (GET, b"\0" * 300_000)):
        with service.connection() as client:
            started = time.monotonic()
            client.sendall(before + noise)
            answers = [read_answer(client) for _ in range(2 if before else 1)]
            assert answers[-1]
            assert (answers[-1].status, answers[-1].json()["error_code"]) == (400, 12046)
            assert time.monotonic() - started < 5
    assert service.get("/version").status_code == 200


@in_line_and_in_threads
def test_a_client_that_asks_much_at_once_gets_one_answer_in_a_turn(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads)
    service.make_bucket()
    heavy = service.post(IMAGES, picture(4000, 4000)).json()["url"]
    ask = f"GET {heavy}_100 HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    with service.connection() as greedy, service.connection() as other:
        greedy.sendall(ask * 100)
        assert read_answer(greedy)
        for _ in range(3):
            other.sendall(GET)
            assert read_answer(other)
        so_far = greedy.recv(2**20) if select([greedy], (), (), 0)[0] else b""
        assert so_far.count(b"HTTP/1.1 200") < 10


@in_line_and_in_threads
def test_a_slow_client_is_told_so_in_time(start: Start, threads: int) -> None:
    service = start(HTTP__WORKERS=1, HTTP__THREADS=threads, HTTP__REQUEST_TIMEOUT=1)
    service.make_bucket()
    with service.connection() as client:
        client.sendall(post(picture())[:-1])
        answer = read_answer(client)
        assert answer
        assert (answer.status, answer.json()["error_code"]) == (400, 12046)
        assert is_over(client)
    assert service.get("/version").status_code == 200


@in_line_and_in_threads
def test_a_reload_under_clients_that_keep_their_connections_loses_no_request(start: Start, threads: int) -> None:
    service = start(HTTP__THREADS=threads)
    service.make_bucket()
    over, body = Event(), picture()

    def work() -> int:
        saved = 0
        with requests.Session() as session:
            while not over.wait(0.02):
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
            over.set()
    assert sum(client.result() for client in clients) == len(service.kept.ids("images"))


def test_end_with_the_next_answer_once_the_service_drains(start: Start) -> None:
    service = start(HTTP__DRAIN_TIME=60)
    with service.connection() as client:
        client.sendall(GET)
        assert read_answer(client)
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.get("/readyz").status_code == 503)
        client.sendall(GET)
        answer = read_answer(client)
        assert answer
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert is_over(client)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_more_than_a_worker_holds_are_served_all_the_same(start: Start) -> None:
    """They wait in the kernel until others have gone."""
    service = start(HTTP__WORKERS=1, HTTP__KEEPALIVE_TIMEOUT=60)
    clients = [socket.create_connection(service.address, 60) for _ in range(520)]
    try:
        for client in clients[:500]:
            client.sendall(GET)
            assert read_answer(client)
        for client in clients[500:]:
            client.sendall(GET)
        for client in clients[:500]:
            client.close()
        for client in clients[500:]:
            assert read_answer(client)
    finally:
        for client in clients:
            client.close()


@in_line_and_in_threads
def test_more_than_there_are_file_descriptors_for_wait_and_end_no_worker(start: Start, threads: int) -> None:
    service = start("prlimit", "--nofile=50", *SERVE, HTTP__WORKERS=1, HTTP__THREADS=threads)
    workers = service.workers()
    clients = [socket.create_connection(service.address, 60) for _ in range(80)]
    try:
        for client in clients:
            client.sendall(GET[:-5])
        wait_until(lambda: "a connection can't be taken: [Errno 24]" in service.log())
        for client in clients[:60]:
            client.close()
        clients[-1].sendall(GET[-5:])
        assert read_answer(clients[-1])
    finally:
        for client in clients:
            client.close()
    assert service.get("/version").status_code == 200
    assert service.workers() == workers
