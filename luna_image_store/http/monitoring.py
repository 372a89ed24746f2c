"""Watching requests: when each starts, and what became of it."""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import falcon

from luna_image_store.http.middleware import allowed_methods_of, body_length
from luna_image_store.logs import request_id
from luna_image_store.monitoring.samples import Observer, RequestSample

METRICS_PATH = "/metrics"
UNKNOWN = "unknown"  # one path for all that there are not, whatever clients think of


class CountedBody:
    """A request that is watched, and its body: it counts the bytes that are read."""

    def __init__(self, body: Any) -> None:
        self.started_at, self.began = time.time_ns(), time.perf_counter()
        self.received = 0
        self._body = body

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from the body."""
        data: bytes = self._body.read(size)
        self.received += len(data)
        return data


class Monitoring:
    """Tells observers of every request but those for metrics, which would show themselves."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Note when the request came."""
        if req.path == METRICS_PATH:
            return
        req.context.watched = req.stream = req.env["wsgi.input"] = CountedBody(req.env["wsgi.input"])
        for observer in self._observers:
            observer.started()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        """Tell what became of it."""
        watched: CountedBody | None = getattr(req.context, "watched", None)
        if watched is None:
            return
        seconds, status = time.perf_counter() - watched.began, resp.status_code
        is_known = resource is not None and req.method in allowed_methods_of(resource)
        finished = RequestSample(
            path_of(req.method, req.uri_template or "") if is_known else UNKNOWN,
            status,
            error_code(resp) if status >= 400 else None,
            request_id.get(),
            watched.started_at,
            seconds,
            watched.received,
            body_length(req, resp),
        )
        for observer in self._observers:
            observer.finished(finished)


def error_code(resp: falcon.Response) -> int | None:
    """Read the code of the error that an answer tells of; None where it tells of none."""
    return resp.media.get("error_code") if isinstance(resp.media, dict) else None


@cache
def path_of(method: str, template: str) -> str:
    """Name a method of a route, without the version that all have."""
    return f"{method}:{template.removeprefix('/1') if template.startswith('/1/') else template}"
