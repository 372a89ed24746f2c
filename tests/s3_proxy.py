"""A proxy between the service and S3 that counts requests, and does what bad networks and servers do."""

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
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>As the test wants it.</Message></Error>'
Read = Callable[[int], bytes]
Write = Callable[[bytes], object]


class End(Enum):
    """How a transfer comes to its end before its time."""

    RESET = "reset"
    CLOSE = "close"
    SILENCE = "silence"


class At(Enum):
    """Where on its way a request meets its fault."""

    REQUEST = "request"
    ANSWER = "answer"
    BODY = "body of the answer"


class Broken(Exception):
    """A transfer was ended."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with requests whose lines, such as `PUT /bucket/key`, have a match of `where`.

    The first `skip` of them pass, and meet nothing; so do those after the next `times`. The others wait for `delay` seconds. Then
    they may be answered with `status` and `code`, and go no further. Or they come to an `end`: `after` some bytes of their own
    body, or of that of the answer, which must have as many; or when the answer is due.
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
    """Stands before one S3 server; `requests` are the lines of the requests that came, faulty ones too."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self._fault: Fault | None = None
        self._met = 0
        self.is_over = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "S3Proxy":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Take connections, on the same port as ever."""
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
    def broken(self, fault: Fault) -> Iterator[None]:
        self._fault, self._met = fault, 0
        self.is_over.clear()
        try:
            yield
        finally:
            self._fault = None
            self.is_over.set()

    def meet(self, line: str) -> Fault:
        """Take down a request, and give the fault that awaits it; one that does nothing if there is none."""
        self.requests.append(line)
        fault = self._fault
        if fault is None or not re.search(fault.where, line):
            return Fault()
        self._met += 1
        return fault if fault.skip < self._met <= fault.skip + fault.times else Fault()

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Collect the lines of the requests that come meanwhile."""
        seen, lines = len(self.requests), list[str]()
        yield lines
        lines += self.requests[seen:]


class Server(ThreadingHTTPServer):
    """Leaves connections to their exchanges, which know how to end them."""

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        request.close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that break: that is what is tested."""


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer, each way on a connection of its own."""

    proxy: S3Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        """Read one request and let no exception out; a connection is used once."""
        with suppress(Broken, OSError, http.client.HTTPException):
            self.raw_requestline = self.rfile.readline(STEP)
            if self.raw_requestline and self.parse_request():
                self._pass()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    @property
    def _length(self) -> int:
        return int(self.headers.get("Content-Length", 0))

    def _pass(self) -> None:
        fault = self.proxy.meet(f"{self.command} {self.path}")
        self.proxy.is_over.wait(fault.delay)
        if fault.status:
            self._answer(fault)
            return
        if fault.at is At.REQUEST and not fault.after:
            self._end(fault.end)  # nothing of it gets through
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            self._send(upstream, fault)
            answer = upstream.getresponse()
            if fault.at is At.ANSWER:
                self._end(fault.end)
            self._receive(answer, fault)
        finally:
            upstream.close()

    def _answer(self, fault: Fault) -> None:
        self._relay(self.rfile.read, len, self._length, None, 0)
        body = ERROR.format(code=fault.code).encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # else the next request might go out on it while it is being closed
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, upstream: http.client.HTTPConnection, fault: Fault) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                upstream.putheader(name, value)
        upstream.endheaders()
        self._relay(self.rfile.read, upstream.send, self._length, fault.end if fault.at is At.REQUEST else None, fault.after)

    def _receive(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        whole = None if answer.length is not None else answer.read()  # chunked: it is short
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        if whole is not None:
            self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        read, length = (answer.read, answer.length or 0) if whole is None else (io.BytesIO(whole).read, len(whole))
        self._relay(read, self.wfile.write, length, fault.end if fault.at is At.BODY else None, fault.after)

    def _relay(self, read: Read, write: Write, length: int, end: End | None, after: int) -> None:
        end = end if length >= after else None
        left = after if end else length
        while left > 0:
            data = read(min(STEP, left))
            if not data:
                raise Broken
            write(data)
            left -= len(data)
        if end:
            self._end(end)

    def _end(self, end: End | None) -> None:
        if end is End.SILENCE:
            self.proxy.is_over.wait(60)
        elif end is End.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Broken
