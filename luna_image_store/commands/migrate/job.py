"""Copies all records of one storage to another, byte for byte. Services may use both at the same time."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter

from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import FailureLimit
from luna_image_store.commands.listing import list_all
from luna_image_store.commands.migrate.copier import CopyState, ListedRecord, MigrateOptions, Outcome, RecordCopier
from luna_image_store.commands.process_pool import ProcessPool
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.errors import BucketExists
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Key, Kind, Storage

REPORTED = {CopyState.NEWER, CopyState.DAMAGED, CopyState.FAILED}
FAILURES = {CopyState.DAMAGED, CopyState.FAILED}


@dataclass(frozen=True)
class Migration:
    """A migration of buckets, or of all buckets if `buckets` is empty. `parallel`: records at the same time."""

    source: Settings
    destination: Settings
    buckets: tuple[str, ...]
    options: MigrateOptions
    parallel: int

    def run(self, report: Report) -> bool:
        """Copy the records. Return whether all were copied."""
        self._check_storages()
        source = targets.open_storage(self.source, 1, read_only=True)
        destination = targets.open_storage(self.destination, 1, read_only=self.options.dry_run)
        if not (buckets := targets.choose_buckets(source, self.buckets)):
            raise SettingsError("SRC has no buckets")
        _check_names(destination, buckets)
        if not self.options.dry_run:
            destination.sweep()
            _create_missing(destination, buckets)
        outcomes = Outcomes(report)
        try:
            self._copy(source, destination, buckets, outcomes)
        finally:
            report.summary({"dry_run": self.options.dry_run, **outcomes.summary()})
        return not outcomes.has_failures() and report.is_complete

    def _check_storages(self) -> None:
        """Raise SettingsError if a directory does not exist or is not writable, or if both storages are the same."""
        targets.check_exists(self.source)
        targets.check_writable(self.destination)
        if targets.storage_identity(self.source) == targets.storage_identity(self.destination):
            raise SettingsError("SRC and DST are the same storage")

    def _copy(self, source: Storage, destination: Storage, buckets: list[str], outcomes: "Outcomes") -> None:
        workers: ProcessPool[ListedRecord, list[Outcome]] = ProcessPool(
            RecordCopier, (self.source, self.destination, self.options), self.parallel
        )
        both = _list_both(source, destination, buckets, outcomes.report)
        records = both if self.options.delete else (record for record in both if record.in_source)
        with progress.progress_bar("copying", quiet=outcomes.report.as_json) as bar:
            keys = (key for bucket in buckets for kind in Kind for key in list_all(bucket, source.list_keys(bucket, kind)))
            progress.count_total(bar, keys)
            for batch in workers.results(records):
                outcomes.add(batch)
                bar.update(len(batch))


class Outcomes:
    """Counts the results of the records, and reports findings."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._tally = Tally("records", *CopyState, "bytes")
        self._failure_limit = FailureLimit()

    def add(self, outcomes: list[Outcome]) -> None:
        """Count a batch. Raise StorageUnavailable after many failures in a row."""
        for outcome in outcomes:
            self._tally.add("records")
            self._tally.add(outcome.state)
            self._tally.add("bytes", outcome.length)
            if outcome.state in REPORTED:
                self._report(outcome)
            self._failure_limit.count(outcome.state is CopyState.FAILED)

    def has_failures(self) -> bool:
        """Return whether a record is damaged or has failed."""
        return any(self._tally[state] for state in FAILURES)

    def summary(self) -> dict[str, object]:
        """Return the counts and the rate."""
        return self._tally.summary(self._tally["records"])

    def _report(self, outcome: Outcome) -> None:
        kind, record_id = outcome.key.kind.folder, outcome.key.id
        fields = {"bucket": outcome.bucket, "kind": kind, "id": record_id}
        problem = f"{outcome.state}: {outcome.detail}"
        self.report.finding(f"{outcome.bucket} {kind} {record_id}", problem, **fields, state=outcome.state)


def _check_names(destination: Storage, buckets: list[str]) -> None:
    problems = {bucket: destination.bucket_name_problem(bucket) for bucket in buckets}
    if invalid := [f"{bucket}: {problem}" for bucket, problem in problems.items() if problem]:
        raise SettingsError(f"DST does not allow these bucket names; choose other buckets with --bucket: {'; '.join(invalid)}")


def _create_missing(destination: Storage, buckets: list[str]) -> None:
    existing = set(destination.list_buckets())
    for bucket in buckets:
        if bucket not in existing:
            with suppress(BucketExists):  # another process created it in the meantime
                destination.create_bucket(bucket)


def _list_both(source: Storage, destination: Storage, buckets: list[str], report: Report) -> Iterator[ListedRecord]:
    """List the records of both sides. Merge the listings, which are sorted by id, so that memory does not grow."""
    for bucket in buckets:
        for kind in Kind:
            source_ids = ((key.id, True) for key in list_all(bucket, source.list_keys(bucket, kind), report))
            destination_ids = ((key.id, False) for key in list_all(bucket, destination.list_keys(bucket, kind), report))
            for record_id, group in groupby(merge(source_ids, destination_ids), itemgetter(0)):
                sides = {in_source for _, in_source in group}
                yield ListedRecord(bucket, Key(kind, record_id), True in sides, False in sides)
