"""The workers of gunicorn: each request comes on a connection of its own, and no client can hold a worker or a thread for long.

gunicorn's own workers wait for a silent client without end, and take a long transfer for a hang. Here a client has a budget of
time that grows with the bytes it moves, a transfer tells the arbiter that the worker is alive, and what gunicorn refuses before
the application sees it is answered in the form of the interface.
"""

import errno
import json
import logging
import mmap
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO, TypeVar

from gunicorn.http import get_parser
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker
from gunicorn.workers.sync import SyncWorker

from luna_image_store.errors import InternalError, InvalidRequest, ServiceError
from luna_image_store.logs import request_id
from luna_image_store.middleware import HEADER, new_request_id
from luna_image_store.phase import Phase

RATE = 10_000  # bytes per second that a client must move in the long run
STEP = 256 * 1024  # bytes sent at once; at RATE it takes less than the least sensible timeout
LINGER_SECONDS, LINGER_SILENCE = 10.0, 2.0
ACCEPT_SECONDS = 5  # that the kernel holds a connection without data
FIRST_BYTE_SECONDS = 1  # that a worker waits for the first data of such a one
SIGN_SECONDS = 1  # between two signs of life during a transfer
LOOK_UP = 1.0  # seconds
QUEUE_SECONDS = 5.0  # for which a worker empties the queue of a socket that is closed
MARGIN = 5  # seconds by which a client is given up before the arbiter gives up the worker

Moved = TypeVar("Moved", bytes, int)

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
        self._told = 0.0
        self.has_spoken = False
        self._limit(socket.SO_RCVTIMEO, FIRST_BYTE_SECONDS)
        self._limit(socket.SO_SNDTIMEO, patience)
        self.fileno, self.settimeout, self.shutdown = client.fileno, client.settimeout, client.shutdown

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it waits, for as long as its budget lasts; and gunicorn asks even when it is closed."""

    def recv(self, size: int) -> bytes:
        """Receive some bytes."""
        data = self._wait(lambda: self._client.recv(size), len)
        if not self.has_spoken:
            self.has_spoken = True
            self._limit(socket.SO_RCVTIMEO, self._patience)
        return data

    def send(self, data: bytes | memoryview) -> int:
        """Send some bytes."""
        return self._wait(lambda: self._client.send(data), int)

    def sendall(self, data: bytes) -> None:
        """Send all bytes."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest[:STEP]) :]

    def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset`, without reading them."""
        end = offset + count
        while offset < end:
            send = partial(os.sendfile, self._client.fileno(), file.fileno(), offset, min(end - offset, STEP))
            if not (sent := self._wait(send, int)):
                raise ConnectionAbortedError(errno.ECONNABORTED, "the file ends before its slice")
            offset += sent

    def linger(self) -> None:
        """Drain what the client still sends, so that it reads the answer; closing at once would reset the connection."""
        until = time.monotonic() + LINGER_SECONDS
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)
            self._client.settimeout(LINGER_SILENCE)
            while self._client.recv(STEP) and time.monotonic() < until:
                self._alive()

    def close(self) -> None:
        """Close the socket."""
        self._client.close()

    def _limit(self, direction: int, seconds: float) -> None:
        """Let the kernel end a wait of this direction."""
        self._client.setsockopt(socket.SOL_SOCKET, direction, struct.pack("ll", int(seconds), 0))

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
            self._budget = self._patience  # for the answer that tells it so
            logger.info("a client was too slow and is given up")
            raise ConnectionResetError(errno.ECONNRESET, "the client is too slow")
        if now - self._told > SIGN_SECONDS:
            self._told = now
            self._alive()
        return moved


class Serving:
    """What both workers share: serving one connection from its first byte to its end, and its own beginning and end."""

    app: Any
    cfg: Any
    sockets: list[Any]
    is_leaving = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._up = mmap.mmap(-1, 1)  # the master sees it too

    @property
    def is_up(self) -> bool:
        """Tell whether the worker takes requests."""
        return bool(self._up[0])

    def init_signals(self) -> None:
        """Take the signals that came before they could be heeded."""
        super().init_signals()  # type: ignore[misc]  # of the worker that this is mixed into
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def begin(self) -> None:
        """Let the kernel hold connections until they bring data: browsers open some in advance."""
        for listener in self.sockets:
            if listener.family in (socket.AF_INET, socket.AF_INET6):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, ACCEPT_SECONDS)
        self._up[0] = 1
        os.kill(os.getppid(), signal.SIGCHLD)  # the master looks after its workers then

    def closing(self) -> Iterator[Any]:
        """Give each listener that a connection waits at, if nobody else will ever take it."""
        phase, until = getattr(self.app, "phase", None), time.monotonic() + QUEUE_SECONDS
        while phase and phase.get() is Phase.CLOSING and time.monotonic() < until:
            ready, _, _ = select.select(self.sockets, (), (), 0)
            if not ready:
                return
            yield from ready

    @property
    def patience(self) -> float:
        """Give the seconds that a client may keep the service waiting."""
        return float(self.cfg.timeout - MARGIN)

    def serve(self, connection: Connection, addr: Any, respond: Callable[[Any], object]) -> None:
        """Read a request, hand it to `respond`, close the connection. Nothing that a client sends gets out of here."""
        req = None
        try:
            req = next(get_parser(self.cfg, connection, addr))
            req.force_close()
            respond(req)
        except (StopIteration, NoMoreData, ConnectionError) as ex:
            logger.debug("the client is gone: %r", ex)
        except Exception as ex:
            self.handle_error(req, connection, addr, ex)
        finally:
            if connection.has_spoken and (req is None or _has_unread_body(req)):
                connection.linger()
            connection.close()
            request_id.set("-")

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer, in the form of the interface, what did not reach the application, or what it could not answer."""
        request_id.set(new_request_id())
        error: ServiceError
        if isinstance(exc, ParseException):
            error = InvalidRequest(str(exc).encode("ascii", "backslashreplace").decode())
            logger.warning("refused before it reached the application: %r", exc)
        else:
            error = InternalError()
            logger.error("ended by a fault of the server", exc_info=exc)
        body = json.dumps(error.body())
        head = (
            f"HTTP/1.1 {error.row.status} {HTTPStatus(error.row.status).phrase}",
            "Connection: close",
            f"{HEADER}: {request_id.get()}",
        )
        lines = (*head, "Content-Type: application/json", f"Content-Length: {len(body)}", "", body)
        with suppress(OSError):
            client.sendall("\r\n".join(lines).encode())


class ThreadedWorker(Serving, ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves several requests at once, each in a thread, for a storage that keeps them waiting."""

    def run(self) -> None:
        """Serve until told to stop."""
        self.begin()
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take connections or not; the last thing that a worker does is to stop taking them."""
        if not self.alive:
            for listener in self.closing():
                self.accept(listener)
        super().set_accept_enabled(enabled)

    def handle(self, conn: TConn) -> object:
        """Serve one connection in a thread; until it has spoken it waits in none, unless the worker stops."""
        if not conn.wait_for_data(0 if self.alive else FIRST_BYTE_SECONDS):
            return self.alive and _DEFER
        conn.sock.setblocking(True)
        conn.sock = Connection(conn.sock, lambda: None, self.patience)  # it is the main thread that tells of life
        self.serve(conn.sock, conn.client, lambda req: self.handle_request(req, conn))
        return False

    def finish_request(self, conn: TConn, future: Any) -> None:
        """Go on with a connection that has not spoken: also when the worker was told to stop since, or its request were lost."""
        if not self.alive and not future.exception() and future.result() is _DEFER:
            self.enqueue_req(conn)
        else:
            super().finish_request(conn, future)


class SequentialWorker(Serving, SyncWorker):  # type: ignore[misc]
    """Serves one request after the other."""

    def run(self) -> None:
        """Serve until told to stop."""
        self.timeout = LOOK_UP  # gunicorn would wait for a connection as long as for a hung worker, and its parent may be gone
        self.begin()
        super().run()
        for listener in self.closing():
            with suppress(BlockingIOError, ConnectionAbortedError):  # another worker has taken it, or it is gone
                self.accept(listener)

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:
        """Serve one connection."""
        connection = Connection(client, self.notify, self.patience)
        self.serve(connection, addr, lambda req: self.handle_request(listener, req, connection, addr))


def _has_unread_body(req: Any) -> bool:
    """Tell whether a body was left unread, in whole or in part: only then may the client still be sending."""
    reader = req.body.reader
    return bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))
