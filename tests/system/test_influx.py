"""Points for InfluxDB reach a real server. A slow or missing server delays no request."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..machine import free_port, wait_until
from .conftest import Start
from .monitoring_servers import METRICS, value, victoria_metrics
from .service import Service

TOKEN = "a-secret-token"
DROPPED = "luna_image_store_influx_dropped_points_total"


def influx_settings(port: int) -> dict[str, object]:
    return {
        "INFLUX_MONITORING__SEND_DATA_FOR_MONITORING": True,
        "INFLUX_MONITORING__PORT": port,
        "INFLUX_MONITORING__TOKEN": TOKEN,
        "INFLUX_MONITORING__FLUSHING_PERIOD": 0.1,
    }


def test_the_points_of_all_workers_arrive_also_after_a_retry(start: Start, tmp_path: Path) -> None:
    port, started = free_port(), time.time()
    service = start(**influx_settings(port))
    for _ in range(10):
        service.get("/version")
    wait_until(lambda: "cannot send points" in service.log())
    with victoria_metrics(tmp_path, port) as server:
        service.make_bucket()
        service.get("/1/buckets/no-such/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a")
        service.stop()  # the last points are sent at the end of the workers
        ended = time.time()
        points = wait_until(lambda: len(found := server.points("requests_execution_time")) == 12 and found, 30)
        routes = [tags["route"] for tags, _, _ in points]
        assert (routes.count("GET:/version"), routes.count("POST:/buckets")) == (10, 1)
        assert {tags["service"] for tags, _, _ in points} == {"luna-image-store"}
        assert all(0 < seconds < 10 and started - 1 < at < ended for _, seconds, at in points)
        ((tags, _, _),) = server.points("errors_execution_time")
        assert (tags["route"], tags["status_code"]) == ("GET:/buckets/{bucket}/images/{image_id}", "404")
        assert tags["error_code"] == "13901"
    assert "points are accepted again" in service.log()
    assert TOKEN not in service.log()


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that accepts connections and sends no data."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> int:
    return free_port()


@pytest.mark.parametrize("server", ["silent", "refusing"])
def test_an_unavailable_server_delays_no_request_and_points_are_counted(
    start: Start, server: str, request: pytest.FixtureRequest
) -> None:
    service = start(HTTP__WORKERS=1, **METRICS, **influx_settings(request.getfixturevalue(server)))
    started = time.monotonic()
    for _ in range(50):
        assert service.get("/version").status_code == 200
    assert time.monotonic() - started < 20  # with a wait for the server in each request it would take at least a minute
    end_the_worker(service)
    assert value(service, DROPPED) == 50
    assert "InfluxDB: worker exits, 50 points discarded" in service.log()
    assert service.log().count("InfluxDB") < 5
    assert "Traceback" not in service.log()
    assert TOKEN not in service.log() + service.get("/metrics").text + service.get("/config").text


def end_the_worker(service: Service) -> None:
    (worker,) = service.workers()
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: [other for other in service.workers() if other.pid != worker.pid], 20)
