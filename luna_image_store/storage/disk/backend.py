"""Records as files on a local disk.

    <root>/<bucket>/images/ab/<id>.jpg       ab: the first two digits of the id
    <root>/<bucket>/objects/ab/<id>
    <root>/.tmp/                             what is being written
    <root>/.trash/                           buckets that were deleted and are being freed
    <root>/.lock                             held in common by all processes that serve the root

A bucket is a directory with both kinds in it; anything else under the root is a stranger and left alone.
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
    damage_reported,
    is_bucket_name,
    whole_preview,
)
from luna_image_store.storage.disk import files, listing
from luna_image_store.storage.record import Index, decode_index

NO_RECORD = {errno.ENOENT, errno.ENOTDIR, errno.ENXIO}  # the last one: a stray socket

Found = TypeVar("Found")

logger = logging.getLogger(__name__)


class DiskStorage(Storage):
    """Keeps each record in a file of its own under a root directory."""

    def __init__(self, root: str, durable: bool = True, read_only: bool = False, prepared: bool = False) -> None:
        """Make the root where it is missing, unless it is only read; raise StorageUnavailable when it can't be written."""
        self._root = os.path.abspath(root)
        self._temporary = f"{self._root}/.tmp"
        self._trash = f"{self._root}/.trash"
        self._durable = durable
        if not read_only and not prepared:
            self._prepare()
        self._sign = self._root if read_only and not os.path.isdir(self._temporary) else self._temporary

    def _prepare(self) -> None:
        with files.storage_errors("open the storage"):
            for parent in (*files.make_directories(self._temporary), *files.make_directories(self._trash)):
                self._sync_directory(parent)
            self._lock = os.open(f"{self._root}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            weakref.finalize(self, os.close, self._lock)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.check()

    def create_bucket(self, bucket: str) -> None:
        """Make the directories aside and rename them into place, so that no half bucket is ever seen."""
        place, new = f"{self._root}/{bucket}", f"{self._temporary}/{uuid4().hex}"
        with files.storage_errors("create bucket"):
            if os.path.lexists(place):
                raise BucketExists(bucket)
            try:
                for path in (new, *(f"{new}/{kind.folder}" for kind in Kind)):
                    os.mkdir(path)
                is_made = files.rename_to_free(new, place)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            if not is_made:
                raise BucketExists(bucket)
            self._sync_directory(place)
            self._sync_directory(self._root)

    def delete_bucket(self, bucket: str) -> None:
        """Rename the bucket into the trash; its bytes are freed in the background."""
        self._require(bucket)
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
        """List the directories that are buckets."""
        self._require_root()
        with files.storage_errors("list buckets"), os.scandir(self._root) as entries:
            return sorted(entry.name for entry in entries if is_bucket_name(entry.name) and self._is_bucket(entry.name))

    def write(self, bucket: str, key: Key, content_type: str, record: Iterable[bytes]) -> None:
        """Write a temporary file, fsync it, rename it into place, fsync the directory."""
        with files.storage_errors("save"):
            self._save(bucket, key, record)

    def replace(self, bucket: str, key: Key, old: Index, record: Iterable[bytes]) -> bool:
        """Write as for a save, and look right before the file is renamed."""
        with files.storage_errors("replace"):
            return self._save(bucket, key, record, old)

    def read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        """Read the tail of the record, then the file from its beginning."""
        with self._reading(bucket, key) as (descriptor, total):
            index = decode_index(files.read_tail(descriptor, total, TAIL_READ_SIZE), total)
            return index, files.FilePayload(os.dup(descriptor), total).chunks()

    def open(self, bucket: str, key: Key) -> StoredRecord:
        """Read a small record in one go; leave a large payload in its file."""
        with self._reading(bucket, key) as (descriptor, total):
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
        """Read the tail of the record, which nearly always holds the preview too."""
        with self._reading(bucket, key) as (descriptor, total):
            tail = files.read_tail(descriptor, total, TAIL_READ_SIZE)
            index, before = decode_index(tail, total), total - len(tail)

            def read(start: int, length: int) -> bytes:
                return tail[start - before :][:length] if start >= before else files.read_at(descriptor, length, start)

            return index, whole_preview(bucket, key, index, size, read)

    def head(self, bucket: str, key: Key) -> Index:
        """Read the tail of the record."""
        with self._reading(bucket, key) as (descriptor, total):
            return decode_index(files.read_tail(descriptor, total, TAIL_READ_SIZE), total)

    def delete(self, bucket: str, key: Key) -> None:
        """Unlink the file and fsync its directory."""
        path = self._path(bucket, key)
        with files.storage_errors("delete"):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require(bucket)
                raise key.not_found() from None
            self._sync_directory(os.path.dirname(path))

    def delete_many(self, bucket: str, keys: Iterable[Key]) -> None:
        """Unlink the files and fsync each directory once."""
        self._require(bucket)
        touched = set()
        with files.storage_errors("delete"):
            for path in (self._path(bucket, key) for key in keys):
                with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    os.unlink(path)
                    touched.add(os.path.dirname(path))
            for directory in touched:
                self._sync_directory(directory)

    def list_keys(self, bucket: str, kind: Kind) -> Iterator[Key]:
        """Walk the directories of one kind."""
        return self._listed(bucket, listing.keys(f"{self._root}/{bucket}", kind))

    def entries(self, bucket: str) -> Iterator[ListingEntry]:
        """Walk all directories of the bucket."""
        return self._listed(bucket, listing.in_bucket(f"{self._root}/{bucket}"))

    def _listed(self, bucket: str, found: Iterator[Found]) -> Iterator[Found]:
        """Pass a list on; one that ended because its bucket or the root has gone is not the whole."""
        self._require(bucket)
        yield from found
        self._require(bucket)

    def strays(self) -> Iterator[ListingEntry]:
        """List what else lies in the root."""
        return listing.in_root(self._root, lambda name: bool(is_bucket_name(name)) and self._is_bucket(name))

    def leftovers(self, buckets: Iterable[str]) -> Iterator[ListingEntry]:
        """List what lies in .tmp and .trash, where nothing tells its bucket."""
        return listing.in_work(self._root)

    def check(self) -> None:
        """Make a file and remove it again."""
        probe = f"{self._temporary}/{uuid4().hex}"
        with files.storage_errors("health check"):
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
            os.unlink(probe)

    def sweep(self) -> None:
        """Clear .tmp and .trash, unless another service still works on this root."""
        with files.storage_errors("sweep"):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftovers = list(os.scandir(self._temporary))
                for entry in leftovers:
                    files.remove_leftover(entry)
                logger.info("removed %d temporary files of incomplete saves", len(leftovers))
            except BlockingIOError:
                logger.warning("another process uses this storage root; temporary files are not cleaned up now")
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_SH)
            for entry in os.scandir(self._trash):
                files.remove_tree(entry.path)

    def _path(self, bucket: str, key: Key) -> str:
        return f"{self._root}/{bucket}/{key.kind.folder}/{key.id[:2]}/{key.id}{key.kind.ending}"

    def _is_bucket(self, bucket: str) -> bool:
        return all(os.path.isdir(f"{self._root}/{bucket}/{kind.folder}") for kind in Kind)

    def _require(self, bucket: str) -> None:
        """Raise BucketNotFound; but where the root itself is gone, a lost mount, nothing is known of any bucket."""
        if not self._is_bucket(bucket):
            self._require_root()
            raise BucketNotFound(bucket)

    def _require_root(self) -> None:
        if not os.path.isdir(self._sign):
            logger.error("storage: %s: %s", "find the root", f"{self._sign} is missing")
            raise StorageUnavailable("find the root")

    def _save(self, bucket: str, key: Key, record: Iterable[bytes], old: Index | None = None) -> bool:
        """Save a record; in place of `old` only, if that is given."""
        temporary = f"{self._temporary}/{uuid4().hex}"
        try:
            files.write_file(temporary, record, self._durable)
            if old and not self._is_still(bucket, key, old):
                os.unlink(temporary)
                return False
            self._publish(temporary, bucket, key)
            return True
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _is_still(self, bucket: str, key: Key, old: Index) -> bool:
        with suppress(BucketNotFound, RecordNotFound, RecordDamaged):
            return self.head(bucket, key) == old
        return False

    def _publish(self, temporary: str, bucket: str, key: Key) -> None:
        """Give a finished file its name. If that can't be made durable a new record is taken back; a replaced one is not."""
        path = self._path(bucket, key)
        shard = os.path.dirname(path)
        written = None if os.path.lexists(path) else os.stat(temporary)
        try:
            os.rename(temporary, path)
        except (FileNotFoundError, NotADirectoryError):
            self._require(bucket)
            try:
                with suppress(FileExistsError):
                    os.mkdir(shard, files.NEW_DIRECTORY)
                os.rename(temporary, path)
            except FileNotFoundError:
                raise BucketNotFound(bucket) from None
        try:
            if self._durable:
                with suppress(FileNotFoundError):  # deleted meanwhile, with its bucket
                    files.sync_new_directory(shard)
        except OSError:
            if written and os.path.samestat(written, os.stat(path)):  # else another save has taken its place
                os.unlink(path)
            raise

    def _sync_directory(self, path: str) -> None:
        """Make the names in a directory durable, unless it has been deleted meanwhile, with its bucket."""
        if self._durable:
            with suppress(FileNotFoundError):
                files.sync_directory(path)

    @contextmanager
    def _reading(self, bucket: str, key: Key) -> Iterator[tuple[int, int]]:
        """Open a record for reading; give its descriptor and its length in bytes."""
        with files.storage_errors("read"):
            try:  # non-blocking, so that a stray FIFO can't hold the worker
                descriptor = os.open(self._path(bucket, key), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as ex:
                if ex.errno not in NO_RECORD:
                    raise
                self._require(bucket)
                raise key.not_found() from None
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise key.not_found()
                with damage_reported(bucket, key):
                    yield descriptor, status.st_size
            finally:
                os.close(descriptor)
