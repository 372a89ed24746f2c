"""The data of a request for monitoring, and the interface of its observers."""

from typing import NamedTuple, Protocol


class RequestSample(NamedTuple):
    """A completed request. `started` is in nanoseconds since 1970. `path` is a label such as `POST:/buckets/{bucket}/images`."""

    path: str
    status: int
    error_code: int | None
    request_id: str
    started: int
    seconds: float
    received: int
    sent: int


class Observer(Protocol):
    """Receives each request. Its methods must not block."""

    def started(self) -> None:
        """Record the start of a request."""

    def finished(self, request: RequestSample) -> None:
        """Record a completed request."""
