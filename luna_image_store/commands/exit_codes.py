"""Exit codes of the commands."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import NoReturn

from luna_image_store.commands.report import reason
from luna_image_store.errors import ServiceError, StorageUnavailable
from luna_image_store.settings import SettingsError

SUCCESS = 0
FAILURE = 1  # a record is damaged, or an operation failed
USAGE_ERROR = 2  # the settings or the arguments are invalid; click uses the same code
INTERRUPTED = 130  # Ctrl+C, the same code as in a shell
MAX_FAILURES = 100  # in a row: the storage is full or unavailable


class FailureLimit:
    """Stops a command after many failures in a row."""

    def __init__(self, limit: int = MAX_FAILURES, problem: str = "have failed") -> None:
        """`limit`: failures in a row; `problem`: the end of the error message, after the number of records."""
        self._limit = limit
        self._problem = problem
        self._in_a_row = 0

    def count(self, has_failed: bool) -> None:
        """Count the result of one record. Raise StorageUnavailable at the limit."""
        self._in_a_row = self._in_a_row + 1 if has_failed else 0
        if self._in_a_row >= self._limit:
            raise StorageUnavailable(f"{self._in_a_row} records in a row {self._problem}")


def run(command: Callable[[], bool]) -> NoReturn:
    """Run a command, which returns whether it succeeded, and exit."""
    try:
        code = SUCCESS if command() else FAILURE
    except SettingsError as ex:
        code = _print_error(USAGE_ERROR, str(ex))
    except ServiceError as ex:
        code = _print_error(FAILURE, reason(ex))
    except BrokenProcessPool:
        code = _print_error(FAILURE, "a worker process was killed; if memory was exhausted, use a smaller --parallel")
    except KeyboardInterrupt:
        code = _print_error(INTERRUPTED, "interrupted")
    sys.exit(code)


def _print_error(code: int, message: str) -> int:
    print(f"luna-image-store: {message}", file=sys.stderr)
    return code
