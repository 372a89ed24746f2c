"""Real monitoring servers: Prometheus, and VictoriaMetrics, which accepts points for InfluxDB."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from ..machine import free_port, tool, wait_until
from .service import Endpoint

METRICS = {"LUNA_SERVICE_METRICS__ENABLED": True}
SCRAPE = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: luna-image-store
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def value(service: Endpoint, series: str) -> float:
    """Return the value of a series on `/metrics`, or 0 if the page does not have the series."""
    answer = service.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = re.search(f"^{re.escape(series)} (.+)$", answer.text, re.MULTILINE)
    return float(found[1]) if found else 0


@contextmanager
def running(*command: str, log: Path, port: int, ready: str) -> Iterator[Endpoint]:
    """Run a server, and wait until the path `ready` returns 200."""
    endpoint = Endpoint(port)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return endpoint.get(ready).status_code == 200
        except requests.ConnectionError:
            return False

    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        wait_until(is_ready, 60)
        yield endpoint
    finally:
        process.kill()
        process.wait(10)


class Prometheus:
    """A Prometheus server that scrapes one service five times a second."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and current values of the series that an expression selects."""
        answer = self._endpoint.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return [(found["metric"], float(found["value"][1])) for found in answer["data"]["result"]]

    def value(self, expression: str) -> float | None:
        """Return the value of the first series that an expression selects, or None."""
        return next((value for _, value in self.query(expression)), None)


@contextmanager
def prometheus(folder: Path, service: Endpoint) -> Iterator[Prometheus]:
    port, config = free_port(), folder / "prometheus.yml"
    config.write_text(SCRAPE.format(port=service.port))
    options = (f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}")
    with running(tool("prometheus"), *options, log=folder / "prometheus.log", port=port, ready="/-/ready") as endpoint:
        yield Prometheus(endpoint)


class VictoriaMetrics:
    """A server that accepts points for InfluxDB. It stores numbers, not strings."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.port = endpoint.port
        self._endpoint = endpoint

    def points(self, name: str) -> list[tuple[dict[str, str], float, float]]:
        """Return tags, value and time in seconds of all points of a measurement and field."""
        self._endpoint.get("/internal/force_flush")
        lines = self._endpoint.get("/api/v1/export", params={"match[]": name}).text.splitlines()
        return [point for line in lines for point in _points(json.loads(line))]


def _points(series: dict[str, Any]) -> Iterator[tuple[dict[str, str], float, float]]:
    for value, time in zip(series["values"], series["timestamps"], strict=True):
        yield series["metric"], value, time / 1000


@contextmanager
def victoria_metrics(folder: Path, port: int) -> Iterator[VictoriaMetrics]:
    options = (f"-storageDataPath={folder}/points", f"-httpListenAddr=127.0.0.1:{port}")
    with running(tool("victoria-metrics"), *options, log=folder / "victoria.log", port=port, ready="/health") as endpoint:
        yield VictoriaMetrics(endpoint)
