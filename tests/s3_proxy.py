"""A proxy between the service and S3 that records requests, and simulates failures of networks and servers."""

import http.client
import io
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from .machine import free_port

STEP = 64 * 1024
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>An error of the test.</Message></Error>'
Read = Callable[[int], bytes]
Write = Callable[[bytes], object]


class End(Enum):
    """How a transfer ends early."""

    RESET = "reset"
    CLOSE = "close"
    SILENCE = "silence"


class At(Enum):
    """The part of an exchange in which a request fails."""

    REQUEST = "request"
    RESPONSE = "response"
    BODY = "body of the response"


class Ended(Exception):
    """The transfer ended early."""


@dataclass(frozen=True)
class Failure:
    """A failure of requests. `where` is a pattern for their lines, such as `PUT /bucket/key`.

    The first `skip` requests succeed, the next `times` fail, and later ones succeed. A failing request waits for `delay` seconds.
    With `status` and `code`, the proxy sends this error. With `end`, the transfer ends early: before the response, or `after` this
    number of bytes of the body of the request or of the response. A shorter body does not fail.
    """

    delay: float = 0
    status: int = 0
    code: str = ""
    end: End | None = None
    at: At | None = None
    after: int = 0
    where: str = ""
    skip: int = 0
    times: int = 1_000_000


class S3Proxy:
    """A proxy for one S3 server. `requests` has the lines of all requests, including failed ones."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self._failure: Failure | None = None
        self._matched = 0
        self.is_over = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "S3Proxy":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Accept connections, always on the same port."""
        if self._server:
            return
        self._server = Server(("127.0.0.1", self.port), type("Bound", (Exchange,), {"proxy": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections."""
        self.is_over.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def closed(self) -> Iterator[None]:
        self.close()
        try:
            yield
        finally:
            self.open()

    @contextmanager
    def failing(self, failure: Failure) -> Iterator[None]:
        self._failure, self._matched = failure, 0
        self.is_over.clear()
        try:
            yield
        finally:
            self._failure = None
            self.is_over.set()

    def record(self, line: str) -> Failure:
        """Record a request, and return its failure. The default `Failure()` does nothing."""
        self.requests.append(line)
        failure = self._failure
        if failure is None or not re.search(failure.where, line):
            return Failure()
        self._matched += 1
        return failure if failure.skip < self._matched <= failure.skip + failure.times else Failure()

    @contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """Collect the lines of the requests during the context."""
        start, lines = len(self.requests), list[str]()
        yield lines
        lines += self.requests[start:]


class Server(ThreadingHTTPServer):
    """Does not shut down connections: their exchanges end them."""

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        request.close()

    def handle_error(self, *_: object) -> None:
        """Print nothing: the tests close connections on purpose."""


class Exchange(BaseHTTPRequestHandler):
    """One request and its response, with one connection to the client and one to S3."""

    proxy: S3Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        """Handle one request without exceptions, and close the connection."""
        with suppress(Ended, OSError, http.client.HTTPException):
            self.raw_requestline = self.rfile.readline(STEP)
            if self.raw_requestline and self.parse_request():
                self._forward()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    @property
    def _length(self) -> int:
        return int(self.headers.get("Content-Length", 0))

    def _forward(self) -> None:
        failure = self.proxy.record(f"{self.command} {self.path}")
        self.proxy.is_over.wait(failure.delay)
        if failure.status:
            self._send_error(failure)
            return
        if failure.at is At.REQUEST and not failure.after:
            self._end(failure.end)  # S3 receives nothing
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            self._send(upstream, failure)
            response = upstream.getresponse()
            if failure.at is At.RESPONSE:
                self._end(failure.end)
            self._receive(response, failure)
        finally:
            upstream.close()

    def _send_error(self, failure: Failure) -> None:
        self._relay(self.rfile.read, len, self._length, None, 0)
        body = ERROR.format(code=failure.code).encode()
        self.send_response(failure.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # the client must not use a connection that is being closed
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, upstream: http.client.HTTPConnection, failure: Failure) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                upstream.putheader(name, value)
        upstream.endheaders()
        self._relay(self.rfile.read, upstream.send, self._length, failure.end if failure.at is At.REQUEST else None, failure.after)

    def _receive(self, response: http.client.HTTPResponse, failure: Failure) -> None:
        body = None if response.length is not None else response.read()  # a chunked body is short
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        read, length = (response.read, response.length or 0) if body is None else (io.BytesIO(body).read, len(body))
        self._relay(read, self.wfile.write, length, failure.end if failure.at is At.BODY else None, failure.after)

    def _relay(self, read: Read, write: Write, length: int, end: End | None, after: int) -> None:
        end = end if length >= after else None
        left = after if end else length
        while left > 0:
            data = read(min(STEP, left))
            if not data:
                raise Ended
            write(data)
            left -= len(data)
        if end:
            self._end(end)

    def _end(self, end: End | None) -> None:
        if end is End.SILENCE:
            self.proxy.is_over.wait(60)
        elif end is End.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Ended
