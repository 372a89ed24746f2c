"""Start and stop the measured servers: the service, nginx in front of it, and its peers. All listen on loopback only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rendering import CORES

HERE = Path(__file__).resolve().parent
SITE = HERE.parent / "deploy/nginx/luna-image-store.conf"
SOCKET = "unix:/run/luna-image-store/http.sock"
TIMEOUT = 60  # seconds
BUCKET = "bench"
NO_SETTINGS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Running:
    """A started server: its URL and process id."""

    url: str
    pid: int

    @property
    def images(self) -> str:
        """Return the URL of the images, if this is the service."""
        return f"{self.url}/1/buckets/{BUCKET}/images"

    def peak_memory(self) -> float:
        """Return the peak memory of the largest child process in MiB."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        states = [Path(f"/proc/{child}/status").read_text() for child in children]
        return max(int(state.partition("VmHWM:")[2].split()[0]) for state in states) / 1024


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def service(root: Path, settings: Mapping[str, str] = NO_SETTINGS, command: tuple[str | Path, ...] = ()) -> Iterator[Running]:
    """Run the service, or a variant of it, with its data under `root`; `settings` are environment variables."""
    port = free_port()
    with _started(command or (_command(), "serve"), port, {**_settings(f"127.0.0.1:{port}", root), **settings}) as server:
        _create_bucket(server.url)
        yield server


def slow_disk(milliseconds: int, folder: Path) -> Mapping[str, str]:
    """Return the environment variables that delay each sync."""
    library = folder / "slow_sync.so"
    if not library.exists():
        subprocess.run(("cc", "-shared", "-fPIC", "-O2", "-o", library, HERE / "slow_sync.c", "-ldl"), check=True)
    return {"LD_PRELOAD": str(library), "SYNC_MICROSECONDS": str(1000 * milliseconds)}


@contextmanager
def service_behind_nginx(root: Path) -> Iterator[Running]:
    """Run the service on a unix socket, and nginx in front of it with the site in `deploy/nginx`."""
    root.mkdir(parents=True)
    port, socket_path = free_port(), root / "http.sock"
    user = "user root;" if os.getuid() == 0 else ""
    (root / "nginx.conf").write_text((HERE / "peers/nginx.conf").read_text().replace("USER", user).replace("ROOT", str(root)))
    (root / "site.conf").write_text(
        SITE.read_text().replace(SOCKET, f"unix:{socket_path}").replace("listen 80;", f"listen 127.0.0.1:{port};")
    )
    with _process((_command(), "serve"), _settings(f"unix:{socket_path}", root / "data")):
        _wait_for(socket_path.exists)
        nginx = ("nginx", "-e", "stderr", "-p", root, "-c", root / "nginx.conf")
        with _started(nginx, port, {"PATH": f"{os.environ['PATH']}:/usr/sbin"}) as server:
            _create_bucket(server.url)
            yield server


@contextmanager
def memory(root: Path, folder: Path) -> Iterator[Running]:
    """Run an application that returns the files of a directory from memory, in the workers of the service."""
    port = free_port()
    with _started((sys.executable, HERE / "memory.py", folder), port, _settings(f"127.0.0.1:{port}", root)) as server:
        yield server


@contextmanager
def memory_under_gunicorn(folder: Path) -> Iterator[Running]:
    """Run the same application in gunicorn with its default options."""
    # without this empty file, gunicorn would use the options of the service
    port, empty_config = free_port(), folder.with_name("empty_config.py")
    empty_config.touch()
    options = ("--config", empty_config, "--log-level", "critical", "--chdir", HERE)
    options += ("--workers", str(2 * CORES), "--bind", f"127.0.0.1:{port}")
    with _started((_command("gunicorn"), *options, f"memory:application({str(folder)!r})"), port, {}) as server:
        yield server


@contextmanager
def node(root: Path, packages: Path, threads: int) -> Iterator[Running]:
    """Run the Node peer; `threads` is the number of libvips threads for one image in each process."""
    root.mkdir(parents=True)
    port = free_port()
    command = ("node", packages / "server.js", root, str(port), str(CORES), str(threads))
    with _started(command, port, {}) as server:
        yield server


@contextmanager
def thumbor(root: Path, command: Path) -> Iterator[Running]:
    """Run thumbor, one process per core."""
    root.mkdir(parents=True)
    port, conf = free_port(), root / "thumbor.conf"
    folders = {"FILE_STORAGE_ROOT_PATH": root / "storage", "RESULT_STORAGE_FILE_STORAGE_ROOT_PATH": root / "results"}
    lines = [f"{name} = {str(folder)!r}" for name, folder in folders.items()]
    conf.write_text("\n".join([(HERE / "peers/thumbor.conf").read_text(), *lines, ""]))
    with _started((command, "-i", "127.0.0.1", "-p", str(port), "-c", conf, "--processes", str(CORES)), port, {}) as server:
        yield server


def _command(name: str = "luna-image-store") -> Path:
    return Path(sys.executable).with_name(name)


def _settings(bind: str, root: Path) -> dict[str, str]:
    return {"LUNA_IMAGE_STORE__HTTP__BIND": bind, "LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH": str(root)}


def _create_bucket(url: str) -> None:
    with suppress(urllib.error.HTTPError):  # it exists already
        urllib.request.urlopen(urllib.request.Request(f"{url}/1/buckets?bucket={BUCKET}", method="POST")).close()


@contextmanager
def _started(command: tuple[str | Path, ...], port: int, environment: Mapping[str, str]) -> Iterator[Running]:
    with _process(command, environment) as process:
        _wait_for(lambda: _listens(port))
        yield Running(f"http://127.0.0.1:{port}", process.pid)


@contextmanager
def _process(command: tuple[str | Path, ...], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a new session, so that all its processes can be killed."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("a server did not start")
        time.sleep(0.1)
