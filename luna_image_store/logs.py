"""How log lines look and where they go. Every line of a request carries its id."""

import logging
import os
from contextvars import ContextVar
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from luna_image_store.settings import Section, SettingsError

FIELDS = "%(asctime)s %(levelname)s %(request_id)s %(message)s"
FILE_NAME = "luna-image-store.log"
OLD_FILES = 5
SECONDS_END = len("2026-01-31T23:59:59")

# No line tells of these, and gathering them takes longer than the rest of a line.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # the place in the code, as the manual of `logging` says

request_id: ContextVar[str] = ContextVar("request_id", default="-")


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


def configuration(section: Section) -> dict[str, Any]:
    """Make the configuration for `logging.config.dictConfig` from the settings of the logger."""
    handlers: dict[str, Any] = {}
    if section["LOG_TO_STDOUT"]:
        handlers["stdout"] = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    if section["LOG_TO_FILE"]:
        _check_folder(section["FOLDER_WITH_LOGS"])
        handlers["file"] = {
            "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",
            "filename": os.path.join(section["FOLDER_WITH_LOGS"], FILE_NAME),
            "maxBytes": section["MAX_LOG_FILE_SIZE"] * 10**6,
            "backupCount": OLD_FILES,
        }
    for handler in handlers.values():
        handler |= {"formatter": "lines", "filters": ["request_id"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}},
        "formatters": {"lines": {"()": _formatter, "section": section}},
        "handlers": handlers,
        "root": {"level": section["LOG_LEVEL"], "handlers": list(handlers)},
        "loggers": {"PIL": {"level": "WARNING"}},
    }


def _check_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as ex:
        raise SettingsError(f"LUNA_IMAGE_STORE_LOGGER.FOLDER_WITH_LOGS: {path} can't be used: {ex}") from ex


def _formatter(section: Section) -> logging.Formatter:
    lines = JsonLines(FIELDS) if section["FORMAT"] == "json" else TextLines(FIELDS)
    lines.zone = UTC if section["LOG_TIME"] == "UTC" else None
    return lines
