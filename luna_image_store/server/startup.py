"""The settings that a service runs with: checked at its start, and at each reload, which keeps the old ones if they are invalid."""

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

FILES_PER_THREAD, OTHER_FILES = 8, 64  # that a worker opens beside its connections

logger = logging.getLogger(__name__)

_current: Settings | None = None  # workers have those of their master at the fork
_storage: Storage | None = None  # kept open: the master holds the lock of its root


def current_settings(path: str | None = None) -> Settings:
    """Return the settings in effect; load them where none are."""
    return _current or load_settings(path)


def load_settings(path: str | None = None) -> Settings:
    """Load the settings, and put them into effect. Raise SettingsError where the first ones are invalid."""
    global _current
    try:
        settings = load(path)
        check_startup(settings)
        logging.config.dictConfig(logs.configuration(settings.logger))
        if settings.metrics.enabled:
            metrics_directory()
    except Exception as ex:  # whatever it is: the service goes on
        if _current is None:
            raise
        logger.error("reload refused, still running with the previous settings: %s", ex)
        return _current
    if _current:  # gunicorn would close its sockets, and end where it cannot have the new ones
        settings = replace(settings, http=replace(settings.http, bind=_current.http.bind))
    _current = settings
    return settings


def sweep_storage() -> None:
    """Remove what an earlier run left half done in the storage that the check of the settings has opened."""
    if _storage:
        _storage.sweep()


def check_startup(settings: Settings) -> None:
    """Check that a service can work with these settings, and prepare its storage; raise SettingsError where it can't.

    At a reload the storage must be there: making a new one in place of a lost mount would hide the loss.
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
    """Refuse more connections than a worker may have files open: accepting one too many would end it."""
    needed = concurrency.connections(settings) + FILES_PER_THREAD * concurrency.threads(settings) + OTHER_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > allowed != resource.RLIM_INFINITY:
        raise SettingsError(
            f"HTTP.CONNECTIONS: a worker needs up to {needed} open files and is allowed {allowed}; lower HTTP.CONNECTIONS or "
            "HTTP.THREADS, or raise the limit (LimitNOFILE= of systemd, ulimit -n)"
        )
