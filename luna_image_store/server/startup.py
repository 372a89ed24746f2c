"""The settings that a service runs with: checked at its start, and at each reload, which keeps the old ones if they are invalid."""

import logging
import logging.config
import os
import resource
from dataclasses import replace

from luna_image_store import concurrency, logs
from luna_image_store.imaging.pillow import pillow_problem
from luna_image_store.monitoring import monitor
from luna_image_store.settings import Settings, SettingsError, load
from luna_image_store.storage.disk.files import FILE_MASK
from luna_image_store.storage.factory import create_storage

FILES_PER_THREAD, OTHER_FILES = 8, 64  # that a worker opens beside its connections

logger = logging.getLogger(__name__)

_current: Settings | None = None  # workers have those of their master at the fork


def current_settings(path: str | None = None) -> Settings:
    """Return the settings in effect; load them where none are."""
    return _current or load_settings(path)


def load_settings(path: str | None = None) -> Settings:
    """Load the settings, and put them into effect. Raise SettingsError where the first ones are invalid."""
    global _current
    try:
        settings = load(path)
        check_startup(settings)
    except SettingsError as ex:
        if _current is None:
            raise
        logger.error("reload refused, still running with the previous settings: %s", ex)
        return _current
    logging.config.dictConfig(logs.configuration(settings.logger))
    os.umask(FILE_MASK)
    if _current:  # gunicorn would close its sockets, and end where it cannot have the new ones
        settings = replace(settings, http=replace(settings.http, bind=_current.http.bind))
    _current = settings
    return settings


def check_startup(settings: Settings) -> None:
    """Check that a service can work with these settings, or raise SettingsError."""
    if problem := pillow_problem(settings.images.allow_plain_pillow):
        raise SettingsError(problem)
    monitor.check(settings)
    logs.configuration(settings.logger)
    _check_open_files(settings)
    create_storage(settings)


def _check_open_files(settings: Settings) -> None:
    """Refuse more connections than a worker may have files open: accepting one too many would end it."""
    needed = concurrency.connections(settings) + FILES_PER_THREAD * concurrency.threads(settings) + OTHER_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > allowed != resource.RLIM_INFINITY:
        raise SettingsError(
            f"HTTP.CONNECTIONS: a worker needs up to {needed} open files and is allowed {allowed}; lower HTTP.CONNECTIONS or "
            "HTTP.THREADS, or raise the limit (LimitNOFILE= of systemd, ulimit -n)"
        )
