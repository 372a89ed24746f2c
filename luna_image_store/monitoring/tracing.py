"""Traces of requests and of calls to S3, made by OpenTelemetry. Its own variables OTEL_* say where they go."""

from http import HTTPStatus
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.instrumentation.falcon import FalconInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from luna_image_store.logs import request_id

SERVICE = "luna-image-store"
HANDLED = "opentelemetry-falcon.exc"  # where the instrumentation notes an exception


def start() -> None:
    """Begin to trace: after the fork, since spans are sent by a thread, and before there are an application and a client for S3."""
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FalconInstrumentor().instrument()
    BotocoreInstrumentor().instrument()


class TracedRequests:
    """Completes the span of a request."""

    def process_response(self, req: Any, resp: Any, resource: object, req_succeeded: bool) -> None:
        """Name the request; and let the instrumentation, which comes next, see what the answer is, not what was raised."""
        trace.get_current_span().set_attribute("luna.request_id", request_id.get())
        req.env.pop(HANDLED, None)  # else the span of every error would say 500
        resp.status = f"{resp.status_code} {HTTPStatus(resp.status_code).phrase}"  # it can't read a number
