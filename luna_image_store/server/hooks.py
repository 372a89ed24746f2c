"""The hooks that gunicorn's master and workers run when they start, reload and end."""

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

from luna_image_store.server.counters import METRICS_VARIABLE, has_metrics_directory, metrics_directory, remove_stale_metrics
from luna_image_store.server.startup import sweep_storage
from luna_image_store.settings import Settings, SettingsError

DEFER_ACCEPT_SECONDS = 30  # how long the kernel holds a new connection until its first bytes arrive
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MALLOC_THRESHOLD = 16 * 2**20  # bytes; the same value as in the unit and the container file
PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


class Hooks:
    """gunicorn's hooks for these settings. Each method has the name of a gunicorn option."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._with_metrics = settings.metrics.enabled

    def options(self) -> dict[str, Any]:
        """Return the hooks, and the environment variable of the metrics, as gunicorn options."""
        names = ("on_starting", "when_ready", "on_reload", "pre_fork", "post_fork", "child_exit", "on_exit")
        metrics = {"raw_env": [f"{METRICS_VARIABLE}={metrics_directory()}"]} if self._with_metrics else {}
        return {name: getattr(self, name) for name in names} | metrics

    def on_starting(self, server: Any) -> None:
        """Remove the leftovers of an earlier run, before the first request."""
        remove_stale_metrics()
        if not server.master_pid:  # with SIGUSR2 the old master still runs, and may drain
            try:
                Path(self._settings.http.drain_file).unlink(missing_ok=True)
            except OSError as ex:
                raise SettingsError(f"HTTP.DRAIN_FILE: {ex}") from ex
        sweep_storage()

    def when_ready(self, server: Any) -> None:
        """Set socket options: the kernel closes connections with a stalled client, and holds new ones until data arrive.

        Accepted connections inherit these options from the listening socket. On a unix socket the client is a proxy.
        """
        seconds = self._settings.http.request_timeout
        for listener in server.LISTENERS:
            if listener.family in (socket.AF_INET, socket.AF_INET6):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_SECONDS)

    on_reload = when_ready  # the timeout may have changed

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Assign the lowest free number to a worker. The worker continues the metrics of the last worker with this number."""
        used = {other.slot for other in server.WORKERS.values()}
        worker.slot = next(number for number in count() if number not in used)
        if self._with_metrics:
            metrics_directory().mkdir(0o700, exist_ok=True)  # it may have been removed

    def post_fork(self, server: Any, worker: Any) -> None:
        """Prepare a worker process."""
        end_with_master(worker.ppid)
        tune_malloc()
        if self._with_metrics:
            from luna_image_store.monitoring.prometheus import enable_shared_metrics

            enable_shared_metrics(metrics_directory(), worker.slot)

    def child_exit(self, server: Any, worker: Any) -> None:
        """Remove the gauges of a worker that has ended, even if a reload has disabled the metrics."""
        if has_metrics_directory():
            from luna_image_store.monitoring.prometheus import remove_gauges

            remove_gauges(metrics_directory(), worker.slot)

    def on_exit(self, server: Any) -> None:
        """Remove the directory of the metrics."""
        if has_metrics_directory():
            rmtree(metrics_directory(), ignore_errors=True)


def end_with_master(master_pid: int) -> None:
    """Make the kernel kill this worker when its master dies, so that a killed master leaves no port in use."""
    _libc("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != master_pid:  # the master died after the fork
        os.kill(os.getpid(), signal.SIGKILL)


def tune_malloc() -> None:
    """Keep the memory of one image for the next one: a new allocation by the system takes a sixth of the time of a 200 KB save."""
    for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        _libc("mallopt", threshold, MALLOC_THRESHOLD)


def _libc(name: str, *arguments: int) -> None:
    with suppress(OSError, AttributeError):  # the C library is not glibc
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        function(*arguments)
