"""How log lines look and where they go. Every line of a request carries its id."""

import logging
import os
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

from pythonjsonlogger.json import JsonFormatter

from luna_image_store.settings import LoggerSettings, SettingsError

FIELDS = "%(asctime)s %(levelname)s %(request_id)s %(message)s"
FILE_NAME = "luna-image-store.log"
OLD_FILES = 5
SECONDS_END = len("2026-01-31T23:59:59")

# No line tells of these, and gathering them takes longer than the rest of a line.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # the place in the code, as the manual of `logging` says

REQUEST_ID_HEADER = "Luna-Request-Id"

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def new_request_id() -> str:
    """Make a request id of the form that clients use."""
    return f"{int(time.time())},{uuid4()}"


class RequestIdFilter(logging.Filter):
    """Puts the id of the running request on a log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.request_id = request_id.get()
        return True


class IsoTime(logging.Formatter):
    """Writes times as ISO 8601 with milliseconds and zone."""

    zone: Any = None
    _latest = (-1, "", "")  # a second, what is written before its milliseconds and after them

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # the base names it so
        """Write the time of a log record."""
        second, before, after = self._latest
        if second != int(record.created):
            second = int(record.created)
            written = datetime.fromtimestamp(second, UTC).astimezone(self.zone).isoformat()
            before, after = written[:SECONDS_END], written[SECONDS_END:]
            self._latest = second, before, after
        return f"{before}.{int(record.msecs):03d}{after}"


class TextLines(IsoTime):
    """A line of text per log record."""


class JsonLines(IsoTime, JsonFormatter):
    """A JSON object per log record."""


def configuration(settings: LoggerSettings) -> dict[str, Any]:
    """Make the configuration for `logging.config.dictConfig` from the settings of the logger."""
    handlers: dict[str, Any] = {}
    if settings.log_to_stdout:
        handlers["stdout"] = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    if settings.log_to_file:
        _check_folder(settings.folder_with_logs)
        handlers["file"] = {
            "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",
            "filename": os.path.join(settings.folder_with_logs, FILE_NAME),
            "maxBytes": settings.max_log_file_size * 10**6,
            "backupCount": OLD_FILES,
        }
    for handler in handlers.values():
        handler |= {"formatter": "lines", "filters": ["request_id"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}},
        "formatters": {"lines": {"()": _formatter, "settings": settings}},
        "handlers": handlers,
        "root": {"level": settings.log_level, "handlers": list(handlers)},
        "loggers": {"PIL": {"level": "WARNING"}},
    }


def _check_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as ex:
        raise SettingsError(f"LUNA_IMAGE_STORE_LOGGER.FOLDER_WITH_LOGS: cannot use {path}: {ex}") from ex


def _formatter(settings: LoggerSettings) -> logging.Formatter:
    lines = JsonLines(FIELDS) if settings.format == "json" else TextLines(FIELDS)
    lines.zone = UTC if settings.log_time == "UTC" else None
    return lines
