"""Worker processes of `export`: write records to files.

A file gets its name when it is complete. Its modification time is the time when its record was saved. So a file with the length
and the time of the record is up to date, and is not written again.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from luna_image_store.commands import targets
from luna_image_store.commands.report import reason
from luna_image_store.content_types import OBJECT_ENDINGS, media_type
from luna_image_store.errors import RecordNotFound, ServiceError
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Key, Kind, Storage, StoredRecord
from luna_image_store.storage.record import BadRecord, Index

OTHER_ENDING = "bin"
MAX_ATTEMPTS = 3  # for a record that clients replace during the export
CLOCK_STEP = 0.001  # seconds: records and most file systems store milliseconds or finer


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of one record: its line in the index, or a problem. Both are empty if the record was deleted."""

    key: Key
    line: Mapping[str, Any] = field(default_factory=dict)
    is_new: bool = False
    problem: str = ""


class RecordExporter:
    """Writes records to files."""

    def __init__(
        self, threads: int, settings: Settings, bucket: str, folder: str, with_previews: bool, storage: Storage | None = None
    ) -> None:
        """Use `storage`, or open the storage of the settings."""
        self._storage = storage or targets.open_storage(settings, threads, read_only=True)
        self._threads = ThreadPoolExecutor(threads)
        self._bucket, self._folder, self._with_previews = bucket, folder, with_previews

    def __call__(self, keys: list[Key]) -> list[Exported]:
        """Write the records of a batch."""
        return list(self._threads.map(self._export, keys))

    def _export(self, key: Key) -> Exported:
        try:
            index = self._storage.head(self._bucket, key) if self._has_file(key) else None
            is_new = index is None or not self._is_up_to_date(key, index)
            if index is None or is_new:
                index = self._write(key)
            return Exported(key, self._line(key, index), is_new)
        except RecordNotFound:  # deleted since it was listed
            return Exported(key)
        except ServiceError as ex:
            return Exported(key, problem=reason(ex))
        except (BadRecord, OSError) as ex:
            return Exported(key, problem=str(ex))

    def _has_file(self, key: Key) -> bool:
        endings = ("jpg",) if key.kind is Kind.IMAGE else (*OBJECT_ENDINGS.values(), OTHER_ENDING)
        return any(os.path.exists(f"{self._stem(key)}.{ending}") for ending in endings)

    def _is_up_to_date(self, key: Key, index: Index) -> bool:
        try:
            status = os.stat(self._path(key, index))
        except FileNotFoundError:
            return False
        is_same = status.st_size == index.payload.length and abs(status.st_mtime - index.created) < CLOCK_STEP
        return is_same and all(map(os.path.exists, self._preview_paths(key, index).values()))

    def _write(self, key: Key) -> Index:
        """Write a record. Start again if a client replaces it in the meantime."""
        for _ in range(MAX_ATTEMPTS):
            if index := self._write_one_version(key):
                return index
        raise BadRecord(f"the record was replaced during {MAX_ATTEMPTS} attempts to export it")

    def _write_one_version(self, key: Key) -> Index | None:
        """Write the previews, then the payload. Return None if a preview belongs to another version of the record."""
        stored = self._storage.open(self._bucket, key)
        index, path = stored.index, self._path(key, stored.index)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        for size, preview_path in self._preview_paths(key, index).items():
            preview_index, preview = self._storage.preview(self._bucket, key, size)
            if preview_index != index:
                stored.payload.close()
                return None
            if preview:  # None: it is damaged
                _write_file(preview_path, (preview,), index.created)
        _write_file(path, _read_checked(stored), index.created)
        return index

    def _line(self, key: Key, index: Index) -> dict[str, Any]:
        written = {size: path for size, path in self._preview_paths(key, index).items() if os.path.exists(path)}
        previews = {size: os.path.relpath(path, self._folder) for size, path in written.items()}
        return {
            "file": os.path.relpath(self._path(key, index), self._folder),
            "kind": key.kind.folder,
            "id": key.id,
            "content_type": index.content_type,
            "account_id": index.account_id,
            "meta": index.meta,
            "created": index.created,
            "etag": index.etag,
            "bytes": index.payload.length,
            **({"previews": previews} if self._with_previews else {}),
        }

    def _path(self, key: Key, index: Index) -> str:
        ending = "jpg" if key.kind is Kind.IMAGE else OBJECT_ENDINGS.get(media_type(index.content_type), OTHER_ENDING)
        return f"{self._stem(key)}.{ending}"

    def _preview_paths(self, key: Key, index: Index) -> dict[int, str]:
        return {size: f"{self._stem(key)}_{size}.jpg" for size in index.parts} if self._with_previews else {}

    def _stem(self, key: Key) -> str:
        return os.path.join(self._folder, key.kind.folder, key.id[:2], key.id)


def _read_checked(stored: StoredRecord) -> Iterator[bytes]:
    """Yield the chunks of a payload. Raise BadRecord after the last chunk if the CRC is wrong."""
    crc = 0
    for chunk in stored.payload.chunks():
        crc = crc32(chunk, crc)
        yield chunk
    if crc != stored.index.payload.crc:
        raise BadRecord("the payload fails its CRC")


def _write_file(path: str, chunks: Iterable[bytes], created: float) -> None:
    """Write a file under a temporary name, sync it and rename it."""
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.utime(part, (created, created))
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
