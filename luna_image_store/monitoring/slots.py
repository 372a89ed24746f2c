"""Where the workers count together: a directory of files in memory, for each worker the files of its number.

A worker takes the first number that no living one has, and goes on where the number's last holder stopped. So there are only as
many files as there were workers at the same time, however many come and go, and no counter falls. What is held is held by locks,
which end with their process, however it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

PREFIX = "luna-image-store-metrics-"


class Slots:
    """The directory of one master; it has the hooks by which gunicorn tells of its workers."""

    def __init__(self, parent: str) -> None:
        self.path = Path(parent, f"{PREFIX}{os.getpid()}")  # also after a reload, in which the master becomes another program
        self._held: list[int] = []

    def make(self, server: Any, worker: Any) -> None:
        """Make the directory, or take over that of before a reload; remove those that masters left which were killed.

        A master and its workers hold a lock on theirs. It gets its name when it is locked, so that nobody takes it for left.
        """
        if self._held:
            return
        for directory in self.path.parent.glob(f"{PREFIX}*"):
            if _is_free(directory):
                rmtree(directory, ignore_errors=True)
        unnamed = self.path if self.path.exists() else self.path.with_name(f".{self.path.name}")
        unnamed.mkdir(0o700, exist_ok=True)
        self._held.append(os.open(unnamed, os.O_RDONLY))
        fcntl.flock(self._held[-1], fcntl.LOCK_SH)
        unnamed.rename(self.path)

    def enter(self, server: Any, worker: Any) -> None:
        """Take a number and count under it from now on: called in the worker."""
        from luna_image_store.monitoring.prometheus import share

        self.path.mkdir(0o700, exist_ok=True)  # somebody may have cleaned up: no reason not to serve
        with self._alone():
            share(self.path, next(number for number in count() if self._take(number)))

    def leave(self, server: Any, worker: Any) -> None:
        """Forget what dead workers did at the moment."""
        with suppress(FileNotFoundError), self._alone():  # the master must live on, whoever has removed the directory
            for lock in self.path.glob("*.lock"):
                if _is_free(lock):
                    self._forget(lock.stem)

    def remove(self, server: Any) -> None:
        """Remove the directory, at the end."""
        rmtree(self.path, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from looking while locks are tried: to try one is to hold it for a moment."""
        descriptor = os.open(self.path / "mutex", os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _take(self, number: int) -> bool:
        descriptor = os.open(self.path / f"{number}.lock", os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._held.append(descriptor)
        self._forget(str(number))
        return True

    def _forget(self, number: str) -> None:
        for file in self.path.glob(f"gauge_live*_{number}.db"):
            file.unlink(missing_ok=True)


def _is_free(path: Path) -> bool:
    """Tell whether no living process holds a file or directory."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # another's, or gone by now
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
