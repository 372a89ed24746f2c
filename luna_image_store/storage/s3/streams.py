"""The bodies that S3 sends: read whole and at once, or bit by bit while they are sent on."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Protocol

from luna_image_store.storage.base import CHUNK_SIZE, Payload
from luna_image_store.storage.s3.errors import Answer, s3_errors

AHEAD = 64 * 1024  # read of a large payload before its answer begins
DRAIN = 128 * 1024  # reading on costs less than a new connection up to here
CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


class Stream(Protocol):
    """Where a body comes from."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes."""

    def close(self) -> None:
        """End the transfer."""


class Body:
    """A body of known length, which never ends quietly before it has given all of it."""

    def __init__(self, stream: Stream, length: int, bucket: str = "") -> None:
        self._stream = stream
        self._left = length
        self._bucket = bucket
        self._is_sound = True

    def read(self, size: int) -> bytes:
        """Read `size` bytes; fewer only at the end."""
        wanted = min(size, self._left)
        self._is_sound = False
        with s3_errors("read", "get_object", self._bucket):
            data = self._stream.read(wanted) if wanted else b""
            if len(data) < wanted:
                raise EOFError(f"the body is {self._left - len(data)} bytes too short")
        self._is_sound = True
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Give the connection back where little is left to read; break it off where it is much."""
        if self._is_sound and 0 < self._left <= DRAIN:
            with suppress(Exception):  # nobody waits for it
                self._stream.read(self._left)
        self._stream.close()


class StreamPayload(Payload):
    """A large payload on its way from S3. What breaks off before its first bytes is still an error of the interface."""

    def __init__(self, body: Body, length: int, reopen: Callable[[int, int], Body]) -> None:
        """Take over a body that begins with the payload. `reopen` gives the body of a part, by its start and length."""
        self._body: Body | None = body
        self.length = self._left = length
        self._position = 0
        self._reopen = reopen
        self._ahead = body.read(min(AHEAD, length))

    def set_range(self, start: int, length: int) -> None:
        """Narrow the payload, by another request if it begins elsewhere."""
        if self._body is None or start != self._position:
            self.close()
            self._body = self._reopen(start, length)
            self._position, self._ahead = start, self._body.read(min(AHEAD, length))
        self.length = self._left = length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read what S3 sends."""
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        if self._body is None or not wanted:
            return b""
        data, self._ahead = self._ahead[:wanted], self._ahead[wanted:]
        if len(data) < wanted:
            data += self._body.read(wanted - len(data))
        self._position += wanted
        self._left -= wanted
        if not self._left:
            self.close()
        return data

    def close(self) -> None:
        """Give the connection back, once."""
        body, self._body, self._left = self._body, None, 0
        if body:
            body.close()

    __del__ = close  # a HEAD or a broken connection may drop it unread


def body_of(answer: Answer, bucket: str) -> Body:
    """Take the body of an answer."""
    return Body(answer["Body"], answer["ContentLength"], bucket)


def chunks_of(body: Body) -> Iterator[bytes]:
    """Read a body to its end, and give its connection back."""
    with closing(body):
        while chunk := body.read(CHUNK_SIZE):
            yield chunk


def part_of(answer: Answer, bucket: str, start: int, length: int) -> Body:
    """Take the part that was asked for; a server that sends another one must not be believed."""
    body = body_of(answer, bucket)
    with s3_errors("read", "get_object", bucket):
        if answer["ContentLength"] != length or (found := _range(answer)) is None or found[0] != start:
            body.close()
            raise EOFError("S3 sent another range than the requested one")
    return body


def tail_of(answer: Answer, bucket: str, length: int) -> tuple[bytes, int]:
    """Read the last bytes of an object that were asked for, or all where it has fewer, and its length."""
    body = body_of(answer, bucket)
    found = _range(answer)
    total = found[1] if found else answer["ContentLength"]  # some servers send the whole of a short object as such
    with s3_errors("read", "get_object", bucket):
        if answer["ContentLength"] != min(length, total):
            body.close()
            raise EOFError("S3 sent another range than the requested one")
    return body.read(length), total


def _range(answer: Answer) -> tuple[int, int] | None:
    """Read where the part begins, and how long the object is."""
    found = CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
    return (int(found[1]), int(found[2])) if found else None
