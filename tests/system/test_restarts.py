"""Stops, reloads, draining and hung workers. The service completes each accepted request."""

import os
import shutil
import signal
import socket
import stat
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
from .images import noise_image
from .nginx import nginx
from .service import BIN, DRAIN, GUNICORN, SERVE, Endpoint, Service, read_answer

CLIENTS = 4
IMAGES = "/1/buckets/photos/images"
RELOADS = int(os.environ.get("RELOADS", "5"))
GET = b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n"


class Upload:
    """A started upload. The client has sent its headers and first bytes."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._body = noise_image()
        head = f"POST {IMAGES} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(self._body)}\r\n\r\n"
        client.sendall(head.encode() + self._body[:100])

    def finish(self) -> int | None:
        self._client.sendall(self._body[100:])
        answer = read_answer(self._client)
        return answer and answer.status


@contextmanager
def load(proxy: Endpoint) -> Iterator[Counter[object]]:
    """Save and read images continuously. Count the statuses and the errors."""
    results, stopped, body = Counter[object](), threading.Event(), noise_image()

    def work() -> None:
        while not stopped.wait(0.05):  # leave time for other processes
            try:
                saved = proxy.post(IMAGES, body)
                results[saved.status_code] += 1
                if saved.status_code == 201:
                    results[proxy.get(saved.json()["url"]).status_code] += 1
            except requests.RequestException as ex:
                results[repr(ex)] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(work) for _ in range(CLIENTS)]
        wait_until(lambda: results.total() > 2 * CLIENTS)
        try:
            yield results
            enough = results.total() + 2 * CLIENTS
            wait_until(lambda: results.total() > enough)
        finally:
            stopped.set()
    for client in clients:
        client.result()


def pids(service: Service) -> set[int]:
    return {worker.pid for worker in service.workers()}


def reload(service: Service) -> None:
    before = pids(service)
    service.signal(signal.SIGHUP)
    wait_until(lambda: len(now := pids(service)) == len(before) and not now & before, 60)


def test_reloads_and_restarts_with_a_systemd_socket_lose_no_request(tmp_path: Path) -> None:
    path = tmp_path / "systemd.sock"
    service = Service(tmp_path, HTTP__BIND=f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as service.systemd_socket, nginx(tmp_path, f"unix:{path}") as proxy:
        service.systemd_socket.bind(str(path))
        service.systemd_socket.listen(100)
        try:
            service.start()
            proxy.make_bucket()
            with load(proxy) as results:
                for number in range(RELOADS):
                    reload(service)
                    if number % 5 == 0:
                        assert service.stop() == 0
                        service.start()
            assert results.keys() == {200, 201}, results
        finally:
            service.end()
    assert path.exists()
    assert "Traceback" not in service.log()


def test_a_systemd_socket_overrides_the_bind_setting(tmp_path: Path) -> None:
    service = Service(tmp_path)
    endpoint = Endpoint(0)
    with socket.create_server(("127.0.0.1", 0)) as service.systemd_socket:
        endpoint.port = service.systemd_socket.getsockname()[1]
        try:
            for _ in range(2):
                service.launch()
                assert endpoint.get("/version").status_code == 200
                with pytest.raises(requests.ConnectionError):
                    service.get("/version")
                assert service.stop() == 0
        finally:
            service.end()


def test_a_stop_serves_a_connection_that_has_not_sent_its_request(tmp_path: Path) -> None:
    """nginx connects before it sends a request. In between, the worker may accept the connection and get SIGTERM."""
    path = tmp_path / "http.sock"
    service = Service(tmp_path, HTTP__WORKERS=1, HTTP__BIND=f"unix:{path}")
    try:
        (worker,) = service.start().workers()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # queued behind the connections of the readiness check
            client.sendall(GET)
            assert read_answer(client)
        wait_until(lambda: len(worker.net_connections("unix")) == 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(path))
            wait_until(lambda: len(worker.net_connections("unix")) > 1)
            service.signal(signal.SIGTERM)
            wait_until(lambda: not path.exists())
            client.sendall(GET)
            answer = read_answer(client)
        assert answer
        assert answer.status == 200
        assert service.wait() == 0
    finally:
        service.end()


def test_a_reload_waits_for_a_slow_reader_only_until_the_timeout(tmp_path: Path) -> None:
    service = Service(tmp_path, HTTP__GRACEFUL_TIMEOUT=2, HTTP__REQUEST_TIMEOUT=5)
    try:
        service.start().make_bucket()
        large = bytes(30 * 2**20).replace(b"\0", b"x")
        url = service.post("/1/buckets/photos/objects", large, headers={"Content-Type": "text/plain"}).json()["url"]
        with service.connection() as client:
            client.sendall(f"GET {url} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert client.recv(1000)
            reload(service)
        assert service.get(url).content == large
    finally:
        service.end()


def test_a_reload_waits_for_running_requests(start: Start) -> None:
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


@pytest.mark.parametrize("command", [SERVE, GUNICORN], ids=["serve", "gunicorn"])
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("[IMAGES]\nMAX_SIZE = -1\n", "IMAGES.MAX_SIZE"),
        ('[LOCAL_STORAGE]\nPATH = "/dev/null/storage"\n', "LOCAL_STORAGE.PATH: cannot use /dev/null/storage"),
        ("[IMAGES]\nMAX_SIEZ = 1\n", "IMAGES.MAX_SIEZ"),
        ("[IMAGES", "settings.toml"),
        (f"x = {'[' * 100_000}", "settings.toml"),
        ('[LUNA_IMAGE_STORE_LOGGER]\nLOG_TO_FILE = true\nFOLDER_WITH_LOGS = "a\\u0000b"\n', "FOLDER_WITH_LOGS"),
        (f"[HTTP]\nGRACEFUL_TIMEOUT = 1{'0' * 400}\n", "HTTP.GRACEFUL_TIMEOUT"),
    ],
    ids=["value", "storage path", "unknown key", "syntax", "deep nesting", "nul", "huge number"],
)
def test_a_reload_refuses_invalid_settings_and_the_service_continues(
    tmp_path: Path, command: tuple[str, ...], settings: str, reason: str
) -> None:
    path = tmp_path / "settings.toml"
    service = Service(tmp_path)
    valid = f'[LOCAL_STORAGE]\nPATH = "{service.root}"\n[OBJECTS]\nMAX_SIZE = 111\n'
    path.write_text(valid)
    del service.environment["LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH"]
    service.environment["LUNA_IMAGE_STORE_CONFIG"] = str(path)
    limit = lambda: service.get("/config").json()["OBJECTS"]["MAX_SIZE"]  # noqa: E731
    try:
        service.start(*command)
        path.write_text(settings)
        service.signal(signal.SIGHUP)
        wait_until(lambda: "reload refused, still running with the previous settings: " in service.log())
        assert reason in service.log()
        service.workers()[0].kill()  # the new worker has the previous settings too
        for _ in range(10):
            assert limit() == 111
        path.write_text(valid.replace("111", "222"))
        service.signal(signal.SIGHUP)
        wait_until(lambda: limit() == 222, 60)
    finally:
        service.end()


def test_a_killed_worker_is_replaced_while_the_storage_fails(start: Start) -> None:
    service = start()
    service.make_bucket()
    url = service.post(IMAGES, noise_image()).json()["url"]
    shutil.rmtree(service.root / ".tmp")
    (service.root / ".tmp").touch()
    before = pids(service)
    for worker in service.workers():
        worker.kill()
    wait_until(lambda: len(now := pids(service)) == 2 and not now & before)
    assert service.post(IMAGES, noise_image()).status_code == 503
    (service.root / ".tmp").unlink()
    (service.root / ".tmp").mkdir()
    assert service.post(IMAGES, noise_image()).status_code == 201
    assert service.get(url).status_code == 200


def test_a_worker_that_starts_without_the_mount_creates_no_new_storage(start: Start) -> None:
    service = start()
    service.make_bucket()
    moved = service.root.with_name("moved")
    service.root.rename(moved)
    before = pids(service)
    for worker in service.workers():
        worker.kill()
    wait_until(lambda: len(now := pids(service)) == 2 and not now & before)
    assert service.get("/1/buckets").status_code == 503
    assert service.post("/1/buckets?bucket=new").status_code == 503
    service.root.mkdir()  # the empty mount point
    assert service.get("/1/buckets").status_code == 503
    service.signal(signal.SIGHUP)
    wait_until(lambda: "reload refused" in service.log())
    service.root.rmdir()
    moved.rename(service.root)
    assert service.get("/1/buckets").json() == ["photos"]


def test_a_reload_can_change_the_storage_from_s3_to_disk(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    service = Service(tmp_path)
    service.environment["LUNA_IMAGE_STORE_CONFIG"] = str(path)
    keys = "ACCESS_KEY_ID = 'key'\nSECRET_ACCESS_KEY = 'secret'\n"
    path.write_text(f"[STORAGE]\nTYPE = 's3'\n[S3]\nENDPOINT_URL = 'http://127.0.0.1:9'\n{keys}")
    try:
        service.start()
        path.write_text("")
        service.signal(signal.SIGHUP)
        wait_until(lambda: service.get("/1/buckets").status_code == 200)
        service.make_bucket()
    finally:
        service.end()


def test_other_users_have_no_access_to_the_storage(start: Start) -> None:
    service = start()
    assert stat.S_IMODE(service.root.stat().st_mode) & 0o007 == 0


def test_a_reload_does_not_change_the_address(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    service = Service(tmp_path)
    del service.environment["LUNA_IMAGE_STORE__HTTP__BIND"]
    path.write_text(f'[HTTP]\nBIND = "127.0.0.1:{service.port}"\n')
    service.environment["LUNA_IMAGE_STORE_CONFIG"] = str(path)
    try:
        service.start()
        path.write_text('[HTTP]\nBIND = "127.0.0.1:1"\n')
        reload(service)
        assert service.get("/version").status_code == 200
    finally:
        service.end()


def test_the_service_drains_while_the_drain_file_exists(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "draining"
    file.touch()
    service = start(HTTP__DRAIN_FILE=file, HTTP__DRAIN_TIME=1)
    assert service.get("/readyz").status_code == 200  # the start has removed it
    service.make_bucket()
    started = time.monotonic()
    assert service.run(*DRAIN).returncode == 0
    assert time.monotonic() - started > 1
    answer = service.get("/readyz")
    assert (answer.status_code, answer.json()["error_code"]) == (503, 13910)
    assert answer.json()["detail"] == "the service is draining"
    assert int(answer.headers["Retry-After"]) > 0
    assert service.post(IMAGES, noise_image()).status_code == 201
    assert service.get("/livez").json() == {"status": "alive"}
    assert service.run(*DRAIN, "--cancel").returncode == 0
    assert service.get("/readyz").status_code == 200
    assert service.run(*DRAIN, "--seconds", "0").returncode == 0
    assert service.get("/readyz").status_code == 503
    assert service.stop() == 0
    service.start()
    assert service.get("/readyz").status_code == 200


def test_a_drain_file_that_cannot_be_created_is_reported(start: Start) -> None:
    service = start()
    service.environment["LUNA_IMAGE_STORE__HTTP__DRAIN_FILE"] = "/dev/null/draining"
    result = service.run(*DRAIN)
    assert result.returncode == 2
    assert "HTTP.DRAIN_FILE: " in result.stderr


def test_a_stop_waits_for_running_requests(start: Start) -> None:
    service = start()
    service.make_bucket()
    with service.connection() as client:
        upload = Upload(client)
        wait_until(lambda: any(len(worker.net_connections()) > 1 for worker in service.workers()))
        service.signal(signal.SIGTERM)
        wait_until(lambda: len(pids(service)) == 1)
        assert upload.finish() == 201
    assert service.wait() == 0
    assert len(service.storage.ids()) == 1


def test_a_killed_master_leaves_its_port_free(start: Start) -> None:
    service = start()
    service.make_bucket()
    with service.connection() as client:
        Upload(client)
        wait_until(lambda: any(len(worker.net_connections()) > 1 for worker in service.workers()))
        workers = service.workers()
        service.signal(signal.SIGKILL)
        service.wait()
        assert not psutil.wait_procs(workers, timeout=5)[1]
    service.start()
    assert service.get("/1/buckets").json() == ["photos"]


def test_a_hung_worker_is_replaced_while_the_others_serve_requests(start: Start) -> None:
    service = start(HTTP__REQUEST_TIMEOUT=2)
    wait_until(lambda: service.get("/readyz").status_code == 200)
    hung = service.workers()[0]
    hung.suspend()
    wait_until(lambda: service.get("/version").ok and hung.pid not in pids(service), 60)
    wait_until(lambda: len(pids(service)) == 2)
    assert "WORKER TIMEOUT" in service.log()


def test_the_service_notifies_systemd_when_it_is_ready(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        service.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        try:
            service.start()
            assert b"READY=1" in systemd.recv(999)
        finally:
            service.end()


def test_serve_check_validates_the_settings_without_a_start(start: Start, tmp_path: Path) -> None:
    """The check works while a service uses the same storage and port."""
    service = start()
    assert service.run(*SERVE, "--check").stdout == "OK\n"
    service.environment["LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH"] = "/dev/null/storage"
    result = service.run(*SERVE, "--check")
    assert result.returncode == 1
    assert "/dev/null/storage" in result.stderr
    assert service.run(str(BIN / "luna-image-store"), "serve", "--check", "--config", "missing.toml").returncode == 1
