"""Reading all records of a storage, while it may be in use, to find what is damaged and what does not belong there."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from luna_image_store import concurrency
from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import Patience
from luna_image_store.commands.listing import listed
from luna_image_store.commands.report import Report
from luna_image_store.commands.verify.inspection import Finding, Inspector, State
from luna_image_store.services import render_settings
from luna_image_store.settings import Settings, load
from luna_image_store.storage.base import Entry, Key, Storage

AT_ONCE_ON_S3 = 8  # records: most of the time they wait
CATCH_UP = 0.1  # seconds
GIVE_UP = 20  # failures in a row: the storage is gone
BAD = (State.DAMAGED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Options:
    """How closely is looked, what is mended, how fast it goes; `leftover_age` in seconds."""

    deep: bool = False
    repair: bool = False
    rate: float = 0
    leftover_age: float = 3600


def run(path: str | None, named: tuple[str, ...], options: Options, report: Report) -> bool:
    """Verify the storage of the settings, and tell whether all records are good."""
    settings = load(path)
    (targets.check_is_ours if options.repair else targets.check_is_there)(settings)
    at_once = _at_once(settings)
    storage = targets.opened(settings, at_once, is_only_read=not options.repair)
    buckets = targets.chosen(storage, named)
    inspect = Inspector(storage, render_settings(settings["IMAGES"]), options.deep, options.repair)
    tally = Tally(report)
    try:
        if not named:
            tally.add_others("stray", storage.strays())
        _inspect_all(storage, buckets, inspect, at_once, options.rate, tally)
        oldest = time.time() - options.leftover_age if options.leftover_age else math.inf  # S3 may round times up
        tally.add_others("leftover", (entry for entry in storage.leftovers(buckets) if entry.modified < oldest))
    finally:
        report.summary(tally.summary())
    return tally.is_good() and report.is_whole


def _at_once(settings: Settings) -> int:
    return AT_ONCE_ON_S3 if concurrency.is_on_s3(settings) else concurrency.cores()


def _inspect_all(storage: Storage, buckets: list[str], inspect: Inspector, at_once: int, rate: float, tally: "Tally") -> None:
    with progress.shown("verifying", quiet=tally.report.as_json) as bar:
        entries = (entry for bucket in buckets for entry in listed(bucket, storage.entries(bucket)))
        progress.find_total(bar, (entry for entry in entries if entry.key))
        records = _paced(_records(storage, buckets, tally), rate)
        for finding in _findings(inspect, records, at_once):
            tally.add(finding)
            bar.update(1)


def _records(storage: Storage, buckets: list[str], tally: "Tally") -> Iterator[tuple[str, Key]]:
    """List all records, and tell of what is none."""
    for bucket in buckets:
        for entry in listed(bucket, storage.entries(bucket), tally.report):
            if entry.key:
                yield bucket, entry.key
            else:
                tally.add_others("stray", [entry], bucket)


def _paced(items: Iterator[tuple[str, Key]], rate: float) -> Iterator[tuple[str, Key]]:
    """Give at most so many a second; of what was late no more than CATCH_UP is made up for."""
    due = time.monotonic()
    for item in items:
        if rate:
            time.sleep(max(0, due - time.monotonic()))
            due = max(due, time.monotonic() - CATCH_UP) + 1 / rate
        yield item


def _findings(inspect: Inspector, records: Iterator[tuple[str, Key]], at_once: int) -> Iterator[Finding]:
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


class Tally:
    """Counts what was found, and tells of all that is not good."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._states: Counter[State] = Counter()
        self._others: Counter[str] = Counter()
        self._bytes = 0
        self._patience = Patience(GIVE_UP, "could not be read")
        self._began = time.monotonic()

    def add(self, finding: Finding) -> None:
        """Count a record; raise StorageUnavailable where none can be read any more."""
        self._states[finding.state] += 1
        self._bytes += finding.length
        kind, record_id = finding.key.kind.folder, finding.key.id
        where = {"bucket": finding.bucket, "kind": kind, "id": record_id}
        for part, fault in finding.faults.items():
            problem = f"{finding.state}: {fault}"
            self.report.finding(f"{finding.bucket} {kind} {record_id}", problem, **where, state=finding.state, part=part)
        self._patience.note(finding.state is State.FAILED)

    def add_others(self, what: str, entries: "Iterator[Entry] | list[Entry]", bucket: str = "") -> None:
        """Count what is no record, and tell of it."""
        for entry in entries:
            self._others[what] += 1
            name = f"{bucket}/{entry.name}" if bucket else entry.name
            self.report.finding(name, what, name=name, state=what, length=entry.length)

    def is_good(self) -> bool:
        """Tell whether no record is damaged or could not be read."""
        return not any(self._states[state] for state in BAD)

    def summary(self) -> dict[str, object]:
        """Give the counts, and the rate."""
        seconds = time.monotonic() - self._began
        records = self._states.total() - self._states[State.GONE]
        return {
            "records": records,
            **{state.value: self._states[state] for state in State if state is not State.GONE},
            "strays": self._others["stray"],
            "leftovers": self._others["leftover"],
            "bytes": self._bytes,
            "seconds": round(seconds, 1),
            "records_per_second": round(records / max(seconds, 0.001), 1),
        }
