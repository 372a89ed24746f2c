"""gunicorn's options from the settings."""

import sys
from typing import Any

from gunicorn.glogging import Logger

from luna_image_store import concurrency
from luna_image_store.server.counters import SHARED_MEMORY
from luna_image_store.server.hooks import Hooks
from luna_image_store.server.worker import Worker
from luna_image_store.settings import Settings

MIN_WORKER_TIMEOUT = 5  # seconds; an idle worker notifies the master once a second
CLIENT_TIMEOUTS = (BlockingIOError, TimeoutError)


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends gunicorn's log lines to the handlers of the service. The application logs the requests."""

    def setup(self, cfg: Any) -> None:
        """Use the formats and handlers of the root logger."""
        self.cfg = cfg
        self.error_log.propagate = True

    def access(self, *_: Any) -> None:
        """Do nothing: the application logs each request."""

    def exception(self, msg: str, *args: Any, **options: Any) -> None:
        """Log an exception, and a client timeout without a traceback."""
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
        "permit_unconventional_http_method": True,  # the application refuses unknown methods
        "forwarder_headers": "",  # no header of a client sets SCRIPT_NAME or PATH_INFO
        "secure_scheme_headers": {},
        "forwarded_allow_ips": "*",  # proxy headers are not used, so their sender needs no check
        "umask": 0o007,  # for a unix socket: its group may connect
        "logger_class": ServerLogger,
        **Hooks(settings).options(),
    }
