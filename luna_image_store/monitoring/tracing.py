"""Traces of requests and of calls to S3, by OpenTelemetry. Its variables OTEL_* set the destination."""

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
EXCEPTION_KEY = "opentelemetry-falcon.exc"  # of the WSGI environment: the exception that the instrumentation saw


def start() -> None:
    """Start tracing. Call this after the fork, because a thread sends the spans, and before the app and the S3 client exist."""
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FalconInstrumentor().instrument()
    BotocoreInstrumentor().instrument()


class TracedRequests:
    """Middleware that completes the span of a request."""

    def process_response(self, req: Any, resp: Any, resource: object, req_succeeded: bool) -> None:
        """Set the request id of the span. Remove the exception: the instrumentation, which runs next, then records the status."""
        trace.get_current_span().set_attribute("luna.request_id", request_id.get())
        req.env.pop(EXCEPTION_KEY, None)  # otherwise the span of every error would have status 500
        resp.status = f"{resp.status_code} {HTTPStatus(resp.status_code).phrase}"  # the instrumentation does not accept a number
