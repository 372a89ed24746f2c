"""How gunicorn runs the service: its options from the settings, what happens at its start, where its lines are logged."""

import ctypes
import logging
import logging.config
import os
import sys
from contextlib import suppress
from tempfile import gettempdir
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from luna_image_store import concurrency, logs
from luna_image_store.app import create_app
from luna_image_store.arbiter import Arbiter
from luna_image_store.imaging.pillow import pillow_problem
from luna_image_store.monitoring import monitor
from luna_image_store.monitoring.slots import Slots
from luna_image_store.phase import Phase, SharedPhase
from luna_image_store.settings import Settings, SettingsError, load
from luna_image_store.storage.base import Storage
from luna_image_store.storage.disk.files import FILE_MASK
from luna_image_store.storage.factory import create_storage
from luna_image_store.workers import MARGIN, MOST_CONNECTIONS, SequentialWorker, ThreadedWorker

MEMORY_FILES = "/dev/shm"  # noqa: S108  # where gunicorn's heartbeat files never wait for a disk
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_MEMORY = 16 * 2**20

logger = logging.getLogger(__name__)
slots = Slots(MEMORY_FILES if os.path.isdir(MEMORY_FILES) else gettempdir())


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's lines to our handlers; requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        """Leave formats and handlers to the root logger."""
        self.cfg = cfg
        self.error_log.propagate = True

    def access(self, *_: Any) -> None:
        """Log nothing."""


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with our options and our master."""

    def __init__(self, path: str | None) -> None:
        self._settings = load(path)
        self.phase = SharedPhase(Phase.STARTING)
        self.drain_time = int(self._settings["HTTP"]["DRAIN_TIME"])
        super().__init__()

    def run(self) -> None:
        """Serve until stopped."""
        Arbiter(self).run()

    def load_config(self) -> None:
        """Give gunicorn its options."""
        for name, value in options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, once per worker."""
        keep_memory()
        return create_app(self._settings, phase=self.phase)


def options(settings: Settings) -> dict[str, Any]:
    """Give gunicorn's options for these settings, and set up logging."""
    logging.config.dictConfig(logs.configuration(settings["LUNA_IMAGE_STORE_LOGGER"]))
    os.umask(FILE_MASK)
    http, threads = settings["HTTP"], concurrency.threads(settings)
    in_threads = threads > 1 or concurrency.is_on_s3(settings)  # waiting for S3 must not look like a worker that hangs
    return {
        "bind": http["BIND"],
        "workers": concurrency.workers(settings),
        "threads": threads,
        "worker_class": ThreadedWorker if in_threads else SequentialWorker,
        "timeout": http["REQUEST_TIMEOUT"] + MARGIN,
        "graceful_timeout": http["GRACEFUL_TIMEOUT"],
        "worker_tmp_dir": MEMORY_FILES if os.path.isdir(MEMORY_FILES) else None,
        "keepalive": http["KEEPALIVE_TIMEOUT"],
        "worker_connections": MOST_CONNECTIONS,
        "control_socket_disable": True,
        "permit_unconventional_http_method": True,  # the application refuses them by what it has
        "forwarder_headers": "",  # no header of a client changes what its request is
        "secure_scheme_headers": {},
        "forwarded_allow_ips": "*",  # whoever sends it: this is the least work
        "umask": 0o007,  # of the unix socket: its group may connect
        "logger_class": ServerLogger,
        "on_starting": lambda arbiter: _prepare(settings, is_reload=bool(arbiter.LISTENERS)),
        "on_exit": slots.remove,
        **(_counting_together() if settings["LUNA_SERVICE_METRICS"]["ENABLED"] else {}),
    }


def _counting_together() -> dict[str, Any]:
    """Let the workers count in files that they share; the library reads their directory from the environment."""
    return {
        "raw_env": [f"{METRICS_VARIABLE}={slots.path}"],
        "pre_fork": slots.make,
        "post_fork": slots.enter,
        "child_exit": slots.leave,
    }


def keep_memory() -> None:
    """Keep what a picture took for the next one: to get it anew from the system costs a sixth of the time of a 200 KB save."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        libc = ctypes.CDLL(None)
        for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(threshold, KEPT_MEMORY)


def check(settings: Settings) -> Storage:
    """Check that the service can work with these settings, or raise SettingsError."""
    if fault := pillow_problem(settings["IMAGES"]["ALLOW_PLAIN_PILLOW"]):
        raise SettingsError(fault)
    monitor.check(settings)
    logs.configuration(settings["LUNA_IMAGE_STORE_LOGGER"])
    return create_storage(settings)


def _prepare(settings: Settings, is_reload: bool) -> None:
    storage = check(settings)
    if not is_reload:  # the old workers are at work
        storage.sweep()


def run(path: str | None) -> None:
    """Serve until stopped; end with a message when the settings or the machine won't do."""
    try:
        Server(path).run()
    except RuntimeError as ex:
        sys.exit(f"luna-image-store: {ex}")


def try_out(path: str | None) -> None:
    """Make the application as a worker would, and do nothing with it; end with a message when it can't be made."""
    try:
        settings = load(path)
        create_app(settings, check(settings))
    except SettingsError as ex:
        sys.exit(f"luna-image-store: {ex}")
