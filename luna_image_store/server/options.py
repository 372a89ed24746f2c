"""gunicorn's options, made from the settings."""

import sys
from typing import Any

from gunicorn.glogging import Logger

from luna_image_store import concurrency
from luna_image_store.server.counters import SHARED_MEMORY
from luna_image_store.server.hooks import Hooks
from luna_image_store.server.worker import Worker
from luna_image_store.settings import Settings

MIN_WORKER_TIMEOUT = 5  # seconds: an idle worker shows that it is alive once a second
CLIENT_TIMEOUTS = (BlockingIOError, TimeoutError)


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Passes gunicorn's lines to the service's own handlers; the application logs the requests."""

    def setup(self, cfg: Any) -> None:
        """Leave formats and handlers to the root logger."""
        self.cfg = cfg
        self.error_log.propagate = True

    def access(self, *_: Any) -> None:
        """Log nothing."""

    def exception(self, msg: str, *args: Any, **options: Any) -> None:
        """Log a client that was too slow without a traceback."""
        if isinstance(sys.exc_info()[1], CLIENT_TIMEOUTS):
            self.info("client timeout: connection closed")
        else:
            super().exception(msg, *args, **options)


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's options for these settings."""
    http = settings.http
    return {
        "bind": http.bind,
        "workers": concurrency.workers(settings),
        "threads": concurrency.threads(settings),
        "worker_connections": concurrency.connections(settings),
        "worker_class": Worker,
        "timeout": max(http.request_timeout, MIN_WORKER_TIMEOUT),
        "graceful_timeout": http.graceful_timeout,
        "keepalive": http.keepalive_timeout,
        "worker_tmp_dir": str(SHARED_MEMORY),
        "control_socket_disable": True,
        "permit_unconventional_http_method": True,  # the application refuses the methods that it lacks
        "forwarder_headers": "",  # no header of a client changes what its request is
        "secure_scheme_headers": {},
        "forwarded_allow_ips": "*",  # headers of proxies are not used: not checking their sender is the least work
        "umask": 0o007,  # of a unix socket: its group may connect
        "logger_class": ServerLogger,
        **Hooks(settings).options(),
    }
