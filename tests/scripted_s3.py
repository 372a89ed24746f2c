"""An S3 server with responses scripted by a test, for failures of S3 and of the connection."""

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

SECRET = "a-secret-that-is-not-logged"


class ScriptedServer(ThreadingTCPServer):
    """Calls `play(client, method, path)` for each request, and closes the connection."""

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
    """The connection of a client, with the events of a script."""

    def __init__(self, connection, ended):
        self._connection = connection
        self._ended = ended

    def send(self, data):
        self._connection.sendall(data)

    def respond(self, status, body=b"", length=None, **headers):
        """Send a response. `length`: a wrong Content-Length."""
        fields = {"Content-Length": len(body) if length is None else length, "Connection": "close", **headers}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def refuse(self, status, code, method="GET"):
        """Send an error response of S3, without a body for HEAD."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self.respond(status, b"" if method == "HEAD" else body)

    def reset(self):
        """Reset the connection."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def hang(self):
        """Send nothing until the tests of the module have ended."""
        self._ended.wait(60)


def storage_at(url, deletion=DEFAULT_LIMITS, **changes):
    """Return a storage that does not retry requests. `changes`: other settings of S3."""
    defaults = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": SECRET, "REGION": "us-east-1", "MAX_ATTEMPTS": 1, "ENDPOINT_URL": url}
    settings = load(environ={f"{PREFIX}S3__{name}": str(value) for name, value in {**defaults, **changes}.items()})
    return S3Storage(settings.s3, threads=2, deletion=deletion)
