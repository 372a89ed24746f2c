"""Which storage the settings name."""

from collections.abc import Iterator
from contextlib import contextmanager

from luna_image_store import concurrency
from luna_image_store.errors import ServiceError
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Storage
from luna_image_store.storage.disk.backend import DiskStorage


def create_storage(settings: Settings, read_only: bool = False, prepared: bool = False) -> Storage:
    """Open the storage that the settings name, or raise SettingsError.

    `read_only`: nothing is made on a disk. `prepared`: another process of the service has made what is missing.
    """
    with _named(settings):
        if concurrency.is_on_s3(settings):
            from luna_image_store.storage.s3.backend import S3Storage  # with boto3, 10 MB of each worker

            return S3Storage(settings.s3, concurrency.threads(settings))
        return DiskStorage(settings.local_storage.path, settings.local_storage.durable, read_only, prepared)


def check_storage(settings: Settings, storage: Storage) -> None:
    """Raise SettingsError unless a storage on a disk can be written; S3 may be down."""
    if not concurrency.is_on_s3(settings):
        with _named(settings):
            storage.check()


@contextmanager
def _named(settings: Settings) -> Iterator[None]:
    try:
        yield
    except ServiceError as ex:
        name, what = (
            ("S3", "the settings") if concurrency.is_on_s3(settings) else ("LOCAL_STORAGE.PATH", settings.local_storage.path)
        )
        raise SettingsError(f"{name}: cannot use {what}: {ex.__cause__}") from ex
