"""The format and the destinations of the log. Each line of a request has its request id."""

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

# No log line contains these values. They would take more time than the rest of a line.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # the place in the code; the manual of `logging` describes this switch

REQUEST_ID_HEADER = "Luna-Request-Id"

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def new_request_id() -> str:
    """Return a new request id in the format of the HTTP interface."""
    return f"{int(time.time())},{uuid4()}"


class RequestIdFilter(logging.Filter):
    """Adds the request id to each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set `request_id` of a log record. Return True, so that no record is dropped."""
        record.request_id = request_id.get()
        return True


class IsoTime(logging.Formatter):
    """Formats times as ISO 8601 with milliseconds and time zone."""

    zone: Any = None
    _latest = (-1, "", "")  # the last second, the text before its milliseconds, the text after them

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # the name of the base class
        """Return the time of a log record as text."""
        second, before, after = self._latest
        if second != int(record.created):
            second = int(record.created)
            written = datetime.fromtimestamp(second, UTC).astimezone(self.zone).isoformat()
            before, after = written[:SECONDS_END], written[SECONDS_END:]
            self._latest = second, before, after
        return f"{before}.{int(record.msecs):03d}{after}"


class TextLines(IsoTime):
    """Formats each log record as a line of text."""


class JsonLines(IsoTime, JsonFormatter):
    """Formats each log record as a JSON object."""


def configuration(settings: LoggerSettings) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`. Raise SettingsError if the log folder cannot be used."""
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
