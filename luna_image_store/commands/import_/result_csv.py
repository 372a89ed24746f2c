"""The result file of an import: a CSV with a row for each file, with its id or its error.

A row is written after its image is stored. If the process is killed, the next import reads the complete rows.
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
    """Result of one file. The id is empty if the file failed."""

    file: str
    bucket: str
    image_id: str = ""
    error_code: str = ""
    error: str = ""


class ResultFile:
    """The rows of one import. `done` has the names of the stored files, which are not imported again."""

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
        """Write rows and sync them."""
        self._writer.writerows((row.file, row.bucket, row.image_id, row.error_code, row.error) for row in rows)
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_result_file(path: str, bucket: str) -> Iterator[ResultFile]:
    """Create a result file, or open it without its failed rows. Raise SettingsError if this is impossible."""
    new = f"{path}.new"
    try:
        with _open(new, "w") as file:
            results = ResultFile(file, _read_stored(path, bucket))
            os.replace(new, path)
            sync_directory(os.path.dirname(os.path.abspath(path)))
            yield results
    except BrokenPipeError:  # from the report to standard output
        raise
    except OSError as ex:
        raise SettingsError(f"cannot write the result file {path}: {ex}") from ex
    except csv.Error as ex:
        raise SettingsError(f"{path} is not the result file of an import: {ex}") from ex
    finally:
        with suppress(OSError):  # the new file still exists if the old one was refused
            os.unlink(new)


def _read_stored(path: str, bucket: str) -> Iterator[list[str]]:
    """Yield the rows of stored images. An incomplete row lacks fields, or has an incomplete id."""
    if not os.path.exists(path):
        return
    with _open(path, "r") as file:
        rows = csv.reader(file)
        if (header := next(rows, HEADER)) != HEADER:
            raise SettingsError(f"{path} is not the result file of an import: it begins with {','.join(header)!r}")
        for row in rows:
            if len(row) == len(HEADER) and is_id(row[2]):
                if row[1] != bucket:
                    raise SettingsError(f"{path} is the result file of an import into bucket {row[1]}; choose another with --csv")
                yield row


def _open(path: str, mode: str) -> Any:
    """Open a result file. File names that are not valid UTF-8 are preserved."""
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="")
