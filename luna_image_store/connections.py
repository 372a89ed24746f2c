"""Connections of clients, none of which can hold a worker or a thread for long.

gunicorn waits for a silent client without end, and takes a long transfer for a hang. Here a client is heard out before anybody
works for it: its request is taken as it comes, up to a size. For what is larger it has a budget of time that grows with the bytes
it moves, and a transfer tells that the worker is alive.
"""

import errno
import logging
import os
import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO, TypeVar

from gunicorn.http import Request, RequestParser
from gunicorn.http.errors import InvalidRequestLine

RATE = 10_000  # bytes per second that a client must move in the long run
STEP = 256 * 1024  # bytes sent at once; at RATE it takes less than the least sensible timeout
LINGER_SECONDS, LINGER_SILENCE = 10.0, 2.0
LAST_WORD_SECONDS = 1.0  # that a client may take to read that it was given up
SILENT_SECONDS = 2.0  # that a new connection is kept on which nothing comes
MOST_HEARD = 256 * 1024  # bytes of a request that are taken before it is served: nearly all pictures of faces
MOST_OF_A_HEAD = 64 * 1024  # bytes without the end of a head, after which the parser shall say what it thinks of it
NO_REQUEST = 1  # in place of its bytes, where what has come can't begin one; a request has more
MOST_TOLD = 20  # bytes of what is no request
LINE_END, HEAD_END = b"\r\n", b"\r\n\r\n"

Moved = TypeVar("Moved", bytes, int)

find_length = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE).search
begins_as_none = re.compile(rb"[\r\n]*[^\r\n!#$%&'*+.^_`|~\w-]").match  # no method, but TLS, or the rest of a body
needs_an_answer = re.compile(rb"\r\n(?:expect|transfer-encoding):", re.IGNORECASE).search  # before its length is known

logger = logging.getLogger(__name__)


class Connection:
    """A client's socket with a budget of time; it has what gunicorn uses of a socket.

    Only the time that is spent waiting for the client counts: what the service itself takes is not its fault.
    """

    def __init__(self, client: socket.socket, alive: Callable[[], None], patience: float) -> None:
        self._client = client
        self._alive = alive
        self._patience = patience
        self._budget = patience
        self._heard = bytearray()
        self._wanted = 0  # bytes that make a whole request; 0 until its head has come
        self._until = time.monotonic() + SILENT_SECONDS
        self._held = b""
        self._is_answering = False  # some of an answer has left
        self._ends: float | None = None  # when a connection that lingers is closed at the latest
        self.is_given_up = False
        self._limit(socket.SO_RCVTIMEO, patience)
        self._limit(socket.SO_SNDTIMEO, patience)
        self.fileno, self.settimeout, self.shutdown = client.fileno, client.settimeout, client.shutdown

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it waits, for as long as its budget lasts; and gunicorn asks even when it is closed."""

    def hear(self) -> bool:
        """Take what has come, and tell whether that is a request to be served, or the end."""
        try:
            data = self._client.recv(MOST_HEARD - len(self._heard), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if self.is_lingering:
            self._until = time.monotonic() + LINGER_SILENCE
            return not data
        known = len(self._heard)
        self._heard += data
        if not known:
            self._wanted = 0
        self._find_end(known)
        if self._heard and not known:
            self._until = time.monotonic() + self._patience
        return not data or self.has_request

    def hear_again(self, data: bytes) -> None:
        """Take back what came with a request but is not of it."""
        self._heard[:0] = data
        self._budget = self._patience
        self._is_answering = False
        self._until, self._wanted = time.monotonic() + self._patience, 0
        self._find_end(0)

    def _find_end(self, known: int) -> None:
        """Find out how many bytes are to be awaited. In the first `known` ones no head ends."""
        if self._wanted:
            return
        while self._heard.startswith(LINE_END):  # some clients end a body with a line break of their own
            del self._heard[: len(LINE_END)]
        if (end := self._heard.find(HEAD_END, max(0, known - len(HEAD_END)))) >= 0:
            self._wanted = _length(bytes(self._heard[: end + len(HEAD_END)]))
        elif begins_as_none(self._heard):
            self._wanted = NO_REQUEST

    @property
    def has_request(self) -> bool:
        """Tell whether a request has come, or as much of it as is taken beforehand."""
        return bool(self._heard) and len(self._heard) >= min(self._wanted or MOST_OF_A_HEAD, MOST_HEARD)

    @property
    def until(self) -> float:
        """Give the monotonic time until which the rest of the request must come, or the end."""
        return min(self._until, self._ends) if self._ends else self._until + len(self._heard) / RATE

    def give_up(self) -> bool:
        """Wait no longer for the rest of a request; tell whether some of it has come, and wants an answer."""
        self.is_given_up = True
        self._limit(socket.SO_RCVTIMEO, 0)
        return bool(self._heard)

    def recv(self, size: int) -> bytes:
        """Give some of the bytes that have come, or wait for some; raise InvalidRequestLine where they can't become a request."""
        if self._wanted == NO_REQUEST:
            raise InvalidRequestLine(bytes(self._heard[:MOST_TOLD]))
        if self._heard:
            data = bytes(self._heard[:size])
            del self._heard[:size]
            return data
        return self._wait(lambda: self._client.recv(size), len)

    def send(self, data: bytes | memoryview) -> int:
        """Send some bytes."""
        return self._wait(lambda: self._client.send(data), int)

    def sendall(self, data: bytes) -> None:
        """Send all bytes, together with those that come right after them: head and body of an answer leave at once."""
        if len(self._held) + len(data) > STEP:
            self.flush()
            self._send_all(data)
        else:
            self._held += data

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, b""
        self._send_all(held)

    def can_be_answered(self) -> bool:
        """Take back what is held; tell whether nothing of an answer has left, so that there may be another one."""
        self._held = b""
        return not self._is_answering

    def _send_all(self, data: bytes) -> None:
        self._is_answering = self._is_answering or bool(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest[:STEP]) :]

    def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset`, without reading them."""
        self.flush()
        end = offset + count
        while offset < end:
            send = partial(os.sendfile, self._client.fileno(), file.fileno(), offset, min(end - offset, STEP))
            if not (sent := self._wait(send, int)):
                raise ConnectionAbortedError(errno.ECONNABORTED, "the file ends before its slice")
            offset += sent

    def linger(self) -> None:
        """Send no more. What the client still sends is to be heard to its end, so that it reads the answer: see `hear`."""
        now = time.monotonic()
        self._until, self._ends = now + LINGER_SILENCE, now + LINGER_SECONDS
        self._heard.clear()  # nobody wants it, and room makes the rest come in larger pieces
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)

    @property
    def is_lingering(self) -> bool:
        """Tell whether nothing more is to be said."""
        return self._ends is not None

    @property
    def is_awaited(self) -> bool:
        """Tell whether something is still to come: the rest of a request, or the end."""
        return self.is_lingering or bool(self._heard)

    def has_more(self) -> bool:
        """Tell whether bytes wait in the kernel; to close then would reset the connection, and take the answer back."""
        with suppress(OSError):
            return bool(self._client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False

    def close(self) -> None:
        """Close the socket."""
        self._heard.clear()
        self._client.close()

    def _limit(self, direction: int, seconds: float) -> None:
        """Let the kernel end a wait of this direction; at once is after a microsecond."""
        self._client.setsockopt(socket.SOL_SOCKET, direction, struct.pack("ll", int(seconds), 0 if seconds else 1))

    def _wait(self, move: Callable[[], Moved], count: Callable[[Moved], int]) -> Moved:
        """Move bytes, and take the time off the budget that the client was waited for."""
        started = time.monotonic()
        try:
            moved = move()
        except BlockingIOError:  # it was silent for all of its patience
            moved = None
        now = time.monotonic()
        gained = count(moved) / RATE if moved is not None else 0
        self._budget = min(self._budget - (now - started) + gained, self._patience)
        if moved is None or self._budget < 0:
            self._budget = self._patience  # for the answer that tells it so, if it reads
            self._limit(socket.SO_SNDTIMEO, LAST_WORD_SECONDS)
            logger.info("a client was too slow and is given up")
            raise ConnectionResetError(errno.ECONNRESET, "the client is too slow")
        self._alive()
        return moved


def _length(head: bytes) -> int:
    """Count the bytes of head and body that are worth waiting for."""
    found = None if needs_an_answer(head) else find_length(head)
    return len(head) + (int(found[1]) if found else 0)


class CarefulRequest(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request that is the last one of its connection if its body was not wanted: where the next would begin is unknown."""

    def should_close(self) -> bool:
        """Tell whether the connection ends with this request."""
        says_so = any(name == "CONNECTION" and "close" in value.lower() for name, value in self.headers)
        return says_so or bool(super().should_close()) or self.has_unread_body()

    def has_unread_body(self) -> bool:
        """Tell whether a body was left unread, in whole or in part: then the client may still be sending."""
        reader = self.body.reader
        return bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))


class Parser(RequestParser):  # type: ignore[misc]
    """Reads the requests of a connection."""

    mesg_class = CarefulRequest
