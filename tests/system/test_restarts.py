"""Stops, reloads, upgrades and hung workers: what was accepted is answered."""

import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from ..machine import wait_until
from .conftest import Start
from .nginx import nginx
from .pictures import picture
from .service import BIN, REPOSITORY, SERVE, Endpoint, Service, read_answer

CLIENTS = 4
IMAGES = "/1/buckets/pictures/images"
TOLD = 'int(__import__("sys")._xoptions["release"])'
COMMAND = """
import sys
sys.path.insert(0, {folder!r})
from luna_image_store.cli import main
main()
"""
GET = b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n"


class Upload:
    """An upload of which the service has the first bytes."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._body = picture()
        head = f"POST {IMAGES} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(self._body)}\r\n\r\n"
        client.sendall(head.encode() + self._body[:100])

    def finish(self) -> int | None:
        self._client.sendall(self._body[100:])
        answer = read_answer(self._client)
        return answer and answer.status


@contextmanager
def load(proxy: Endpoint) -> Iterator[Counter[object]]:
    """Save and read pictures all the time, and count what comes of it."""
    seen, over, body = Counter[object](), threading.Event(), picture()

    def work() -> None:
        while not over.wait(0.05):  # the rest of the machine has work to do, too
            try:
                saved = proxy.post(IMAGES, body)
                seen[saved.status_code] += 1
                if saved.status_code == 201:
                    seen[proxy.get(saved.json()["url"]).status_code] += 1
            except requests.RequestException as ex:
                seen[repr(ex)] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(work) for _ in range(CLIENTS)]
        wait_until(lambda: seen.total() > 2 * CLIENTS)
        try:
            yield seen
            enough = seen.total() + 2 * CLIENTS
            wait_until(lambda: seen.total() > enough)
        finally:
            over.set()
    for worked in working:
        worked.result()


def pids(service: Service) -> set[int]:
    return {worker.pid for worker in service.workers()}


def reload(service: Service) -> None:
    before = pids(service)
    service.signal(signal.SIGHUP)
    wait_until(lambda: len(now := pids(service)) == len(before) and not now & before, 60)


@pytest.mark.parametrize(("threads", "rounds"), [(1, 2), (4, 1)])
def test_reloads_and_restarts_behind_a_socket_that_stays_open_lose_no_request(tmp_path: Path, threads: int, rounds: int) -> None:
    path = tmp_path / "systemd.sock"
    service = Service(tmp_path, HTTP__BIND=f"unix:{path}", HTTP__THREADS=threads)
    with socket.socket(socket.AF_UNIX) as service.given, nginx(tmp_path, f"unix:{path}") as proxy:
        service.given.bind(str(path))
        service.given.listen(100)
        try:
            service.start()
            proxy.make_bucket()
            with load(proxy) as seen:
                for _ in range(rounds):
                    reload(service)
                    assert service.stop() == 0
                    service.start()
            assert seen.keys() == {200, 201}, seen
        finally:
            service.end()
    assert path.exists()
    assert "Traceback" not in service.log()


def test_a_socket_of_systemd_takes_the_place_of_the_setting(tmp_path: Path) -> None:
    service = Service(tmp_path)
    given = Endpoint(0)
    with socket.create_server(("127.0.0.1", 0)) as service.given:
        given.port = service.given.getsockname()[1]
        try:
            service.launch()
            assert given.get("/version").status_code == 200
            with pytest.raises(requests.ConnectionError):
                service.get("/version")
            assert "HTTP.BIND is not used" in service.log()
            assert service.stop() == 0
            service.launch()
            assert given.get("/version").status_code == 200
        finally:
            service.end()


@pytest.mark.parametrize("bind", ["127.0.0.1", "unix"])
def test_a_stop_answers_what_waits_in_the_queue(tmp_path: Path, bind: str) -> None:
    path = tmp_path / "http.sock"
    service = Service(tmp_path, HTTP__WORKERS=1, **({"HTTP__BIND": f"unix:{path}"} if bind == "unix" else {}))
    family, address = (socket.AF_UNIX, str(path)) if bind == "unix" else (socket.AF_INET, service.address)

    def connect() -> socket.socket:
        client = socket.socket(family)
        client.settimeout(60)
        client.connect(address)
        return client

    try:
        service.start()
        with connect() as client:
            client.sendall(b"POST /1/buckets?bucket=pictures HTTP/1.1\r\nHost: h\r\n\r\n")
            assert read_answer(client)
        with connect() as uploading, connect() as first, connect() as second:
            upload = Upload(uploading)
            wait_until(lambda: len(service.workers()[0].net_connections("all")) > 1)
            for client in (first, second):
                client.sendall(GET)
            service.signal(signal.SIGTERM)
            wait_until(lambda: "signal: term" in service.log())
            assert upload.finish() == 201
            for client in (first, second):
                answer = read_answer(client)
                assert answer
                assert answer.status == 200
        assert service.wait() == 0
    finally:
        service.end()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_stop_gives_a_connection_the_time_to_speak(tmp_path: Path, threads: int) -> None:
    """nginx connects and then sends; in between the worker may take the connection, and be told to stop."""
    path = tmp_path / "http.sock"
    service = Service(tmp_path, HTTP__WORKERS=1, HTTP__THREADS=threads, HTTP__BIND=f"unix:{path}")
    try:
        (worker,) = service.start().workers()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            worker.suspend()
            client.connect(str(path))
            service.signal(signal.SIGTERM)
            wait_until(lambda: not path.exists())
            worker.resume()
            time.sleep(0.1)  # the worker gives it a second
            client.sendall(GET)
            answer = read_answer(client)
        assert answer
        assert answer.status == 200
        assert service.wait() == 0
    finally:
        service.end()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_reload_waits_no_longer_than_it_should_for_a_client_that_reads_slowly(tmp_path: Path, threads: int) -> None:
    service = Service(tmp_path, HTTP__THREADS=threads, HTTP__GRACEFUL_TIMEOUT=2, HTTP__REQUEST_TIMEOUT=60)
    try:
        service.start().make_bucket()
        large = bytes(30 * 2**20).replace(b"\0", b"x")
        url = service.post("/1/buckets/pictures/objects", large, headers={"Content-Type": "text/plain"}).json()["url"]
        with service.connection() as client:
            client.sendall(f"GET {url} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert client.recv(1000)
            started = time.monotonic()
            reload(service)
            assert time.monotonic() - started < 30
        assert service.get(url).content == large
    finally:
        service.end()


def test_a_stop_takes_its_time_to_drain_and_a_second_signal_ends_it(start: Start) -> None:
    service = start(HTTP__DRAIN_TIME=1000)
    service.make_bucket()
    wait_until(lambda: service.get("/readyz").status_code == 200)
    with service.connection() as client:
        upload = Upload(client)
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.get("/readyz").status_code == 503)
        answer = service.get("/readyz")
        assert answer.json() == {
            "error_code": 13910,
            "desc": "Service is not ready",
            "detail": "the service is stopping",
        }
        assert int(answer.headers["Retry-After"]) > 0
        assert service.post(IMAGES, picture()).status_code == 201
        assert service.get("/livez").json() == {"status": "alive"}
        before = pids(service)
        service.signal(signal.SIGHUP)  # it is too late for a reload
        service.signal(signal.SIGTERM)
        wait_until(lambda: len(pids(service)) == 1)
        assert pids(service) < before
        assert upload.finish() == 201
    assert service.wait() == 0
    assert len(service.kept.ids()) == 2


def test_a_stop_comes_when_it_has_drained(start: Start) -> None:
    service = start(HTTP__DRAIN_TIME=1)
    assert service.stop() == 0
    assert "Draining for 1 s" in service.log()


def test_a_reload_brings_the_release_that_is_current_unless_it_does_not_start(tmp_path: Path) -> None:
    current = tmp_path / "current"

    def release(version: str) -> None:
        """Install a release that tells, as the version of its interface, what its interpreter was told; make it the current one."""
        folder = tmp_path / f"release {version}"
        ignored = shutil.ignore_patterns("manual", "static", "__pycache__")
        shutil.copytree(REPOSITORY / "luna_image_store", folder / "luna_image_store", ignore=ignored)
        module, command = folder / "luna_image_store/resources/system.py", folder / "luna-image-store"
        module.write_text(module.read_text().replace("API_VERSION = 1", "API_VERSION = " + TOLD))
        command.write_text(f"#!{sys.executable} -IXrelease={version}\n{COMMAND.format(folder=str(folder))}")
        command.chmod(0o755)
        current.unlink(missing_ok=True)
        current.symlink_to(folder)

    def version() -> int:
        return int(service.get("/version").json()["Version"]["api"])

    service = Service(tmp_path)
    try:
        release("1")
        service.start(str(current / "luna-image-store"), "serve")
        assert version() == 1
        release("missing")
        service.signal(signal.SIGHUP)
        wait_until(lambda: "the settings stay as they are: ValueError" in service.log())
        assert version() == 1
        release("2")
        reload(service)
        assert version() == 2
        assert service.stop() == 0
    finally:
        service.end()


def test_a_reload_waits_for_what_runs(start: Start) -> None:
    service = start()
    service.make_bucket()
    with service.connection() as client:
        upload, before = Upload(client), pids(service)
        wait_until(lambda: any(len(worker.net_connections()) > 1 for worker in service.workers()))
        service.signal(signal.SIGHUP)
        wait_until(lambda: len(pids(service) & before) == 1 and len(pids(service)) == 3, 60)
        assert service.get("/readyz").json() == {"status": "ready"}
        assert upload.finish() == 201
    wait_until(lambda: len(now := pids(service)) == 2 and not now & before)


def test_a_hung_worker_is_replaced_while_the_others_serve(start: Start) -> None:
    """Also one that hangs since before a reload."""
    service = start(HTTP__REQUEST_TIMEOUT=1)
    wait_until(lambda: service.get("/readyz").status_code == 200)
    before = service.workers()
    before[0].suspend()
    service.signal(signal.SIGHUP)
    wait_until(lambda: before[1].pid not in pids(service) and len(pids(service)) == 3)
    hung = {before[0].pid, max(pids(service) - {before[0].pid})}
    psutil.Process(max(hung - {before[0].pid})).suspend()
    wait_until(lambda: service.get("/version").ok and not hung & pids(service), 60)
    wait_until(lambda: len(pids(service)) == 2)
    assert service.log().count("WORKER TIMEOUT") == 2


def test_no_second_master_is_started_beside_the_first(start: Start) -> None:
    service = start()
    before = pids(service)
    service.signal(signal.SIGUSR2)
    wait_until(lambda: "SIGUSR2 does nothing" in service.log())
    assert service.get("/version").status_code == 200
    assert pids(service) == before


def test_systemd_is_told_of_start_reload_and_end(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        service.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        try:
            service.start()
            assert b"READY=1" in systemd.recv(999)
            reload(service)
            assert systemd.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert b"READY=1" in systemd.recv(999)
            assert service.stop() == 0
            assert systemd.recv(999) == b"STOPPING=1"
        finally:
            service.end()


def test_a_start_can_be_tried_out(start: Start, tmp_path: Path) -> None:
    """Also beside a service that works on the same storage and has the port."""
    service = start()
    assert service.run(*SERVE, "--check").stdout == "it would start\n"
    service.environment["LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH"] = "/dev/null/storage"
    tried = service.run(*SERVE, "--check")
    assert tried.returncode == 1
    assert "/dev/null/storage" in tried.stderr
    assert service.run(str(BIN / "luna-image-store"), "serve", "--check", "--config", "missing.toml").returncode == 1
