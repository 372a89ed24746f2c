"""What the processes of `export` do with the records that they are given.

A file gets its name when it is whole, and the time when its record was saved. So one that is there with the length and the
time of the record is that record, and is not written again.
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
STARTS = 3  # of a record that is replaced while it is written out
CLOCK_STEP = 0.001  # seconds: records and most file systems keep milliseconds at least


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of a record: its line in the index, or why it has none."""

    key: Key
    line: Mapping[str, Any] = field(default_factory=dict)
    is_new: bool = False
    fault: str = ""


class RecordExporter:
    """Writes records out as files."""

    def __init__(
        self, threads: int, settings: Settings, bucket: str, folder: str, with_previews: bool, storage: Storage | None = None
    ) -> None:
        """Take `storage`, or else open the one that the settings name."""
        self._storage = storage or targets.open_storage(settings, threads, read_only=True)
        self._threads = ThreadPoolExecutor(threads)
        self._bucket, self._folder, self._with_previews = bucket, folder, with_previews

    def __call__(self, keys: list[Key]) -> list[Exported]:
        """Write the records of a batch."""
        return list(self._threads.map(self._export, keys))

    def _export(self, key: Key) -> Exported:
        try:
            index = self._storage.head(self._bucket, key) if self._may_be_there(key) else None
            is_new = index is None or not self._is_there(key, index)
            if index is None or is_new:
                index = self._write(key)
            return Exported(key, self._line(key, index), is_new)
        except RecordNotFound:  # deleted since it was listed
            return Exported(key)
        except ServiceError as ex:
            return Exported(key, fault=reason(ex))
        except (BadRecord, OSError) as ex:
            return Exported(key, fault=str(ex))

    def _may_be_there(self, key: Key) -> bool:
        endings = ("jpg",) if key.kind is Kind.IMAGE else (*OBJECT_ENDINGS.values(), OTHER_ENDING)
        return any(os.path.exists(f"{self._stem(key)}.{ending}") for ending in endings)

    def _is_there(self, key: Key, index: Index) -> bool:
        try:
            status = os.stat(self._path(key, index))
        except FileNotFoundError:
            return False
        is_same = status.st_size == index.payload.length and abs(status.st_mtime - index.created) < CLOCK_STEP
        return is_same and all(map(os.path.exists, self._preview_paths(key, index).values()))

    def _write(self, key: Key) -> Index:
        """Write a record; start again where it is replaced meanwhile."""
        for _ in range(STARTS):
            if index := self._write_one_version(key):
                return index
        raise BadRecord("it is replaced again and again")

    def _write_one_version(self, key: Key) -> Index | None:
        """Write a record; its own file comes last, after its previews, and not if one of these is another version's."""
        stored = self._storage.open(self._bucket, key)
        index, path = stored.index, self._path(key, stored.index)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        for size, place in self._preview_paths(key, index).items():
            seen, preview = self._storage.preview(self._bucket, key, size)
            if seen != index:
                stored.payload.close()
                return None
            if preview:  # a damaged one is none
                _write_file(place, (preview,), index.created)
        _write_file(path, _checked(stored), index.created)
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


def _checked(stored: StoredRecord) -> Iterator[bytes]:
    """Read a payload, and raise BadRecord at its end where it is not what was stored."""
    crc = 0
    for chunk in stored.payload.chunks():
        crc = crc32(chunk, crc)
        yield chunk
    if crc != stored.index.payload.crc:
        raise BadRecord("the payload fails its CRC")


def _write_file(path: str, chunks: Iterable[bytes], created: float) -> None:
    """Write a file in one step."""
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
