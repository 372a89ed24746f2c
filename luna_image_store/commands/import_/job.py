"""Imports the images of a directory into a bucket, with a result file of their ids."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import FailureLimit
from luna_image_store.commands.import_.importer import FileImporter
from luna_image_store.commands.import_.result_csv import ImportRow, ResultFile, open_result_file
from luna_image_store.commands.process_pool import ProcessPool
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.errors import BucketNotFound, StorageFull, StorageTimeout, StorageUnavailable
from luna_image_store.imaging.pillow import pillow_problem
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import is_bucket_name

STORAGE_ERRORS = {str(error.spec.code) for error in (StorageUnavailable, StorageTimeout, StorageFull, BucketNotFound)}


@dataclass(frozen=True)
class Import:
    """An import of the files below `folder`. `parallel`: files at the same time."""

    settings: Settings
    folder: str
    bucket: str
    account_id: str | None
    creates_bucket: bool
    result_file: str
    parallel: int

    def run(self, report: Report) -> bool:
        """Import the files. Return whether all files were stored."""
        self._prepare()
        with open_result_file(self.result_file, self.bucket) as results:
            outcomes = Outcomes(report, len(results.done))
            try:
                self._import(results, outcomes)
            finally:
                report.summary({**outcomes.summary(), "csv": self.result_file})
        return not outcomes.has_failures()

    def _prepare(self) -> None:
        """Check the settings and the bucket, and create the bucket if requested. Raise SettingsError if this is impossible."""
        if problem := pillow_problem(self.settings.images.allow_plain_pillow):
            raise SettingsError(problem)
        if not is_bucket_name(self.bucket):
            raise SettingsError(
                f"--bucket: {self.bucket!r} is not a valid bucket name; allowed are a-z, 0-9, hyphen and underscore"
            )
        targets.check_writable(self.settings)
        storage = targets.open_storage(self.settings, 1)
        if self.bucket in storage.list_buckets():
            return
        if not self.creates_bucket:
            raise SettingsError(f"--bucket: no such bucket: {self.bucket}; --create-bucket creates it")
        if problem := storage.bucket_name_problem(self.bucket):
            raise SettingsError(f"--bucket: {self.bucket}: {problem}")
        storage.create_bucket(self.bucket)

    def _import(self, results: ResultFile, outcomes: "Outcomes") -> None:
        workers: ProcessPool[str, list[ImportRow]] = ProcessPool(
            FileImporter, (self.settings, self.folder, self.bucket, self.account_id), self.parallel
        )
        with progress.progress_bar("importing", unit="files", quiet=outcomes.report.as_json) as bar:
            progress.count_total(bar, self._new_files(results.done, lambda _: None))
            for rows in workers.results(self._new_files(results.done, outcomes.add_unreadable)):
                results.add(rows)
                outcomes.add(rows)
                bar.update(len(rows))

    def _new_files(self, done: set[str], on_error: Callable[[OSError], None]) -> Iterator[str]:
        result_file = os.path.relpath(os.path.realpath(self.result_file), os.path.realpath(self.folder))
        return (name for name in list_files(self.folder, on_error) if name not in done and name != result_file)


class Outcomes:
    """Counts the results of the files, and reports failed files."""

    def __init__(self, report: Report, imported_before: int) -> None:
        """`imported_before`: number of files that an earlier run stored."""
        self.report = report
        self._tally = Tally("imported", "imported_before", "failed", unit="files")
        self._tally.add("imported_before", imported_before)
        self._failure_limit = FailureLimit()

    def add(self, rows: list[ImportRow]) -> None:
        """Count a batch. Raise StorageUnavailable after many errors of the storage in a row."""
        for row in rows:
            if row.image_id:
                self._tally.add("imported")
            else:
                self._fail(row.file, row.error, row.error_code)
            self._failure_limit.count(row.error_code in STORAGE_ERRORS)

    def add_unreadable(self, ex: OSError) -> None:
        """Count a directory that cannot be read."""
        self._fail(str(ex.filename), ex.strerror or str(ex), "")

    def has_failures(self) -> bool:
        """Return whether a file or a directory failed."""
        return self._tally["failed"] > 0

    def summary(self) -> dict[str, object]:
        """Return the counts and the rate."""
        return self._tally.summary(self._tally["imported"] + self._tally["failed"])

    def _fail(self, file: str, problem: str, code: str) -> None:
        self._tally.add("failed")
        self.report.finding(file, problem, file=file, error_code=code)


def list_files(folder: str, on_error: Callable[[OSError], None]) -> Iterator[str]:
    """Yield the relative paths of all files below a folder. Do not follow links to directories: they can form a loop."""
    for directory, subdirectories, names in os.walk(folder, onerror=on_error):
        subdirectories.sort()
        yield from (os.path.relpath(os.path.join(directory, name), folder) for name in sorted(names))
