"""A server that answers as a test tells it to: what a broken S3, or a broken way to it, looks like."""

import re
import socket
import struct
import threading
from contextlib import suppress
from http import HTTPStatus
from socketserver import StreamRequestHandler, ThreadingTCPServer

from luna_image_store.settings import PREFIX, load
from luna_image_store.storage.s3.backend import S3Storage
from luna_image_store.storage.s3.bucket_deletion import DEFAULT_LIMITS

SECRET = "a-secret-that-nobody-may-see"


class ScriptedServer(ThreadingTCPServer):
    """Plays `play(client, method, path)` for each request, and closes the connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.play = None
        self.requests = []
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.shutdown()
        self.server_close()


class Handler(StreamRequestHandler):
    def handle(self):
        with suppress(OSError):
            method, path, _ = self.rfile.readline().decode().split(" ")
            head = b"".join(iter(self.rfile.readline, b"\r\n")).decode()
            length = re.search("(?i)^content-length: ([0-9]+)", head, re.MULTILINE)
            self.rfile.read(int(length[1]) if length else 0)
            self.server.requests.append(f"{method} {path}")
            self.server.play(Client(self.connection, self.server.ended), method, path)


class Client:
    """The connection of a client, and what can happen on it."""

    def __init__(self, connection, ended):
        self._connection = connection
        self._ended = ended

    def send(self, data):
        self._connection.sendall(data)

    def answer(self, status, body=b"", length=None, **headers):
        """Send an answer; `length`: what it announces, where that is not the truth."""
        given = {"Content-Length": len(body) if length is None else length, "Connection": "close", **headers}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in given.items()), "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def refuse(self, status, code, method="GET"):
        """Send an error of S3; HEAD has no body."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self.answer(status, b"" if method == "HEAD" else body)

    def reset(self):
        """Break the connection off."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def hang(self):
        """Say nothing until the test has ended."""
        self._ended.wait(60)


def storage_at(url, deletion=DEFAULT_LIMITS, **given):
    """Make a storage that tries each request once."""
    fixed = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": SECRET, "REGION": "us-east-1", "MAX_ATTEMPTS": 1, "ENDPOINT_URL": url}
    settings = load(environ={f"{PREFIX}S3__{name}": str(value) for name, value in {**fixed, **given}.items()})
    return S3Storage(settings.s3, threads=2, deletion=deletion)
