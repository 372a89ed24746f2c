"""What the disk storage needs of the file system and the standard library lacks."""

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

FILE_MASK = 0o027  # what is stored is for the service and its group
NAME_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
WRITE_BUFFER = 128 * 1024  # a typical picture leaves in one write
SYNC_STEP = 64 * 2**20  # a large record is synced on the way, so that the last fsync is not mistaken for a hang
NEW_DIRECTORY = 0o777 | stat.S_ISVTX
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}

logger = logging.getLogger(__name__)


@contextmanager
def storage_errors(operation: str) -> Iterator[None]:
    """Turn what the system refuses into errors of the interface; the log keeps the system's words, the client never sees them."""
    try:
        yield
    except OSError as ex:
        logger.error("storage: %s: %s", operation, ex)
        raise (StorageFull if ex.errno in NO_ROOM else StorageUnavailable)(operation) from ex


def write_file(path: str, chunks: Iterable[bytes], durable: bool) -> None:
    """Write a new file, and wait until it has reached the disk if it shall be durable."""
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
    """Read `length` bytes from `start`; fewer only where the file ends."""
    data = os.pread(descriptor, length, start)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data


def read_tail(descriptor: int, total: int, guess: int) -> bytes:
    """Read the last `guess` bytes of a record, more where its index needs more."""
    guess = min(guess, total)
    tail = read_at(descriptor, guess, total - guess)
    needed = min(tail_length(tail), total)
    return tail if needed <= guess else read_at(descriptor, needed, total - needed)


def sync_directory(path: str) -> int:
    """Wait until the names in a directory have reached the disk; give the mode of the directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def sync_new_directory(path: str) -> None:
    """Wait for the names in a directory, and for its own: it has the sticky bit until somebody has done that."""
    if (mode := sync_directory(path)) & stat.S_ISVTX:
        sync_directory(os.path.dirname(path))
        os.chmod(path, stat.S_IMODE(mode) & ~stat.S_ISVTX)


def make_directories(path: str) -> list[str]:
    """Make a directory and the parents that are missing; list the directories that got a new name in them."""
    changed = []
    parent = path
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
        changed.append(parent)
    os.makedirs(path, exist_ok=True)
    return changed


def rename_to_free(path: str, name: str) -> bool:
    """Rename a directory unless something else has that name; it may be gone again by the time that one looks."""
    try:
        os.rename(path, name)
    except OSError as ex:
        if ex.errno in NAME_TAKEN:
            return False
        raise
    return True


class FilePayload(Payload):
    """The first bytes of a file, or a range of them.

    It has a `fileno`, and the position of that descriptor is where the range begins, so a server can send it by `sendfile`.
    """

    def __init__(self, descriptor: int, length: int) -> None:
        """Take over a descriptor of its own; the payload is the first `length` bytes."""
        self._descriptor = descriptor
        self.length = self._left = length

    def set_range(self, start: int, length: int) -> None:
        """Narrow the payload, and move the position of the descriptor."""
        os.lseek(self._descriptor, start, os.SEEK_SET)
        self.length = self._left = length

    def fileno(self) -> int:
        """Give the descriptor, for `sendfile`."""
        return self._descriptor

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from the file."""
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        with storage_errors("read"):
            data = os.read(self._descriptor, wanted)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the descriptor, once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close  # a HEAD or a broken connection may drop it unread


def remove_leftover(entry: "os.DirEntry[str]") -> None:
    """Remove what an unfinished save left; one that can't be removed harms nobody."""
    try:
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    except OSError as ex:
        logger.warning("cannot remove a temporary file: %s", ex)


def remove_tree(path: str) -> None:
    """Remove a tree in a process of its own, left to itself: it neither holds up this one nor ends with it."""
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
