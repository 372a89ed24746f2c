"""The workers of gunicorn: they wait for all their connections at once, and serve one request after the other on each.

What gunicorn refuses before the application sees it is answered in the form of the interface.
"""

import json
import logging
import mmap
import os
import select
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from luna_image_store.connections import Connection, Parser
from luna_image_store.errors import InternalError, InvalidRequest, ServiceError
from luna_image_store.http.middleware import HEADER, new_request_id
from luna_image_store.logs import request_id
from luna_image_store.phase import Phase

ACCEPT_SECONDS = 5  # that the kernel holds a connection without data
MOST_REQUESTS = 1000  # on one connection: then it is closed, and the next one may go to a worker that has less to do
MOST_CONNECTIONS = 500  # of one worker; a process may have 1024 files open, if nobody raised that
SIGN_SECONDS = 1  # between two signs of life
PAUSE = 0.1  # seconds, before a connection that could not be taken is tried again
QUEUE_SECONDS = 5.0  # for which a worker empties the queue of a socket that is closed
MARGIN = 5  # seconds by which a client is given up before the arbiter gives up the worker

logger = logging.getLogger(__name__)


class ThreadedWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves several requests at once, each in a thread, for a storage that keeps them waiting."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._up = mmap.mmap(-1, 1)  # the master sees it too
        self._told = 0.0
        self._in_turn: list[TConn] = []  # those whose next request has come already

    @property
    def is_up(self) -> bool:
        """Tell whether the worker takes requests."""
        return bool(self._up[0])

    @property
    def patience(self) -> float:
        """Give the seconds that a client may keep the service waiting."""
        return float(self.cfg.timeout - MARGIN)

    def init_signals(self) -> None:
        """Take the signals that came before they could be heeded."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def notify(self) -> None:
        """Tell the arbiter that the worker is alive, no more often than it looks."""
        if (now := time.monotonic()) - self._told > SIGN_SECONDS:
            self._told = now
            super().notify()

    def run(self) -> None:
        """Serve until told to stop. The kernel holds connections until they bring data: browsers open some in advance."""
        for listener in self.sockets:
            if listener.family in (socket.AF_INET, socket.AF_INET6):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, ACCEPT_SECONDS)
        # gunicorn looks its options up twenty times a request; as attributes they are found in no time
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self._up[0] = 1
        os.kill(os.getppid(), signal.SIGCHLD)  # the master looks after its workers then
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take connections or not. When a worker ends, and nobody else will ever take any, clients are turned away from then on."""
        if enabled or self.alive:
            super().set_accept_enabled(enabled)
            return
        for listener in self._closing():
            self.accept(listener)
        super().set_accept_enabled(False)
        if self._phase() is Phase.CLOSING:
            for listener in self.sockets:
                listener.close()

    def _closing(self) -> Iterator[Any]:
        """Give each listener that a connection waits at, if nobody else will ever take it."""
        until = time.monotonic() + QUEUE_SECONDS
        while self._phase() is Phase.CLOSING and time.monotonic() < until:
            ready, _, _ = select.select(self.sockets, (), (), 0)
            if not ready:
                return
            yield from ready

    def _phase(self) -> Phase:
        phase = getattr(self.app, "phase", None)  # gunicorn's own application has none
        return phase.get() if phase else Phase.SERVING

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, unless another worker has taken it, or it is gone; where there is no room for it, it waits."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as ex:
            logger.error("a connection can't be taken: %s", ex)
            time.sleep(PAUSE)
            return
        self.nr_conns += 1
        connection = Connection(client, self.tell_of_life, self.patience)
        conn = TConn(self.cfg, connection, address, listener.getsockname())
        conn.parser = Parser(self.cfg, connection, address)
        self.enqueue_req(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Serve what has come: from each connection one request, so that none is served all the time."""
        super().wait_for_and_dispatch_events(0 if self._in_turn else timeout)
        in_turn, self._in_turn = self._in_turn, []
        for conn in in_turn:
            self.start_serving(conn)

    def enqueue_req(self, conn: TConn) -> None:
        """Serve a connection whose request has come; wait for the rest of one that has not."""
        if not conn.sock.hear():
            self._wait_for(conn)
        elif conn.sock.is_lingering:
            self._end(conn)
        else:
            self.start_serving(conn)

    def on_client_socket_readable(self, conn: TConn, client: Connection) -> None:
        """Serve a connection that was kept. It stays where it is if only a line break came."""
        if client.hear():
            self.serve_kept(conn)
        elif client.is_awaited:
            self._take_out(conn)
            self._wait_for(conn)

    def serve_kept(self, conn: TConn) -> None:
        """Serve a connection that was kept."""
        self._take_out(conn)
        self.start_serving(conn)

    def _take_out(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.keepalived_conns.remove(conn)

    def _wait_for(self, conn: TConn) -> None:
        conn.timeout = conn.sock.until
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _end(self, conn: TConn) -> None:
        conn.sock.close()
        self.nr_conns -= 1

    def finish_request(self, conn: TConn, served: "Future[bool]") -> None:
        """Have the next request served in its turn, or wait for it, or until the client has read the last answer, or close."""
        if conn.sock.has_request:
            self._in_turn.append(conn)
        elif conn.sock.is_awaited:
            self._wait_for(conn)
        else:
            super().finish_request(conn, served)

    def murder_pending(self) -> None:
        """Give up those whose request does not come."""
        now = time.monotonic()
        for conn in [conn for conn in self.pending_conns if conn.timeout < now]:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)
            if conn.sock.is_lingering:
                self._end(conn)
            elif conn.sock.has_more():
                self.enqueue_req(conn)
            elif conn.sock.give_up():
                self.start_serving(conn)
            else:
                self._end(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """End those that are idle for too long, but none on which a request came while others were served."""
        now = time.monotonic()
        for conn in [conn for conn in self.keepalived_conns if force or conn.timeout < now]:
            self._take_out(conn)
            if conn.sock.has_more() and not force:
                self.enqueue_req(conn)
            else:
                self._end(conn)

    def start_serving(self, conn: TConn) -> None:
        """Serve a connection in a thread, as soon as there is one."""
        super().enqueue_req(conn)

    def tell_of_life(self) -> None:
        """Do nothing: during a transfer it is the main thread that tells the arbiter that the worker is alive."""

    def handle(self, conn: TConn) -> bool:
        """Serve one request of a connection; tell whether it is kept for more."""
        is_kept = self._serve(conn)
        if is_kept:
            conn.sock.hear_again(conn.parser.unreader.take_buffered())
        return is_kept

    def _serve(self, conn: TConn) -> bool:
        """Read a request, answer it, tell whether the connection is kept. Nothing that a client sends gets out of here."""
        req, connection = None, conn.sock
        try:
            req = next(conn.parser)
            if conn.parser.req_count >= MOST_REQUESTS or self._phase() >= Phase.DRAINING:
                req.force_close()
            is_kept = bool(self.handle_request(req, conn))
            connection.flush()
            if is_kept:
                return True
        except (StopIteration, NoMoreData, ConnectionError, TimeoutError) as ex:
            logger.debug("the client is gone: %r", ex)
        except Exception as ex:
            self.handle_error(req, connection, conn.client, ex)
        finally:
            request_id.set("-")
        is_open = connection.fileno() >= 0 and not connection.is_given_up
        if is_open and (req is None or req.has_unread_body() or connection.has_more()):
            connection.linger()
        else:
            connection.close()
        return False

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer, in the form of the interface, what did not reach the application, or what it could not answer.

        Where a part of an answer has left, nothing may follow: the client would take it for the rest.
        """
        request_id.set(new_request_id())
        error: ServiceError
        if isinstance(exc, ParseException):
            error = InvalidRequest(str(exc).encode("ascii", "backslashreplace").decode())
            logger.warning("refused before it reached the application: %r", exc)
        else:
            error = InternalError()
            logger.error("ended by a fault of the server", exc_info=exc)
        if not client.can_be_answered():
            return
        body = json.dumps(error.body())
        head = (
            f"HTTP/1.1 {error.row.status} {HTTPStatus(error.row.status).phrase}",
            "Connection: close",
            f"{HEADER}: {request_id.get()}",
        )
        lines = (*head, "Content-Type: application/json", f"Content-Length: {len(body)}", "", body)
        with suppress(OSError):
            client.sendall("\r\n".join(lines).encode())
            client.flush()


class SequentialWorker(ThreadedWorker):
    """Serves one request after the other, without a thread."""

    def serve_kept(self, conn: TConn) -> None:
        """Serve a connection that was kept, and leave it where it is: to take it out and in again takes longer than much else."""
        is_kept = self.handle(conn)
        self.keepalived_conns.remove(conn)
        if is_kept and not conn.sock.is_awaited:
            conn.set_timeout()
            self.keepalived_conns.append(conn)
        else:
            self.poller.unregister(conn.sock)
            self._finish(conn, is_kept)

    def start_serving(self, conn: TConn) -> None:
        """Serve a connection now."""
        self._finish(conn, self.handle(conn))

    def _finish(self, conn: TConn, is_kept: bool) -> None:
        served: Future[bool] = Future()
        served.set_result(is_kept)
        self.finish_request(conn, served)

    def tell_of_life(self) -> None:
        """Tell the arbiter during a transfer that the worker is alive."""
        self.notify()
