"""The settings in effect. They are checked at the start and at each reload. A reload refuses invalid settings."""

import logging
import logging.config
import os
import resource
from dataclasses import replace

from luna_image_store import concurrency, logs
from luna_image_store.imaging.pillow import pillow_problem
from luna_image_store.monitoring import monitor
from luna_image_store.server.counters import metrics_directory
from luna_image_store.settings import Settings, SettingsError, load
from luna_image_store.storage.base import Storage
from luna_image_store.storage.disk.files import FILE_MASK
from luna_image_store.storage.factory import check_storage, create_storage

FILES_PER_THREAD, OTHER_FILES = 8, 64  # open files of a worker in addition to its connections

logger = logging.getLogger(__name__)

_current: Settings | None = None  # workers inherit the settings of their master
_storage: Storage | None = None  # stays open: the master holds the lock of its root


def current_settings(path: str | None = None) -> Settings:
    """Return the settings in effect. Load them at the first call."""
    return _current or load_settings(path)


def load_settings(path: str | None = None) -> Settings:
    """Load settings and put them into effect.

    Raise SettingsError if they are invalid at the start. Keep the previous settings if they are invalid at a reload.
    """
    global _current
    try:
        settings = load(path)
        check_startup(settings)
        logging.config.dictConfig(logs.configuration(settings.logger))
        if settings.metrics.enabled:
            metrics_directory()
    except Exception as ex:  # the service continues after any error
        if _current is None:
            raise
        logger.error("reload refused, still running with the previous settings: %s", ex)
        return _current
    if _current:  # for another address gunicorn would close its sockets, and exit if it cannot bind the new ones
        settings = replace(settings, http=replace(settings.http, bind=_current.http.bind))
    _current = settings
    return settings


def sweep_storage() -> None:
    """Remove the leftovers of an earlier run from the storage that `check_startup` has opened."""
    if _storage:
        _storage.sweep()


def check_startup(settings: Settings) -> None:
    """Check that the service can run with these settings, and prepare its storage. Raise SettingsError if it cannot.

    At a reload the storage must exist: a new storage in place of a lost mount would hide the loss.
    """
    global _storage
    os.umask(FILE_MASK)
    if problem := pillow_problem(settings.images.allow_plain_pillow):
        raise SettingsError(problem)
    monitor.check(settings)
    _check_open_files(settings)
    if os.path.isdir(settings.http.drain_file):
        raise SettingsError(f"HTTP.DRAIN_FILE: {settings.http.drain_file} is a directory")
    is_prepared = _current is not None and (_current.storage, _current.local_storage) == (settings.storage, settings.local_storage)
    storage = create_storage(settings, prepared=is_prepared)
    if is_prepared:
        check_storage(settings, storage)
    else:
        _storage = storage


def _check_open_files(settings: Settings) -> None:
    """Raise SettingsError if the limit of open files is too low: a worker that exceeds it would exit."""
    needed = concurrency.connections(settings) + FILES_PER_THREAD * concurrency.threads(settings) + OTHER_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > allowed != resource.RLIM_INFINITY:
        raise SettingsError(
            f"HTTP.CONNECTIONS: a worker needs up to {needed} open files and is allowed {allowed}; lower HTTP.CONNECTIONS or "
            "HTTP.THREADS, or raise the limit (LimitNOFILE= of systemd, ulimit -n)"
        )
