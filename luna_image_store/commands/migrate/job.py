"""Moving all records of one storage to another, byte for byte, while either may be in use."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter

from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import Patience
from luna_image_store.commands.listing import listed
from luna_image_store.commands.migrate.copier import CopyState, ListedRecord, MigrateOptions, Outcome, RecordCopier
from luna_image_store.commands.process_pool import ProcessPool
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.errors import BucketExists
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Key, Kind, Storage

REPORTED = {CopyState.NEWER, CopyState.DAMAGED, CopyState.FAILED}
BAD = {CopyState.DAMAGED, CopyState.FAILED}


@dataclass(frozen=True)
class Migration:
    """What is moved where: buckets, all of the source if none is named, so many records at the same time."""

    source: Settings
    destination: Settings
    buckets: tuple[str, ...]
    options: MigrateOptions
    parallel: int

    def run(self, report: Report) -> bool:
        """Move, and tell whether all went well."""
        self._check()
        source = targets.open_storage(self.source, 1, read_only=True)
        destination = targets.open_storage(self.destination, 1, read_only=self.options.is_dry)
        if not (buckets := targets.choose_buckets(source, self.buckets)):
            raise SettingsError("SRC has no buckets")
        _check_names(destination, buckets)
        if not self.options.is_dry:
            destination.sweep()
            _make(destination, buckets)
        outcomes = Outcomes(report)
        try:
            self._move(source, destination, buckets, outcomes)
        finally:
            report.summary({"dry_run": self.options.is_dry, **outcomes.summary()})
        return outcomes.are_good() and report.is_whole

    def _check(self) -> None:
        """Raise SettingsError for what can't be meant."""
        targets.check_exists(self.source)
        targets.check_writable(self.destination)
        if targets.name_of(self.source) == targets.name_of(self.destination):
            raise SettingsError("SRC and DST are the same storage")

    def _move(self, source: Storage, destination: Storage, buckets: list[str], outcomes: "Outcomes") -> None:
        workers: ProcessPool[ListedRecord, list[Outcome]] = ProcessPool(
            RecordCopier, (self.source, self.destination, self.options), self.parallel
        )
        both = _of_both(source, destination, buckets, outcomes.report)
        records = both if self.options.deletes else (record for record in both if record.in_source)
        with progress.shown("moving", quiet=outcomes.report.as_json) as bar:
            keys = (key for bucket in buckets for kind in Kind for key in listed(bucket, source.list_keys(bucket, kind)))
            progress.find_total(bar, keys)
            for batch in workers.results(records):
                outcomes.add(batch)
                bar.update(len(batch))


class Outcomes:
    """Counts what became of the records, and reports those that somebody should look at."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._tally = Tally("records", *CopyState, "bytes")
        self._patience = Patience()

    def add(self, outcomes: list[Outcome]) -> None:
        """Count a batch; raise StorageUnavailable where nothing but failures comes any more."""
        for outcome in outcomes:
            self._tally.add("records")
            self._tally.add(outcome.state)
            self._tally.add("bytes", outcome.length)
            if outcome.state in REPORTED:
                self._report(outcome)
            self._patience.note(outcome.state is CopyState.FAILED)

    def are_good(self) -> bool:
        """Report whether nothing is damaged and nothing has failed."""
        return not any(self._tally[state] for state in BAD)

    def summary(self) -> dict[str, object]:
        """Return the counts, and the rate."""
        return self._tally.summary(self._tally["records"])

    def _report(self, outcome: Outcome) -> None:
        kind, record_id = outcome.key.kind.folder, outcome.key.id
        where = {"bucket": outcome.bucket, "kind": kind, "id": record_id}
        detail = f"{outcome.state}: {outcome.detail}"
        self.report.finding(f"{outcome.bucket} {kind} {record_id}", detail, **where, state=outcome.state)


def _check_names(destination: Storage, buckets: list[str]) -> None:
    faults = {bucket: destination.bucket_name_problem(bucket) for bucket in buckets}
    if bad := [f"{bucket}: {rule}" for bucket, rule in faults.items() if rule]:
        raise SettingsError(f"DST does not allow these bucket names; choose other buckets with --bucket: {'; '.join(bad)}")


def _make(destination: Storage, buckets: list[str]) -> None:
    there = set(destination.list_buckets())
    for bucket in buckets:
        if bucket not in there:
            with suppress(BucketExists):  # another one makes it too
                destination.create_bucket(bucket)


def _of_both(source: Storage, destination: Storage, buckets: list[str], report: Report) -> Iterator[ListedRecord]:
    """List the records of both sides, both in the order of their ids, so that none is kept in memory."""
    for bucket in buckets:
        for kind in Kind:
            here = ((key.id, True) for key in listed(bucket, source.list_keys(bucket, kind), report))
            there = ((key.id, False) for key in listed(bucket, destination.list_keys(bucket, kind), report))
            for record_id, group in groupby(merge(here, there), itemgetter(0)):
                found = {in_source for _, in_source in group}
                yield ListedRecord(bucket, Key(kind, record_id), True in found, False in found)
