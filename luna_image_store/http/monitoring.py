"""Middleware that reports the start and the end of each request to observers."""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import falcon

from luna_image_store.http.middleware import allowed_methods_of, body_length
from luna_image_store.logs import request_id
from luna_image_store.monitoring.samples import Observer, RequestSample

METRICS_PATH = "/metrics"
UNKNOWN = "unknown"  # one label for all unknown paths, so that clients cannot create labels


class CountingBody:
    """The body of a request. It counts the bytes that are read, and holds the start time of the request."""

    def __init__(self, body: Any) -> None:
        self.started_at, self.perf_start = time.time_ns(), time.perf_counter()
        self.received = 0
        self._body = body

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        data: bytes = self._body.read(size)
        self.received += len(data)
        return data


class Monitoring:
    """Reports each request to the observers, except requests for the metrics."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Record the start time of the request."""
        if req.path == METRICS_PATH:
            return
        req.context.counting_body = req.stream = req.env["wsgi.input"] = CountingBody(req.env["wsgi.input"])
        for observer in self._observers:
            observer.started()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        """Report the result of the request."""
        body: CountingBody | None = getattr(req.context, "counting_body", None)
        if body is None:
            return
        seconds, status = time.perf_counter() - body.perf_start, resp.status_code
        is_known = resource is not None and req.method in allowed_methods_of(resource)
        finished = RequestSample(
            path_of(req.method, req.uri_template or "") if is_known else UNKNOWN,
            status,
            error_code(resp) if status >= 400 else None,
            request_id.get(),
            body.started_at,
            seconds,
            body.received,
            body_length(req, resp),
        )
        for observer in self._observers:
            observer.finished(finished)


def error_code(resp: falcon.Response) -> int | None:
    """Return the error code of a response, or None if the response has no error code."""
    return resp.media.get("error_code") if isinstance(resp.media, dict) else None


@cache
def path_of(method: str, template: str) -> str:
    """Return the label of a route: method and path template without the version."""
    return f"{method}:{template.removeprefix('/1') if template.startswith('/1/') else template}"
