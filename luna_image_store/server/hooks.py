"""What gunicorn's master and workers do when they start, reload and end."""

import ctypes
import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

from luna_image_store.server.counters import METRICS_VARIABLE, is_counting, metrics_directory, remove_left_counters
from luna_image_store.server.startup import sweep_storage
from luna_image_store.settings import Settings, SettingsError

ACCEPT_SECONDS = 30  # the kernel holds a new connection for this long until its first bytes come
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_MEMORY = 16 * 2**20  # bytes; as in the unit and the container file
PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


class Hooks:
    """gunicorn's hooks for these settings; each has the name of gunicorn's option."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._with_metrics = settings.metrics.enabled

    def options(self) -> dict[str, Any]:
        """Return the hooks, and the environment of the metrics, as options of gunicorn."""
        names = ("on_starting", "when_ready", "on_reload", "pre_fork", "post_fork", "child_exit", "on_exit")
        metrics = {"raw_env": [f"{METRICS_VARIABLE}={metrics_directory()}"]} if self._with_metrics else {}
        return {name: getattr(self, name) for name in names} | metrics

    def on_starting(self, server: Any) -> None:
        """Remove what an earlier service left: no request is served yet."""
        remove_left_counters()
        if not server.master_pid:  # else it is started by SIGUSR2, beside a master that may drain
            try:
                Path(self._settings.http.drain_file).unlink(missing_ok=True)
            except OSError as ex:
                raise SettingsError(f"HTTP.DRAIN_FILE: {ex}") from ex
        sweep_storage()

    def when_ready(self, server: Any) -> None:
        """Let the kernel close connections whose client neither sends nor reads, and hold those on which nothing comes.

        Accepted connections have these options from their listening socket. On a unix socket the client is a proxy.
        """
        seconds = self._settings.http.request_timeout
        for listener in server.LISTENERS:
            if listener.family in (socket.AF_INET, socket.AF_INET6):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, ACCEPT_SECONDS)

    on_reload = when_ready  # the timeout may be another one

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Give a worker the first number that no living worker has: it goes on with the counts of the one that had it before."""
        taken = {other.slot for other in server.WORKERS.values()}
        worker.slot = next(number for number in count() if number not in taken)
        if self._with_metrics:
            metrics_directory().mkdir(0o700, exist_ok=True)  # somebody may have removed it

    def post_fork(self, server: Any, worker: Any) -> None:
        """Prepare a worker process."""
        end_with_master(worker.ppid)
        tune_malloc()
        if self._with_metrics:
            from luna_image_store.monitoring.prometheus import share

            share(metrics_directory(), worker.slot)

    def child_exit(self, server: Any, worker: Any) -> None:
        """Forget what a worker that has ended was doing, also if metrics are off by now."""
        if is_counting():
            from luna_image_store.monitoring.prometheus import forget

            forget(metrics_directory(), worker.slot)

    def on_exit(self, server: Any) -> None:
        """Remove the counters."""
        if is_counting():
            rmtree(metrics_directory(), ignore_errors=True)


def end_with_master(master: int) -> None:
    """Let the kernel kill this worker when its master dies, so that a killed master leaves no port in use."""
    _libc("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != master:  # it has died since the fork
        os.kill(os.getpid(), signal.SIGKILL)


def tune_malloc() -> None:
    """Keep the memory of one image for the next: getting it from the system again takes a sixth of the time of a 200 KB save."""
    for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        _libc("mallopt", threshold, KEPT_MEMORY)


def _libc(name: str, *arguments: int) -> None:
    with suppress(OSError, AttributeError):  # another C library than glibc
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        function(*arguments)
