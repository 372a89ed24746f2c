"""What monitoring gets to know of a request."""

from typing import NamedTuple, Protocol


class RequestSample(NamedTuple):
    """A request that has its answer. `started` is in nanoseconds since 1970; `path` is such as `POST:/buckets/{bucket}/images`."""

    path: str
    status: int
    error_code: int | None
    request_id: str
    started: int
    seconds: float
    received: int
    sent: int


class Observer(Protocol):
    """What is told of requests, and must be quick about it."""

    def started(self) -> None:
        """Hear that a request begins."""

    def finished(self, request: RequestSample) -> None:
        """Hear of a request that ended."""
