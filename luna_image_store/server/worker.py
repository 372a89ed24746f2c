"""gunicorn's threaded worker, with error answers in the form of the interface."""

import json
import logging
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from luna_image_store.errors import InternalError, InvalidRequest, ServiceError
from luna_image_store.logs import REQUEST_ID_HEADER, new_request_id, request_id
from luna_image_store.storage.base import CHUNK_SIZE

LINGER_SECONDS, SILENCE_SECONDS = 10.0, 2.0  # that a client may take for what it still sends

logger = logging.getLogger(__name__)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves several requests at once, each in a thread."""

    def handle(self, conn: TConn) -> Any:
        """Serve a request; if it is the last one of its connection, wait here for the client, and not in the main loop."""
        is_kept = super().handle(conn)
        if not is_kept:
            linger(conn.sock)
        request_id.set("-")
        return is_kept

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that did not reach the application, or that it failed to answer."""
        request_id.set(new_request_id())
        error: ServiceError
        if isinstance(exc, ParseException):
            error = InvalidRequest(str(exc).encode("ascii", "backslashreplace").decode())
            logger.warning("request refused by the server: %r", exc)
        else:
            error = InternalError()
            logger.error("unhandled error in the server", exc_info=exc)
        with suppress(OSError):
            client.sendall(_answer(error))


def linger(client: socket.socket) -> None:
    """Read what the client still sends, until it closes its side: closing at once would take the answer back."""
    until = time.monotonic() + LINGER_SECONDS
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            client.settimeout(min(left, SILENCE_SECONDS))
            if not client.recv(CHUNK_SIZE):
                break
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)  # so that gunicorn, which lingers too, finds the end


def _answer(error: ServiceError) -> bytes:
    body = json.dumps(error.body())
    head = (
        f"HTTP/1.1 {error.spec.status} {HTTPStatus(error.spec.status).phrase}",
        "Connection: close",
        f"{REQUEST_ID_HEADER}: {request_id.get()}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", body)).encode()
