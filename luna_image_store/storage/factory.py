"""Which storage the settings name."""

from luna_image_store import concurrency
from luna_image_store.errors import ServiceError
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Storage
from luna_image_store.storage.disk.backend import DiskStorage


def create_storage(settings: Settings, read_only: bool = False) -> Storage:
    """Open the storage that the settings name, or raise SettingsError. `is_only_read`: nothing is made on a disk."""
    path, durable = settings.local_storage.path, settings.local_storage.durable
    on_s3 = concurrency.is_on_s3(settings)
    try:
        return _s3_storage(settings) if on_s3 else DiskStorage(path, durable, read_only)
    except ServiceError as ex:
        name = "S3: the settings" if on_s3 else f"LOCAL_STORAGE.PATH: {path}"
        raise SettingsError(f"{name} can't be used: {ex.__cause__}") from ex


def _s3_storage(settings: Settings) -> Storage:
    from luna_image_store.storage.s3.backend import S3Storage  # with boto3, 10 MB of each worker

    return S3Storage(settings.s3, concurrency.threads(settings))
