"""File system functions of the disk storage."""

import errno
import logging
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from luna_image_store.errors import StorageFull, StorageUnavailable
from luna_image_store.storage.base import Payload
from luna_image_store.storage.record import tail_length

FILE_MASK = 0o027  # umask: only the service and its group may read the records
NAME_TAKEN_ERRORS = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
WRITE_BUFFER = 128 * 1024  # the record of a typical image is one write
SYNC_STEP = 64 * 2**20  # bytes; a large record is synced in steps, because one long fsync would look like a hang
NEW_DIRECTORY = 0o777 | stat.S_ISVTX
DISK_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}

logger = logging.getLogger(__name__)


@contextmanager
def storage_errors(operation: str) -> Iterator[None]:
    """Log an OSError, and raise StorageFull or StorageUnavailable. Clients do not get the message of the system."""
    try:
        yield
    except OSError as ex:
        logger.error("storage: %s: %s", operation, ex)
        raise (StorageFull if ex.errno in DISK_FULL_ERRORS else StorageUnavailable)(operation) from ex


def write_file(path: str, chunks: Iterable[bytes], durable: bool) -> None:
    """Write a new file. If `durable`, sync it."""
    with open(path, "xb", buffering=WRITE_BUFFER) as file:
        unsynced = 0
        for chunk in chunks:
            file.write(chunk)
            unsynced += len(chunk)
            if durable and unsynced >= SYNC_STEP:
                unsynced = 0
                _sync(file)
        if durable:
            _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def read_at(descriptor: int, length: int, start: int) -> bytes:
    """Read `length` bytes from `start`. Return fewer only at the end of the file."""
    data = os.pread(descriptor, length, start)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data


def read_tail(descriptor: int, total: int, guess: int) -> bytes:
    """Read the last `guess` bytes of a record, or more if its index is longer."""
    guess = min(guess, total)
    tail = read_at(descriptor, guess, total - guess)
    needed = min(tail_length(tail), total)
    return tail if needed <= guess else read_at(descriptor, needed, total - needed)


def sync_directory(path: str) -> int:
    """Sync a directory, and return its mode."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def sync_new_directory(path: str) -> None:
    """Sync a directory. If it is new (sticky bit set), sync its parent too, then clear the bit."""
    if (mode := sync_directory(path)) & stat.S_ISVTX:
        sync_directory(os.path.dirname(path))
        os.chmod(path, stat.S_IMODE(mode) & ~stat.S_ISVTX)


def make_directories(path: str) -> list[str]:
    """Create a directory and its missing parents. Return the directories that have a new entry."""
    changed = []
    parent = path
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
        changed.append(parent)
    os.makedirs(path, exist_ok=True)
    return changed


def rename_to_free(path: str, name: str) -> bool:
    """Rename a directory. Return False if the name is taken. Another process may free the name right after."""
    try:
        os.rename(path, name)
    except OSError as ex:
        if ex.errno in NAME_TAKEN_ERRORS:
            return False
        raise
    return True


class FilePayload(Payload):
    """The first bytes of a file, or a range of them.

    The position of the descriptor is the start of the range, so a server can send it with `sendfile`.
    """

    def __init__(self, descriptor: int, length: int) -> None:
        """Take ownership of a descriptor. The payload is the first `length` bytes."""
        self._descriptor = descriptor
        self.length = self._left = length

    def set_range(self, start: int, length: int) -> None:
        """Limit the payload, and move the position of the descriptor."""
        os.lseek(self._descriptor, start, os.SEEK_SET)
        self.length = self._left = length

    def fileno(self) -> int:
        """Return the descriptor, for `sendfile`."""
        return self._descriptor

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from the file."""
        count = self._left if size is None or size < 0 else min(size, self._left)
        with storage_errors("read"):
            data = os.read(self._descriptor, count)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the descriptor, unless it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close  # after HEAD or a lost connection, nothing else closes it


def remove_leftover(entry: "os.DirEntry[str]") -> None:
    """Remove a leftover of an incomplete save. Log an error only: the leftover does no harm."""
    try:
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    except OSError as ex:
        logger.warning("cannot remove a temporary file: %s", ex)


def remove_tree(path: str) -> None:
    """Remove a tree in a separate process, which neither delays this process nor ends with it."""
    try:
        _start_removal(path)
    except (OSError, subprocess.SubprocessError) as ex:
        logger.warning("cannot free a deleted bucket now; the next start frees it: %s", ex)


def _start_removal(path: str) -> None:
    subprocess.run(
        ("sh", "-c", 'rm -rf -- "$1" &', "sh", path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )
