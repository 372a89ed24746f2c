"""Points for InfluxDB: they reach a real server, and a server that is slow or gone is no harm."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..machine import free_port, wait_until
from .conftest import Start
from .service import Service
from .watchers import METRICS, value, victoria_metrics

TOKEN = "a-secret-token"
DROPPED = "luna_image_store_influx_dropped_points_total"


def sending_to(port: int) -> dict[str, object]:
    return {
        "INFLUX_MONITORING__SEND_DATA_FOR_MONITORING": True,
        "INFLUX_MONITORING__PORT": port,
        "INFLUX_MONITORING__TOKEN": TOKEN,
        "INFLUX_MONITORING__FLUSHING_PERIOD": 0.1,
    }


def test_points_of_all_workers_arrive_those_that_had_to_wait_too(start: Start, tmp_path: Path) -> None:
    port, began = free_port(), time.time()
    service = start(**sending_to(port))
    for _ in range(10):
        service.get("/version")
    wait_until(lambda: "points can't be sent" in service.log())
    with victoria_metrics(tmp_path, port) as server:
        service.make_bucket()
        service.get("/1/buckets/no-such/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a")
        service.stop()  # the last points are sent at the end of the workers
        ended = time.time()
        points = wait_until(lambda: len(found := server.points("requests_execution_time")) == 12 and found, 30)
        routes = [tags["route"] for tags, _, _ in points]
        assert (routes.count("GET:/version"), routes.count("POST:/buckets")) == (10, 1)
        assert {tags["service"] for tags, _, _ in points} == {"luna-image-store"}
        assert all(0 < seconds < 10 and began - 1 < at < ended for _, seconds, at in points)
        ((tags, _, _),) = server.points("errors_execution_time")
        assert (tags["route"], tags["status_code"]) == ("GET:/buckets/{bucket}/images/{image_id}", "404")
        assert tags["error_code"] == "13901"
    assert "points are sent again" in service.log()
    assert TOKEN not in service.log()


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> int:
    return free_port()


@pytest.mark.parametrize("server", ["silent", "refusing"])
def test_a_server_that_does_not_take_points_slows_no_request_and_the_loss_is_counted(
    start: Start, server: str, request: pytest.FixtureRequest
) -> None:
    service = start(HTTP__WORKERS=1, **METRICS, **sending_to(request.getfixturevalue(server)))
    began = time.monotonic()
    for _ in range(50):
        assert service.get("/version").status_code == 200
    assert time.monotonic() - began < 20  # with a wait for the server in each it would be a minute at least
    end_the_worker(service)
    assert value(service, DROPPED) == 50
    assert "InfluxDB: 50 points are lost" in service.log()
    assert service.log().count("InfluxDB") < 5
    assert "Traceback" not in service.log()
    assert TOKEN not in service.log() + service.get("/metrics").text + service.get("/config").text


def end_the_worker(service: Service) -> None:
    (worker,) = service.workers()
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: [other for other in service.workers() if other.pid != worker.pid], 20)
