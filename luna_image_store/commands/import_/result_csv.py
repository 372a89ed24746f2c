"""The CSV of an import: a row for each file, with the id that it got, or why it got none.

A row is written once its picture is stored. What a kill leaves is read as far as it is whole.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

from luna_image_store.settings import SettingsError
from luna_image_store.storage.base import is_id
from luna_image_store.storage.disk.files import sync_directory

HEADER = ["file", "bucket", "image_id", "error_code", "error"]


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What became of a file; the id is empty where it was not taken."""

    file: str
    bucket: str
    image_id: str = ""
    error_code: str = ""
    error: str = ""


class Table:
    """The rows of one import; `done` has the files that need not be taken again."""

    def __init__(self, file: TextIO, rows: Iterable[list[str]]) -> None:
        self._file = file
        self._writer = csv.writer(file)
        self._writer.writerow(HEADER)
        self.done = set()
        for row in rows:
            self._writer.writerow(row)
            self.done.add(row[0])
        self._sync()

    def add(self, rows: Iterable[ImportRow]) -> None:
        """Write rows, and wait until they have reached the disk."""
        self._writer.writerows((row.file, row.bucket, row.image_id, row.error_code, row.error) for row in rows)
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def continued(path: str, bucket: str) -> Iterator[Table]:
    """Open the table of an import that begins or goes on, or raise SettingsError. Failures are left out: they are tried again."""
    new = f"{path}.new"
    try:
        with _opened(new, "w") as file:
            table = Table(file, _taken(path, bucket))
            os.replace(new, path)
            sync_directory(os.path.dirname(os.path.abspath(path)))
            yield table
    except BrokenPipeError:  # of what is told meanwhile
        raise
    except OSError as ex:
        raise SettingsError(f"cannot write the result file {path}: {ex}") from ex
    except csv.Error as ex:
        raise SettingsError(f"{path} is not the result file of an import: {ex}") from ex
    finally:
        with suppress(OSError):  # it is there still where the old one was refused
            os.unlink(new)


def _taken(path: str, bucket: str) -> Iterator[list[str]]:
    """Read the rows of the pictures that have been taken. A row that was cut off lacks fields, or a whole id."""
    if not os.path.exists(path):
        return
    with _opened(path, "r") as file:
        rows = csv.reader(file)
        if (header := next(rows, HEADER)) != HEADER:
            raise SettingsError(f"{path} is not the result file of an import: it begins with {','.join(header)!r}")
        for row in rows:
            if len(row) == len(HEADER) and is_id(row[2]):
                if row[1] != bucket:
                    raise SettingsError(f"{path} is the result file of an import into bucket {row[1]}; choose another with --csv")
                yield row


def _opened(path: str, mode: str) -> Any:
    """Open a file of rows; names that are not UTF-8 pass through as they are."""
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="")
