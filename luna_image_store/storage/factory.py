"""Creation of the storage that the settings select."""

from collections.abc import Iterator
from contextlib import contextmanager

from luna_image_store import concurrency
from luna_image_store.errors import ServiceError
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Storage
from luna_image_store.storage.disk.backend import DiskStorage


def create_storage(settings: Settings, read_only: bool = False, prepared: bool = False) -> Storage:
    """Open the storage that the settings select. Raise SettingsError if it cannot be opened.

    `read_only`: create no directories on a disk. `prepared`: another process of the service has created them.
    """
    with _settings_errors(settings):
        if concurrency.is_on_s3(settings):
            from luna_image_store.storage.s3.backend import S3Storage  # it imports boto3, which takes 10 MB in each worker

            return S3Storage(settings.s3, concurrency.threads(settings))
        return DiskStorage(settings.local_storage.path, settings.local_storage.durable, read_only, prepared)


def check_storage(settings: Settings, storage: Storage) -> None:
    """Raise SettingsError if a storage on a disk cannot be written. S3 is not checked: it may be down."""
    if not concurrency.is_on_s3(settings):
        with _settings_errors(settings):
            storage.check()


@contextmanager
def _settings_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except ServiceError as ex:
        name, what = (
            ("S3", "the settings") if concurrency.is_on_s3(settings) else ("LOCAL_STORAGE.PATH", settings.local_storage.path)
        )
        raise SettingsError(f"{name}: cannot use {what}: {ex.__cause__}") from ex
