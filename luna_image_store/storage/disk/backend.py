"""Records as files on a local disk.

    <root>/<bucket>/images/ab/<id>.jpg       ab: the first two digits of the id
    <root>/<bucket>/objects/ab/<id>
    <root>/.tmp/                             temporary files
    <root>/.trash/                           deleted buckets that are being freed
    <root>/.lock                             locked (shared) by all processes that use the root

A bucket is a directory with the directories of both kinds. The storage does not touch other files under the root.
"""

import errno
import fcntl
import logging
import os
import shutil
import stat
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from uuid import uuid4

from luna_image_store.errors import BucketExists, BucketNotFound, RecordDamaged, RecordNotFound, StorageUnavailable
from luna_image_store.storage.base import (
    MAX_IN_MEMORY_PAYLOAD,
    TAIL_READ_SIZE,
    Key,
    Kind,
    ListingEntry,
    MemoryPayload,
    Storage,
    StoredRecord,
    checked_preview,
    damage_reported,
    is_bucket_name,
)
from luna_image_store.storage.disk import files, listing
from luna_image_store.storage.record import Index, decode_index

NOT_FOUND_ERRORS = {errno.ENOENT, errno.ENOTDIR, errno.ENXIO}  # ENXIO: the path is a socket

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


class DiskStorage(Storage):
    """Stores each record in one file under a root directory."""

    def __init__(self, root: str, durable: bool = True, read_only: bool = False, prepared: bool = False) -> None:
        """Create a missing root, unless `read_only` or `prepared`. Raise StorageUnavailable if it cannot be written."""
        self._root = os.path.abspath(root)
        self._temporary = f"{self._root}/.tmp"
        self._trash = f"{self._root}/.trash"
        self._durable = durable
        if not read_only and not prepared:
            self._prepare()
        self._marker = self._root if read_only and not os.path.isdir(self._temporary) else self._temporary

    def _prepare(self) -> None:
        with files.storage_errors("open the storage"):
            for parent in (*files.make_directories(self._temporary), *files.make_directories(self._trash)):
                self._sync_directory(parent)
            self._lock = os.open(f"{self._root}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            weakref.finalize(self, os.close, self._lock)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.check()

    def create_bucket(self, bucket: str) -> None:
        """Create the directories under .tmp, and rename them: a bucket appears with all its directories."""
        target, new = f"{self._root}/{bucket}", f"{self._temporary}/{uuid4().hex}"
        with files.storage_errors("create bucket"):
            if os.path.lexists(target):
                raise BucketExists(bucket)
            try:
                for path in (new, *(f"{new}/{kind.folder}" for kind in Kind)):
                    os.mkdir(path)
                is_created = files.rename_to_free(new, target)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            if not is_created:
                raise BucketExists(bucket)
            self._sync_directory(target)
            self._sync_directory(self._root)

    def delete_bucket(self, bucket: str) -> None:
        """Move the bucket to the trash. A background process frees its space."""
        self._require_bucket(bucket)
        trashed = f"{self._trash}/{uuid4().hex}"
        with files.storage_errors("delete bucket"):
            try:
                os.rename(f"{self._root}/{bucket}", trashed)
            except FileNotFoundError:
                raise BucketNotFound(bucket) from None
            self._sync_directory(self._root)
            self._sync_directory(self._trash)
        files.remove_tree(trashed)

    def list_buckets(self) -> list[str]:
        """Return the sorted names of the directories that are buckets."""
        self._require_root()
        with files.storage_errors("list buckets"), os.scandir(self._root) as entries:
            return sorted(entry.name for entry in entries if is_bucket_name(entry.name) and self._is_bucket(entry.name))

    def write(self, bucket: str, key: Key, content_type: str, record: Iterable[bytes]) -> None:
        """Write and sync a temporary file, rename it, and sync the directory."""
        with files.storage_errors("save"):
            self._save(bucket, key, record)

    def replace(self, bucket: str, key: Key, old: Index, record: Iterable[bytes]) -> bool:
        """Write a temporary file, and compare the old record right before the rename."""
        with files.storage_errors("replace"):
            return self._save(bucket, key, record, old)

    def read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        """Read the end of the record, then the file from its start."""
        with self._opened(bucket, key) as (descriptor, total):
            index = decode_index(files.read_tail(descriptor, total, TAIL_READ_SIZE), total)
            return index, files.FilePayload(os.dup(descriptor), total).chunks()

    def open(self, bucket: str, key: Key) -> StoredRecord:
        """Read a small record at once. A large payload is read later, from the open file."""
        with self._opened(bucket, key) as (descriptor, total):
            tail = files.read_tail(
                descriptor,
                total,
                MAX_IN_MEMORY_PAYLOAD + TAIL_READ_SIZE if total <= MAX_IN_MEMORY_PAYLOAD + TAIL_READ_SIZE else TAIL_READ_SIZE,
            )
            index = decode_index(tail, total)
            if index.payload.length > MAX_IN_MEMORY_PAYLOAD:
                os.lseek(descriptor, 0, os.SEEK_SET)
                return StoredRecord(index, files.FilePayload(os.dup(descriptor), index.payload.length))
            payload = tail[: index.payload.length] if len(tail) == total else files.read_at(descriptor, index.payload.length, 0)
            return StoredRecord(index, MemoryPayload(index.payload.check(payload, "the payload")))

    def preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        """Read the end of the record, which nearly always includes the preview."""
        with self._opened(bucket, key) as (descriptor, total):
            tail = files.read_tail(descriptor, total, TAIL_READ_SIZE)
            index, before = decode_index(tail, total), total - len(tail)

            def read(start: int, length: int) -> bytes:
                return tail[start - before :][:length] if start >= before else files.read_at(descriptor, length, start)

            return index, checked_preview(bucket, key, index, size, read)

    def head(self, bucket: str, key: Key) -> Index:
        """Read the end of the record."""
        with self._opened(bucket, key) as (descriptor, total):
            return decode_index(files.read_tail(descriptor, total, TAIL_READ_SIZE), total)

    def delete(self, bucket: str, key: Key) -> None:
        """Unlink the file, and sync its directory."""
        path = self._path(bucket, key)
        with files.storage_errors("delete"):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require_bucket(bucket)
                raise key.not_found() from None
            self._sync_directory(os.path.dirname(path))

    def delete_many(self, bucket: str, keys: Iterable[Key]) -> None:
        """Unlink the files, and sync each directory once."""
        self._require_bucket(bucket)
        touched = set()
        with files.storage_errors("delete"):
            for path in (self._path(bucket, key) for key in keys):
                with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    os.unlink(path)
                    touched.add(os.path.dirname(path))
            for directory in touched:
                self._sync_directory(directory)

    def list_keys(self, bucket: str, kind: Kind) -> Iterator[Key]:
        """List the shards of one kind."""
        return self._check_listing(bucket, listing.keys(f"{self._root}/{bucket}", kind))

    def entries(self, bucket: str) -> Iterator[ListingEntry]:
        """List all directories of the bucket."""
        return self._check_listing(bucket, listing.entries(f"{self._root}/{bucket}"))

    def _check_listing(self, bucket: str, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items of a listing. Raise if the bucket or the root disappears: then the listing is incomplete."""
        self._require_bucket(bucket)
        yield from items
        self._require_bucket(bucket)

    def strays(self) -> Iterator[ListingEntry]:
        """Yield the other files and directories in the root."""
        return listing.strays(self._root, lambda name: bool(is_bucket_name(name)) and self._is_bucket(name))

    def leftovers(self, buckets: Iterable[str]) -> Iterator[ListingEntry]:
        """Yield the contents of .tmp and .trash, for all buckets: the names do not include the bucket."""
        return listing.leftovers(self._root)

    def check(self) -> None:
        """Create a file and remove it."""
        probe = f"{self._temporary}/{uuid4().hex}"
        with files.storage_errors("health check"):
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
            os.unlink(probe)

    def sweep(self) -> None:
        """Empty .trash. Empty .tmp too, unless another process uses this root."""
        with files.storage_errors("sweep"):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftovers = list(os.scandir(self._temporary))
                for entry in leftovers:
                    files.remove_leftover(entry)
                logger.info("removed %d temporary files of incomplete saves", len(leftovers))
            except BlockingIOError:
                logger.warning("another process uses this storage root; temporary files stay until the next start")
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_SH)
            for entry in os.scandir(self._trash):
                files.remove_tree(entry.path)

    def _path(self, bucket: str, key: Key) -> str:
        return f"{self._root}/{bucket}/{key.kind.folder}/{key.id[:2]}/{key.id}{key.kind.ending}"

    def _is_bucket(self, bucket: str) -> bool:
        return all(os.path.isdir(f"{self._root}/{bucket}/{kind.folder}") for kind in Kind)

    def _require_bucket(self, bucket: str) -> None:
        """Raise BucketNotFound, or StorageUnavailable if the root is missing, such as after an unmount."""
        if not self._is_bucket(bucket):
            self._require_root()
            raise BucketNotFound(bucket)

    def _require_root(self) -> None:
        if not os.path.isdir(self._marker):
            logger.error("storage: %s: %s", "find the root", f"{self._marker} is missing")
            raise StorageUnavailable("find the root")

    def _save(self, bucket: str, key: Key, record: Iterable[bytes], old: Index | None = None) -> bool:
        """Save a record. With `old`, replace that record only, and return False if it has changed."""
        temporary = f"{self._temporary}/{uuid4().hex}"
        try:
            files.write_file(temporary, record, self._durable)
            if old and not self._is_unchanged(bucket, key, old):
                os.unlink(temporary)
                return False
            self._publish(temporary, bucket, key)
            return True
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _is_unchanged(self, bucket: str, key: Key, old: Index) -> bool:
        with suppress(BucketNotFound, RecordNotFound, RecordDamaged):
            return self.head(bucket, key) == old
        return False

    def _publish(self, temporary: str, bucket: str, key: Key) -> None:
        """Rename a finished file to its path. If the sync fails, remove a new record, but keep a replacement."""
        path = self._path(bucket, key)
        shard = os.path.dirname(path)
        written = None if os.path.lexists(path) else os.stat(temporary)
        try:
            os.rename(temporary, path)
        except (FileNotFoundError, NotADirectoryError):
            self._require_bucket(bucket)
            try:
                with suppress(FileExistsError):
                    os.mkdir(shard, files.NEW_DIRECTORY)
                os.rename(temporary, path)
            except FileNotFoundError:
                raise BucketNotFound(bucket) from None
        try:
            if self._durable:
                with suppress(FileNotFoundError):  # the bucket was deleted in the meantime
                    files.sync_new_directory(shard)
        except OSError:
            if written and os.path.samestat(written, os.stat(path)):  # otherwise another save has replaced it
                os.unlink(path)
            raise

    def _sync_directory(self, path: str) -> None:
        """Sync a directory, unless it was deleted with its bucket in the meantime."""
        if self._durable:
            with suppress(FileNotFoundError):
                files.sync_directory(path)

    @contextmanager
    def _opened(self, bucket: str, key: Key) -> Iterator[tuple[int, int]]:
        """Open a record for reading. Yield its file descriptor and its length in bytes."""
        with files.storage_errors("read"):
            try:  # non-blocking, because opening a FIFO would block the thread
                descriptor = os.open(self._path(bucket, key), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as ex:
                if ex.errno not in NOT_FOUND_ERRORS:
                    raise
                self._require_bucket(bucket)
                raise key.not_found() from None
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise key.not_found()
                with damage_reported(bucket, key):
                    yield descriptor, status.st_size
            finally:
                os.close(descriptor)
