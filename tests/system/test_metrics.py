"""Metrics of all workers: their sums stay correct when workers end, and a real Prometheus reads them."""

import random
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from ..machine import wait_until
from .conftest import Start, on_disk_and_s3
from .images import noise_image
from .monitoring_servers import METRICS, prometheus, value
from .service import GUNICORN, SERVE, Service

THREADS = 8  # of a worker, by default
VERSIONS = 'request_count_total{path="GET:/version",status_code="200"}'


def directory(service: Service) -> Path:
    """Wait until the workers map the files of the metrics, and return their directory."""
    (path,) = wait_until(
        lambda: {
            Path(region.path).parent
            for worker in service.workers()
            for region in worker.memory_maps()
            if region.path.endswith(".db")
        }
    )
    return Path(path)


class Load:
    """Requests of three clients in parallel. Some fail, because the test kills workers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.sent = self.answered = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(3) as clients:
            results = [clients.submit(self._send_requests) for _ in range(3)]
            try:
                yield
            finally:
                self._stopped.set()
        for result in results:
            result.result()

    def _send_requests(self) -> None:
        while not self._stopped.wait(0.005):
            with self._lock:
                self.sent += 1
            try:
                status = self._service.get("/version").status_code
            except requests.RequestException:
                continue
            assert status == 200
            with self._lock:
                self.answered += 1


def test_counts_are_correct_after_fifty_workers_are_killed(start: Start, tmp_path: Path) -> None:
    service = start(HTTP__WORKERS=4, **METRICS)
    load, choice = Load(service), random.Random(0)
    with prometheus(tmp_path, service) as server:
        with load.running():
            for number in range(25):
                victims = choice.sample(service.workers(), 2)
                for victim in victims:
                    victim.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
                wait_until(lambda gone=victims: not set(gone) & set(service.workers()), 60)
                # A worker can miss a SIGTERM before it has set its metrics.
                wait_until(lambda: value(service, "luna_image_store_threads") == 4 * THREADS, 60)
        wait_until(lambda: value(service, "luna_image_store_requests_in_flight") == 0)
        counted = value(service, VERSIONS)
        assert load.answered <= counted <= load.sent
        assert load.answered > 50
        for _ in range(40):
            service.get("/version")
        assert value(service, VERSIONS) == counted + 40
        assert value(service, "luna_image_store_threads") == 4 * THREADS
        wait_until(lambda: server.value(f"sum({VERSIONS})") == counted + 40)
        assert server.value("sum(resets(request_count_total[1h]))") == 0
        assert server.value("sum(resets(requests_count[1h]))") == 0
    assert len(list(directory(service).glob("*.db"))) <= 4 * 3


@pytest.mark.parametrize("command", [SERVE, GUNICORN], ids=["serve", "gunicorn"])
def test_counts_of_all_threads_are_added_with_both_start_commands(start: Start, command: tuple[str, ...]) -> None:
    service = start(*command, HTTP__THREADS=4, **METRICS)
    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(lambda _: service.get("/version").status_code, range(200)))
    assert statuses == [200] * 200
    assert value(service, VERSIONS) == 200
    assert value(service, 'requests_count{path="GET:/version",status_code="200"}') == 200
    assert value(service, "luna_image_store_threads") == 8


@on_disk_and_s3
def test_storage_rendering_and_bytes_are_measured(start: Start) -> None:
    service = start(**METRICS)
    backend = str(service.environment.get("LUNA_IMAGE_STORE__STORAGE__TYPE", "disk"))
    service.make_bucket()
    body = noise_image()
    image = service.post("/1/buckets/photos/images", body).json()
    assert len(service.get(image["url"]).content) == len(body)
    operation = f'luna_image_store_storage_seconds_count{{backend="{backend}",operation="%s"}}'
    assert [value(service, operation % name) for name in ("create_bucket", "put", "open", "delete")] == [1, 1, 1, 0]
    assert value(service, 'luna_image_store_codec_seconds_count{operation="render"}') == 1
    assert value(service, 'luna_image_store_received_bytes_total{path="POST:/buckets/{bucket}/images"}') == len(body)
    assert value(service, 'luna_image_store_sent_bytes_total{path="GET:/buckets/{bucket}/images/{image_id}"}') == len(body)


def test_a_reload_continues_the_counts_and_changes_the_labels(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[LUNA_SERVICE_METRICS]\nENABLED = true\n")
    service = start(*SERVE, "--config", str(path))
    assert service.get("/version").status_code == 200
    before, metrics = {worker.pid for worker in service.workers()}, directory(service)
    path.write_text('[LUNA_SERVICE_METRICS]\nENABLED = true\nEXTRA_LABELS = {site = "north"}\n')
    service.signal(signal.SIGHUP)
    wait_until(lambda: len(now := {worker.pid for worker in service.workers()}) == 2 and not now & before)
    assert service.get("/version").status_code == 200
    assert value(service, 'request_count_total{path="GET:/version",site="north",status_code="200"}') == 2
    assert VERSIONS not in service.get("/metrics").text
    assert directory(service) == metrics
    assert len(list(metrics.glob("*.db"))) <= 4 * 3
    assert service.stop() == 0
    assert not metrics.exists()


def test_a_reload_can_enable_and_disable_metrics(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("")
    service = start(*SERVE, "--config", str(path))
    for enabled, status in (("true", 200), ("false", 404)):
        before = {worker.pid for worker in service.workers()}
        path.write_text(f"[LUNA_SERVICE_METRICS]\nENABLED = {enabled}\n")
        service.signal(signal.SIGHUP)
        wait_until(lambda old=before: len(now := {worker.pid for worker in service.workers()}) == 2 and not now & old)
        assert service.get("/metrics").status_code == status


def test_the_service_continues_if_the_metrics_directory_is_removed(start: Start) -> None:
    service = start(**METRICS)
    wait_until(lambda: value(service, "luna_image_store_threads") == 2 * THREADS)
    path, (victim, _) = directory(service), service.workers()
    shutil.rmtree(path)
    victim.kill()
    wait_until(lambda: victim not in (workers := service.workers()) and len(workers) == 2)
    wait_until(lambda: value(service, "luna_image_store_threads") == THREADS)  # the metrics of the other worker are lost
    assert service.stop() == 0


def test_a_start_removes_the_metrics_of_a_killed_master(start: Start) -> None:
    service = start(**METRICS)
    stale = directory(service)
    service.kill()
    service.start()
    assert not stale.exists()
    another = start(**METRICS, HTTP__WORKERS=1)
    assert directory(service).exists()
    assert directory(another).exists()
