"""Traces that reach a receiver of OpenTelemetry's protocol."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ..machine import free_port
from .conftest import Start, on_disk_and_s3
from .images import noise_image
from .service import BIN, Service

REQUEST_ID = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CLIENT = {"Luna-Request-Id": REQUEST_ID, "traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}


class Receiver(ThreadingHTTPServer):
    """A server that records the spans that it receives, with their resource."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[tuple[dict[str, Any], Any]] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of the only span with this name."""
        ((_, span),) = (found for found in self.spans if found[1].name == name)
        return attributes(span)


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.spans += [(attributes(group.resource), span) for scope in group.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def attributes(item: Any) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in item.attributes}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_port}")
        yield receiver
        receiver.shutdown()


@on_disk_and_s3
def test_requests_and_s3_calls_are_spans_in_the_trace_of_the_client(start: Start, receiver: Receiver) -> None:
    service = start(TRACING__ENABLED=True)
    service.make_bucket()
    service.post("/1/buckets/photos/images", noise_image(), headers=CLIENT)
    service.get("/1/buckets/no-such/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a")
    assert service.stop() == 0  # the last spans are sent at the end of the workers
    saved = receiver.attributes("POST /1/buckets/{bucket}/images")
    assert (saved["http.status_code"], saved["luna.request_id"]) == (201, REQUEST_ID)
    missing = receiver.attributes("GET /1/buckets/{bucket}/images/{image_id}")
    assert missing["http.status_code"] == 404
    assert {resource["service.name"] for resource, _ in receiver.spans} == {"luna-image-store"}
    of_client = {span.name for _, span in receiver.spans if span.trace_id.hex() == TRACE_ID}
    on_s3 = service.environment.get("LUNA_IMAGE_STORE__STORAGE__TYPE") == "s3"
    assert of_client == {"POST /1/buckets/{bucket}/images", *(["S3.PutObject"] if on_s3 else [])}


def test_an_unavailable_receiver_delays_neither_requests_nor_the_stop(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    service = start(TRACING__ENABLED=True)
    assert service.get("/version").status_code == 200
    assert service.stop() == 0


def test_the_start_fails_with_a_hint_if_the_tracing_extra_is_missing(tmp_path: Path) -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; from luna_image_store.cli import main; main(['serve'])"
    environment = Service(tmp_path, TRACING__ENABLED=True).environment
    result = subprocess.run((BIN / "python", "-c", code), env=environment, capture_output=True, text=True, timeout=30)
    assert result.returncode != 0
    assert "TRACING.ENABLED: install luna-image-store[tracing]" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
