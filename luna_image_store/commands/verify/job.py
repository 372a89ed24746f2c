"""Reading all records of a storage, while it may be in use, to find what is damaged and what does not belong there."""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from luna_image_store import concurrency
from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import Patience
from luna_image_store.commands.listing import listed
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.commands.verify.inspection import Finding, Inspector, RecordState
from luna_image_store.services import render_settings
from luna_image_store.settings import Settings, load
from luna_image_store.storage.base import Key, ListingEntry, Storage

AT_ONCE_ON_S3 = 8  # records: most of the time they wait
CATCH_UP = 0.1  # seconds
GIVE_UP = 20  # failures in a row: the storage is gone
BAD = (RecordState.DAMAGED, RecordState.FAILED)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How closely is looked, what is mended, how fast it goes; `leftover_age` in seconds."""

    deep: bool = False
    repair: bool = False
    rate: float = 0
    leftover_age: float = 3600


def run(path: str | None, named: tuple[str, ...], options: VerifyOptions, report: Report) -> bool:
    """Verify the storage of the settings, and tell whether all records are good."""
    settings = load(path)
    (targets.check_writable if options.repair else targets.check_exists)(settings)
    at_once = _at_once(settings)
    storage = targets.open_storage(settings, at_once, read_only=not options.repair)
    buckets = targets.choose_buckets(storage, named)
    inspect = Inspector(storage, render_settings(settings.images), options.deep, options.repair)
    findings = Findings(report)
    try:
        if not named:
            findings.add_others("stray", storage.strays())
        _inspect_all(storage, buckets, inspect, at_once, options.rate, findings)
        oldest = time.time() - options.leftover_age if options.leftover_age else math.inf  # S3 may round times up
        findings.add_others("leftover", (entry for entry in storage.leftovers(buckets) if entry.modified < oldest))
    finally:
        report.summary(findings.summary())
    return findings.are_good() and report.is_whole


def _at_once(settings: Settings) -> int:
    return AT_ONCE_ON_S3 if concurrency.is_on_s3(settings) else concurrency.cores()


def _inspect_all(storage: Storage, buckets: list[str], inspect: Inspector, at_once: int, rate: float, findings: "Findings") -> None:
    with progress.shown("verifying", quiet=findings.report.as_json) as bar:
        entries = (entry for bucket in buckets for entry in listed(bucket, storage.entries(bucket)))
        progress.find_total(bar, (entry for entry in entries if entry.key))
        records = _paced(_records(storage, buckets, findings), rate)
        for finding in _inspected(inspect, records, at_once):
            findings.add(finding)
            bar.update(1)


def _records(storage: Storage, buckets: list[str], findings: "Findings") -> Iterator[tuple[str, Key]]:
    """List all records, and tell of what is none."""
    for bucket in buckets:
        for entry in listed(bucket, storage.entries(bucket), findings.report):
            if entry.key:
                yield bucket, entry.key
            else:
                findings.add_others("stray", [entry], bucket)


def _paced(items: Iterator[tuple[str, Key]], rate: float) -> Iterator[tuple[str, Key]]:
    """Give at most so many a second; of what was late no more than CATCH_UP is made up for."""
    due = time.monotonic()
    for item in items:
        if rate:
            time.sleep(max(0, due - time.monotonic()))
            due = max(due, time.monotonic() - CATCH_UP) + 1 / rate
        yield item


def _inspected(inspect: Inspector, records: Iterator[tuple[str, Key]], at_once: int) -> Iterator[Finding]:
    """Inspect so many records at the same time. On Ctrl+C those that were begun still come."""
    running: deque[Future[Finding]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for bucket, key in records:
                running.append(pool.submit(inspect, bucket, key))
                if len(running) > 2 * at_once:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except KeyboardInterrupt:
            yield from [future.result() for future in running if not future.cancel()]
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class Findings:
    """Counts what was found, and reports all that is not good."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._tally = Tally(
            "records", *(state for state in RecordState if state is not RecordState.GONE), "stray", "leftover", "bytes"
        )
        self._patience = Patience(GIVE_UP, "could not be read")

    def add(self, finding: Finding) -> None:
        """Count a record; raise StorageUnavailable where none can be read any more."""
        if finding.state is RecordState.GONE:
            return
        self._tally.add("records")
        self._tally.add(finding.state)
        self._tally.add("bytes", finding.length)
        kind, record_id = finding.key.kind.folder, finding.key.id
        where = {"bucket": finding.bucket, "kind": kind, "id": record_id}
        for part, fault in finding.faults.items():
            problem = f"{finding.state}: {fault}"
            self.report.finding(f"{finding.bucket} {kind} {record_id}", problem, **where, state=finding.state, part=part)
        self._patience.note(finding.state is RecordState.FAILED)

    def add_others(self, what: str, entries: Iterable[ListingEntry], bucket: str = "") -> None:
        """Count and report what is not a record."""
        for entry in entries:
            self._tally.add(what)
            name = f"{bucket}/{entry.name}" if bucket else entry.name
            self.report.finding(name, what, name=name, state=what, length=entry.length)

    def are_good(self) -> bool:
        """Report whether no record is damaged or could not be read."""
        return not any(self._tally[state] for state in BAD)

    def summary(self) -> dict[str, object]:
        """Return the counts, and the rate."""
        names = {"stray": "strays", "leftover": "leftovers"}
        return {names.get(name, name): count for name, count in self._tally.summary(self._tally["records"]).items()}
