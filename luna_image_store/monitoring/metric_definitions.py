"""The definitions of the metrics on `/metrics`. The table in the manual is generated from them too."""

from dataclasses import dataclass
from typing import Literal

REQUEST_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)
STEP_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of Prometheus. A histogram has the series `name_bucket`, `name_sum` and `name_count`."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


REQUESTS = Series("counter", "request_count_total", "Requests that were answered.", ("path", "status_code"))
ERRORS = Series("counter", "errors_count_total", "Requests that were answered with an error.", ("path", "error_code"))
DURATIONS = Series(
    "histogram",
    "requests",
    "Seconds from the receipt of the request headers to the response.",
    ("path", "status_code"),
    REQUEST_SECONDS,
)
IN_FLIGHT = Series("gauge", "luna_image_store_requests_in_flight", "Requests in progress.")
THREADS = Series("gauge", "luna_image_store_threads", "Requests that the running workers can serve at the same time.")
RECEIVED = Series(
    "counter", "luna_image_store_received_bytes_total", "Bytes of request bodies that were read from clients.", ("path",)
)
SENT = Series("counter", "luna_image_store_sent_bytes_total", "Bytes of response bodies.", ("path",))
STORAGE = Series(
    "histogram",
    "luna_image_store_storage_seconds",
    "Seconds that storage operations took. A save of a streamed body includes the wait for the client.",
    ("backend", "operation"),
    STEP_SECONDS,
)
STORAGE_ERRORS = Series(
    "counter",
    "luna_image_store_storage_errors_total",
    "Storage operations that failed because of the storage. Requests for missing records and refused requests do not count.",
    ("backend", "operation", "error_code"),
)
RENDERER = Series(
    "histogram", "luna_image_store_codec_seconds", "Seconds that it took to render an image.", ("operation",), STEP_SECONDS
)
DROPPED = Series("counter", "luna_image_store_influx_dropped_points_total", "Points that were discarded and not sent to InfluxDB.")

ALL = (REQUESTS, ERRORS, DURATIONS, IN_FLIGHT, THREADS, RECEIVED, SENT, STORAGE, STORAGE_ERRORS, RENDERER, DROPPED)
