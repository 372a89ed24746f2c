"""A service process for tests: started by its command, with settings in the environment. Requests use HTTP or plain sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import requests

from ..machine import free_port, need, tool, wait_until
from .raw_storage import RawDisk, RawStorage

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
SERVE = (str(BIN / "luna-image-store"), "serve")
DRAIN = (str(BIN / "luna-image-store"), "drain")
GUNICORN = (str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "luna_image_store.wsgi:application")
PASS_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Answer:
    """A response that was read from a plain socket. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Endpoint:
    """An HTTP server on a local port: a service, or a proxy in front of services."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, f"http://127.0.0.1:{self.port}{path}", **{"timeout": 60, **options})

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, data: Any = None, **options: Any) -> requests.Response:
        return self.request("POST", path, data=data, **options)

    def put(self, path: str, data: Any = None, **options: Any) -> requests.Response:
        return self.request("PUT", path, data=data, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.request("DELETE", path, **options)

    def make_bucket(self, name: str = "photos") -> None:
        assert self.post(f"/1/buckets?bucket={name}").status_code == 201

    @contextmanager
    def connection(self, timeout: float = 60) -> Iterator[socket.socket]:
        with socket.create_connection(self.address, timeout) as client:
            yield client

    def exchange(self, data: bytes, half_close: bool = False) -> Answer | None:
        """Send bytes and return the response, or None if the server closes the connection without a response."""
        with self.connection() as client:
            client.sendall(data)
            if half_close:
                with suppress(OSError):  # the server may have closed it
                    client.shutdown(socket.SHUT_WR)
            return read_answer(client, data.partition(b" ")[0].decode("latin-1"))


class Service(Endpoint):
    """One service. It can be started and stopped repeatedly. By default it stores records on a disk, under `root`."""

    def __init__(self, folder: Path, storage: RawStorage | None = None, **settings: object) -> None:
        self.root = folder / "storage"
        self.storage = storage or RawDisk(self.root)
        super().__init__(free_port())
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.systemd_socket: socket.socket | None = None  # the service listens on it, if it is set
        values = {
            **self.storage.settings,
            "HTTP__BIND": f"127.0.0.1:{self.port}",
            "HTTP__WORKERS": 2,
            **settings,
        }
        self._bind, self._workers = str(values["HTTP__BIND"]), values["HTTP__WORKERS"]
        variables = {f"LUNA_IMAGE_STORE__{key}": str(value) for key, value in values.items()}
        others = {key: value for key, value in os.environ.items() if not key.startswith("LUNA_IMAGE_STORE")}
        self.environment = others | variables

    def launch(self, *command: str) -> subprocess.Popen[bytes]:
        """Start the process without a wait. It gets its own process group, so that `kill` ends all its processes."""
        command, sockets = command or SERVE, [self.systemd_socket.fileno()] if self.systemd_socket else []
        if sockets:
            command = (sys.executable, "-c", PASS_SOCKET, str(sockets[0]), *command)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=sockets,
            )
        return self._process

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the settings of the service."""
        return subprocess.run(command, env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)

    def start(self, *command: str) -> "Service":
        process = self.launch(*command)
        wait_until(lambda: process.poll() is not None or self._is_ready(), 60, pause=0.05)
        assert process.poll() is None, self.log()
        return self

    def _is_ready(self) -> bool:
        path = self._bind.removeprefix("unix:")
        try:
            if path == self._bind:
                socket.create_connection(self.address).close()
            else:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
            return len(self.workers()) == self._workers
        except OSError:
            return False

    def stop(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        assert self._process
        return self._process.wait(60)

    def signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill master and workers at once, like a power failure."""
        if self._process and self._process.poll() is None:
            workers = self.workers()
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            psutil.wait_procs(workers, timeout=60)  # until then they hold the lock of the storage

    def end(self) -> None:
        """Stop the service after a test, or kill it if it does not stop."""
        try:
            if self._process and self._process.poll() is None:
                self.stop()
        finally:
            self.kill()

    def workers(self) -> list[psutil.Process]:
        assert self._process
        return psutil.Process(self._process.pid).children()

    def connections(self) -> list[object]:
        """Return the TCP connections of the workers."""
        connections = [each for worker in self.workers() for each in worker.net_connections("tcp")]
        return [each for each in connections if each.status == "ESTABLISHED" and each.laddr.port == self.port]

    def log(self) -> str:
        return self._log.read_text("utf-8")


def read_answer(client: socket.socket, method: str = "GET") -> Answer | None:
    """Read exactly one response. Return None if the connection ends without a response."""
    unbuffered = SimpleNamespace(makefile=lambda mode: client.makefile(mode, buffering=0))
    response = HTTPResponse(cast(socket.socket, unbuffered), method=method)
    with closing(response):
        try:
            response.begin()
        except ConnectionError:
            return None
        body = bytearray()
        while piece := response.read(65536):
            body += piece
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, bytes(body))


@contextmanager
def traced(process: psutil.Process, output: Path, *options: str) -> Iterator[None]:
    """Run strace on a worker, and write the trace to `output`."""
    command = (tool("strace"), "-f", "-y", "-s", "16", "-o", str(output), *options, "-p", str(process.pid))
    strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        status = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: f"TracerPid:\t{strace.pid}\n" in status.read_text() or strace.poll() is not None)
        need(strace.poll() is None, "the right to trace processes")
        yield
    finally:
        strace.terminate()
        strace.wait()
