"""How a tool ends: what its exit code says."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import NoReturn

from luna_image_store.commands.report import reason
from luna_image_store.errors import ServiceError, StorageUnavailable
from luna_image_store.settings import SettingsError

GOOD = 0
FAULTY = 1  # something is damaged, or has failed
REFUSED = 2  # the settings or the arguments will not do; click gives it too
INTERRUPTED = 130  # by Ctrl+C, as a shell has it
GIVE_UP = 100  # failures in a row, if a tool says nothing else: the storage is full, or gone


class Patience:
    """Gives up where nothing but failures comes any more."""

    def __init__(self, limit: int = GIVE_UP, words: str = "have failed") -> None:
        """`limit`: failures in a row; `words`: what is told of so many records then."""
        self._limit = limit
        self._words = words
        self._in_a_row = 0

    def note(self, has_failed: bool) -> None:
        """Note how one record went; raise StorageUnavailable when it is time to give up."""
        self._in_a_row = self._in_a_row + 1 if has_failed else 0
        if self._in_a_row >= self._limit:
            raise StorageUnavailable(f"{self._in_a_row} records in a row {self._words}")


def run(tool: Callable[[], bool]) -> NoReturn:
    """Run a tool, which tells whether all is good, and exit."""
    try:
        code = GOOD if tool() else FAULTY
    except SettingsError as ex:
        code = _told(REFUSED, str(ex))
    except ServiceError as ex:
        code = _told(FAULTY, reason(ex))
    except BrokenProcessPool:
        code = _told(FAULTY, "a process that worked was killed; if it was for want of memory, try a smaller --parallel")
    except KeyboardInterrupt:
        code = _told(INTERRUPTED, "interrupted")
    sys.exit(code)


def _told(code: int, message: str) -> int:
    print(f"luna-image-store: {message}", file=sys.stderr)
    return code
