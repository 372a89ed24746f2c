"""Worker processes of `import`: store files as images.

The id is computed from bucket, account, name and bytes. So an image that was stored just before a kill, and has no row yet, gets
the same id again. An import never replaces an image of a file with other bytes.
"""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from uuid import UUID, uuid5

from luna_image_store.commands import targets
from luna_image_store.commands.import_.result_csv import ImportRow
from luna_image_store.commands.report import reason
from luna_image_store.errors import BodyEmpty, PayloadTooLarge, ServiceError
from luna_image_store.services import ImageService, render_settings
from luna_image_store.settings import Settings

NAMESPACE = UUID("7c0ffc9b-5a0e-4f5b-9a37-0f4f5f4d6a21")  # random; it must not change, or the ids of imports change
DECODES = 1  # at the same time in each process: there is one process per core


class FileImporter:
    """Stores files as images like a PUT: converts them, renders previews, applies the limits."""

    def __init__(self, threads: int, settings: Settings, folder: str, bucket: str, account_id: str | None) -> None:
        self._images = ImageService(targets.open_storage(settings, threads), render_settings(settings.images), DECODES)
        self._max_size = settings.images.max_size
        self._threads = ThreadPoolExecutor(threads)
        self._folder, self._bucket, self._account_id = folder, bucket, account_id

    def __call__(self, files: list[str]) -> list[ImportRow]:
        """Import the files of a batch."""
        return list(self._threads.map(self._import, files))

    def _import(self, file: str) -> ImportRow:
        try:
            data = _read(os.path.join(self._folder, file), self._max_size)
            image_id = id_of(self._bucket, self._account_id, file, data)
            self._images.replace(self._bucket, image_id, data, self._account_id, {})
        except ServiceError as ex:
            return ImportRow(
                file, self._bucket, error_code=str(ex.spec.code), error=reason(ex) if ex.spec.status >= 500 else str(ex)
            )
        except OSError as ex:
            return ImportRow(file, self._bucket, error=ex.strerror or str(ex))
        return ImportRow(file, self._bucket, image_id)


def id_of(bucket: str, account_id: str | None, file: str, data: bytes) -> str:
    """Return the id of an imported image. Equal arguments have equal ids."""
    digest = sha256(b"\0".join((bucket.encode(), (account_id or "").encode(), os.fsencode(file), b"")))
    digest.update(data)
    return str(uuid5(NAMESPACE, digest.hexdigest()))


def _read(path: str, max_size: int) -> bytes:
    """Read a file. Raise PayloadTooLarge, BodyEmpty, or OSError if it is not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # O_NONBLOCK: opening a pipe must not wait for a writer
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if status.st_size > max_size:
            raise PayloadTooLarge(max_size)
        if not (data := file.read(max_size)):
            raise BodyEmpty
        return data
