"""gunicorn's threaded worker, with error responses in the format of the HTTP interface."""

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

LINGER_SECONDS, READ_TIMEOUT_SECONDS = 10.0, 2.0  # limits for a client that still sends: in total, and between two reads

logger = logging.getLogger(__name__)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves several requests at once, one per thread."""

    def handle(self, conn: TConn) -> Any:
        """Serve one request. After the last request of a connection, wait for the client in this thread, not in the main loop."""
        stays_open = super().handle(conn)
        if not stays_open:
            linger(conn.sock)
        request_id.set("-")
        return stays_open

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Send an error response to a request that did not reach the application, or that the application did not answer."""
        request_id.set(new_request_id())
        error: ServiceError
        if isinstance(exc, ParseException):
            error = InvalidRequest(str(exc).encode("ascii", "backslashreplace").decode())
            logger.warning("request refused by the server: %r", exc)
        else:
            error = InternalError()
            logger.error("unhandled error in the server", exc_info=exc)
        with suppress(OSError):
            client.sendall(_error_response(error))


def linger(client: socket.socket) -> None:
    """Read and discard data until the client closes its side. An immediate close could destroy the response."""
    deadline = time.monotonic() + LINGER_SECONDS
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(min(left, READ_TIMEOUT_SECONDS))
            if not client.recv(CHUNK_SIZE):
                break
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)  # gunicorn lingers too, and finds the end at once


def _error_response(error: ServiceError) -> bytes:
    body = json.dumps(error.body())
    head = (
        f"HTTP/1.1 {error.spec.status} {HTTPStatus(error.spec.status).phrase}",
        "Connection: close",
        f"{REQUEST_ID_HEADER}: {request_id.get()}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", body)).encode()
