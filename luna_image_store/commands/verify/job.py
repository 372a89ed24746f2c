"""Reads all records of a storage, which may be in use, and reports damaged records, strays and leftovers."""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from luna_image_store import concurrency
from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import FailureLimit
from luna_image_store.commands.listing import list_all
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.commands.verify.inspection import Finding, Inspector, RecordState
from luna_image_store.services import render_settings
from luna_image_store.settings import Settings, load
from luna_image_store.storage.base import Key, ListingEntry, Storage

PARALLEL_ON_S3 = 8  # records: most of the time they wait for S3
MAX_CATCH_UP = 0.1  # seconds
MAX_FAILURES = 20  # in a row: the storage is unavailable
FAILURES = (RecordState.DAMAGED, RecordState.FAILED)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """Options of the command. `rate`: records per second; `leftover_age`: seconds."""

    deep: bool = False
    repair: bool = False
    rate: float = 0
    leftover_age: float = 3600


def run(path: str | None, named: tuple[str, ...], options: VerifyOptions, report: Report) -> bool:
    """Verify the storage of the settings. Return whether all records are valid or repaired."""
    settings = load(path)
    (targets.check_writable if options.repair else targets.check_exists)(settings)
    parallel = _parallel(settings)
    storage = targets.open_storage(settings, parallel, read_only=not options.repair)
    buckets = targets.choose_buckets(storage, named)
    inspect = Inspector(storage, render_settings(settings.images), options.deep, options.repair)
    findings = Findings(report)
    try:
        if not named:
            findings.add_others("stray", storage.strays())
        _inspect_all(storage, buckets, inspect, parallel, options.rate, findings)
        before = time.time() - options.leftover_age if options.leftover_age else math.inf  # S3 may round times up
        findings.add_others("leftover", (entry for entry in storage.leftovers(buckets) if entry.modified < before))
    finally:
        report.summary(findings.summary())
    return not findings.has_failures() and report.is_complete


def _parallel(settings: Settings) -> int:
    return PARALLEL_ON_S3 if concurrency.is_on_s3(settings) else concurrency.cores()


def _inspect_all(
    storage: Storage, buckets: list[str], inspect: Inspector, parallel: int, rate: float, findings: "Findings"
) -> None:
    with progress.progress_bar("verifying", quiet=findings.report.as_json) as bar:
        entries = (entry for bucket in buckets for entry in list_all(bucket, storage.entries(bucket)))
        progress.count_total(bar, (entry for entry in entries if entry.key))
        records = _limit_rate(_list_records(storage, buckets, findings), rate)
        for finding in _inspect_parallel(inspect, records, parallel):
            findings.add(finding)
            bar.update(1)


def _list_records(storage: Storage, buckets: list[str], findings: "Findings") -> Iterator[tuple[str, Key]]:
    """Yield the bucket and key of each record. Report other files as strays."""
    for bucket in buckets:
        for entry in list_all(bucket, storage.entries(bucket), findings.report):
            if entry.key:
                yield bucket, entry.key
            else:
                findings.add_others("stray", [entry], bucket)


def _limit_rate(items: Iterator[tuple[str, Key]], rate: float) -> Iterator[tuple[str, Key]]:
    """Yield at most `rate` items per second; 0 is no limit. After a delay, catch up at most MAX_CATCH_UP seconds."""
    due = time.monotonic()
    for item in items:
        if rate:
            time.sleep(max(0, due - time.monotonic()))
            due = max(due, time.monotonic() - MAX_CATCH_UP) + 1 / rate
        yield item


def _inspect_parallel(inspect: Inspector, records: Iterator[tuple[str, Key]], parallel: int) -> Iterator[Finding]:
    """Check several records at the same time. On Ctrl+C, yield the results of running checks before the exception."""
    running: deque[Future[Finding]] = deque()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for bucket, key in records:
                running.append(pool.submit(inspect, bucket, key))
                if len(running) > 2 * parallel:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except KeyboardInterrupt:
            yield from [future.result() for future in running if not future.cancel()]
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class Findings:
    """Counts the results of the records, and reports findings."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._tally = Tally(
            "records", *(state for state in RecordState if state is not RecordState.GONE), "stray", "leftover", "bytes"
        )
        self._failure_limit = FailureLimit(MAX_FAILURES, "could not be read")

    def add(self, finding: Finding) -> None:
        """Count a record. Raise StorageUnavailable after many records in a row that could not be read."""
        if finding.state is RecordState.GONE:
            return
        self._tally.add("records")
        self._tally.add(finding.state)
        self._tally.add("bytes", finding.length)
        kind, record_id = finding.key.kind.folder, finding.key.id
        fields = {"bucket": finding.bucket, "kind": kind, "id": record_id}
        for part, detail in finding.problems.items():
            problem = f"{finding.state}: {detail}"
            self.report.finding(f"{finding.bucket} {kind} {record_id}", problem, **fields, state=finding.state, part=part)
        self._failure_limit.count(finding.state is RecordState.FAILED)

    def add_others(self, state: str, entries: Iterable[ListingEntry], bucket: str = "") -> None:
        """Count and report strays or leftovers."""
        for entry in entries:
            self._tally.add(state)
            name = f"{bucket}/{entry.name}" if bucket else entry.name
            self.report.finding(name, state, name=name, state=state, length=entry.length)

    def has_failures(self) -> bool:
        """Return whether a record is damaged or could not be read."""
        return any(self._tally[state] for state in FAILURES)

    def summary(self) -> dict[str, object]:
        """Return the counts and the rate."""
        names = {"stray": "strays", "leftover": "leftovers"}
        return {names.get(name, name): count for name, count in self._tally.summary(self._tally["records"]).items()}
