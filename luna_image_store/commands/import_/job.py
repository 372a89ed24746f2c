"""Pictures from a directory into a bucket, and a CSV that tells which got which id."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import Patience
from luna_image_store.commands.import_.importer import FileImporter
from luna_image_store.commands.import_.result_csv import ImportRow, Table, continued
from luna_image_store.commands.process_pool import ProcessPool
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.errors import BucketNotFound, StorageFull, StorageTimeout, StorageUnavailable
from luna_image_store.imaging.pillow import pillow_problem
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import is_bucket_name

REFUSALS = {str(error.spec.code) for error in (StorageUnavailable, StorageTimeout, StorageFull, BucketNotFound)}


@dataclass(frozen=True)
class Import:
    """What is imported where: the files below `folder`, so many at the same time."""

    settings: Settings
    folder: str
    bucket: str
    account_id: str | None
    makes_bucket: bool
    table: str
    parallel: int

    def run(self, report: Report) -> bool:
        """Import, and tell whether all was taken."""
        self._prepare()
        with continued(self.table, self.bucket) as table:
            outcomes = Outcomes(report, len(table.done))
            try:
                self._take(table, outcomes)
            finally:
                report.summary({**outcomes.summary(), "csv": self.table})
        return outcomes.are_good()

    def _prepare(self) -> None:
        """Find the bucket, or make it; raise SettingsError for what can't be."""
        if fault := pillow_problem(self.settings.images.allow_plain_pillow):
            raise SettingsError(fault)
        if not is_bucket_name(self.bucket):
            raise SettingsError(
                f"--bucket: {self.bucket!r} is not a valid bucket name; allowed are a-z, 0-9, hyphen and underscore"
            )
        targets.check_writable(self.settings)
        storage = targets.open_storage(self.settings, 1)
        if self.bucket in storage.list_buckets():
            return
        if not self.makes_bucket:
            raise SettingsError(f"--bucket: no such bucket: {self.bucket}; --create-bucket creates it")
        if rule := storage.bucket_name_problem(self.bucket):
            raise SettingsError(f"--bucket: {self.bucket}: {rule}")
        storage.create_bucket(self.bucket)

    def _take(self, table: Table, outcomes: "Outcomes") -> None:
        workers: ProcessPool[str, list[ImportRow]] = ProcessPool(
            FileImporter, (self.settings, self.folder, self.bucket, self.account_id), self.parallel
        )
        with progress.shown("importing", unit="files", quiet=outcomes.report.as_json) as bar:
            progress.find_total(bar, self._new(table.done, lambda _: None))
            for rows in workers.results(self._new(table.done, outcomes.add_unreadable)):
                table.add(rows)
                outcomes.add(rows)
                bar.update(len(rows))

    def _new(self, done: set[str], on_error: Callable[[OSError], None]) -> Iterator[str]:
        own = os.path.relpath(os.path.realpath(self.table), os.path.realpath(self.folder))
        return (name for name in files(self.folder, on_error) if name not in done and name != own)


class Outcomes:
    """Counts what became of the files, and reports those that were not taken."""

    def __init__(self, report: Report, before: int) -> None:
        """`before`: files that an earlier run took."""
        self.report = report
        self._tally = Tally("imported", "imported_before", "failed", unit="files")
        self._tally.add("imported_before", before)
        self._patience = Patience()

    def add(self, rows: list[ImportRow]) -> None:
        """Count a batch; raise StorageUnavailable where the storage takes nothing any more."""
        for row in rows:
            if row.image_id:
                self._tally.add("imported")
            else:
                self._fail(row.file, row.error, row.error_code)
            self._patience.note(row.error_code in REFUSALS)

    def add_unreadable(self, ex: OSError) -> None:
        """Count a directory that can't be read."""
        self._fail(str(ex.filename), ex.strerror or str(ex), "")

    def are_good(self) -> bool:
        """Report whether all files were taken."""
        return not self._tally["failed"]

    def summary(self) -> dict[str, object]:
        """Return the counts, and the rate."""
        return self._tally.summary(self._tally["imported"] + self._tally["failed"])

    def _fail(self, file: str, problem: str, code: str) -> None:
        self._tally.add("failed")
        self.report.finding(file, problem, file=file, error_code=code)


def files(folder: str, on_error: Callable[[OSError], None]) -> Iterator[str]:
    """Name all files below a folder. Links to files count, links to directories are not followed: they may lead in a circle."""
    for place, directories, names in os.walk(folder, onerror=on_error):
        directories.sort()
        yield from (os.path.relpath(os.path.join(place, name), folder) for name in sorted(names))
