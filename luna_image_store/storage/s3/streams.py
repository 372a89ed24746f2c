"""Bodies of S3 responses: read at once, or streamed to the client."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Protocol

from luna_image_store.storage.base import CHUNK_SIZE, Payload
from luna_image_store.storage.s3.errors import S3Response, s3_errors

READ_AHEAD = 64 * 1024  # bytes of a large payload that are read before the response starts
MAX_DRAIN = 128 * 1024  # bytes; reading up to this many costs less than a new connection
CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


class Stream(Protocol):
    """The source of a body."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes."""

    def close(self) -> None:
        """Close the stream."""


class Body:
    """A body of known length. It raises StorageUnavailable if it ends early."""

    def __init__(self, stream: Stream, length: int, bucket: str = "") -> None:
        self._stream = stream
        self._left = length
        self._bucket = bucket
        self._is_intact = True

    def read(self, size: int) -> bytes:
        """Read `size` bytes. Return fewer only at the end."""
        count = min(size, self._left)
        self._is_intact = False
        with s3_errors("read", "get_object", self._bucket):
            data = self._stream.read(count) if count else b""
            if len(data) < count:
                raise EOFError(f"the body is {self._left - len(data)} bytes too short")
        self._is_intact = True
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Read a short rest, so that the connection can be used again. Close the connection if the rest is long."""
        if self._is_intact and 0 < self._left <= MAX_DRAIN:
            with suppress(Exception):  # the caller does not need the rest
                self._stream.read(self._left)
        self._stream.close()


class StreamPayload(Payload):
    """A large payload, streamed from S3. If the first bytes cannot be read, the client gets an error response."""

    def __init__(self, body: Body, length: int, reopen: Callable[[int, int], Body]) -> None:
        """Take ownership of a body that begins with the payload. `reopen(start, length)` returns the body of a range."""
        self._body: Body | None = body
        self.length = self._left = length
        self._position = 0
        self._reopen = reopen
        self._buffer = body.read(min(READ_AHEAD, length))

    def set_range(self, start: int, length: int) -> None:
        """Limit the payload. Send another request if the range starts at another position."""
        if self._body is None or start != self._position:
            self.close()
            self._body = self._reopen(start, length)
            self._position, self._buffer = start, self._body.read(min(READ_AHEAD, length))
        self.length = self._left = length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from S3."""
        count = self._left if size is None or size < 0 else min(size, self._left)
        if self._body is None or not count:
            return b""
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        if len(data) < count:
            data += self._body.read(count - len(data))
        self._position += count
        self._left -= count
        if not self._left:
            self.close()
        return data

    def close(self) -> None:
        """Close the body, unless it is closed."""
        body, self._body, self._left = self._body, None, 0
        if body:
            body.close()

    __del__ = close  # after HEAD or a lost connection, nothing else closes it


def body_of(response: S3Response, bucket: str) -> Body:
    """Return the body of a response."""
    return Body(response["Body"], response["ContentLength"], bucket)


def chunks_of(body: Body) -> Iterator[bytes]:
    """Yield a body in chunks, and close it."""
    with closing(body):
        while chunk := body.read(CHUNK_SIZE):
            yield chunk


def range_of(response: S3Response, bucket: str, start: int, length: int) -> Body:
    """Return the body of a range. Raise StorageUnavailable if the server sent another range."""
    body = body_of(response, bucket)
    with s3_errors("read", "get_object", bucket):
        if response["ContentLength"] != length or (found := _range(response)) is None or found[0] != start:
            body.close()
            raise EOFError("S3 sent another range than the requested one")
    return body


def tail_of(response: S3Response, bucket: str, length: int) -> tuple[bytes, int]:
    """Return the last `length` bytes of an object, or all if it has fewer, and the length of the object."""
    body = body_of(response, bucket)
    found = _range(response)
    total = found[1] if found else response["ContentLength"]  # some servers send a short object without a range
    with s3_errors("read", "get_object", bucket):
        if response["ContentLength"] != min(length, total):
            body.close()
            raise EOFError("S3 sent another range than the requested one")
    return body.read(length), total


def _range(response: S3Response) -> tuple[int, int] | None:
    """Return the start of the range and the length of the object."""
    found = CONTENT_RANGE.fullmatch(response.get("ContentRange", ""))
    return (int(found[1]), int(found[2])) if found else None
