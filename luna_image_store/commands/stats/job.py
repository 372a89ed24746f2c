"""Counting what a storage holds, without reading it."""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from luna_image_store import concurrency
from luna_image_store.commands import progress, targets
from luna_image_store.commands.listing import listed
from luna_image_store.commands.report import Report
from luna_image_store.errors import BucketNotFound
from luna_image_store.settings import load
from luna_image_store.storage.base import Key, Kind, Storage

SAMPLE = 200  # pictures of a bucket whose indexes are read
STEPS = 8  # sizes that are told apart between a power of two and the next: what is told is at most an eighth too large
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def run(path: str | None, named: tuple[str, ...], report: Report) -> bool:
    """Tell of each bucket and kind, and of all together; and whether that is all there is."""
    settings = load(path)
    targets.check_exists(settings)
    storage = targets.open_storage(settings, concurrency.threads(settings), read_only=True)
    total: Counter[str] = Counter()
    for bucket in targets.choose_buckets(storage, named):
        for kind, sizes in _counted(storage, bucket, report).items():
            report.row({"bucket": bucket, "kind": kind.folder, **sizes.summary(storage, bucket)})
            total.update(records=sizes.records, bytes=sizes.bytes)
        total.update(buckets=1)
    report.summary({"buckets": total["buckets"], "records": total["records"], "bytes": total["bytes"]})
    return report.is_whole


@dataclass
class Sizes:
    """The sizes of the records of one kind, as counts by steps, and a sample of their keys."""

    records: int = 0
    bytes: int = 0
    largest: int = 0
    steps: Counter[int] = field(default_factory=Counter)
    sample: list[Key] = field(default_factory=list)

    def add(self, key: Key, length: int) -> None:
        """Count a record; each has the same chance to be in the sample."""
        self.records += 1
        self.bytes += length
        self.largest = max(self.largest, length)
        self.steps[_step(length)] += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(key)
        elif (place := random.randrange(self.records)) < SAMPLE:  # noqa: S311  # no secret
            self.sample[place] = key

    def quantile(self, share: float) -> int:
        """Find the size that this share of the records does not exceed."""
        seen = 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= share * self.records:
                return min(_end_of(step), self.largest)
        return 0

    def summary(self, storage: Storage, bucket: str) -> dict[str, object]:
        """Give what is told of them."""
        quantiles = {name: self.quantile(share) for name, share in QUANTILES.items()}
        told: dict[str, object] = {"records": self.records, "bytes": self.bytes, **quantiles, "largest": self.largest}
        if share := _previews(storage, bucket, self.sample):
            told["previews_share"] = share
        return told


def _counted(storage: Storage, bucket: str, report: Report) -> dict[Kind, Sizes]:
    found = {kind: Sizes() for kind in Kind}
    with progress.shown(f"counting {bucket}", quiet=report.as_json) as bar:
        for entry in listed(bucket, storage.entries(bucket), report):
            if entry.key:
                found[entry.key.kind].add(entry.key, entry.length)
                bar.update(1)
    return found


def _previews(storage: Storage, bucket: str, sample: list[Key]) -> float:
    """Estimate which share of the bytes the previews take."""
    with suppress(BucketNotFound):
        indexes = storage.head_many(bucket, sample).values() if sample else ()
        if length := sum(index.length() for index in indexes):
            return round(1 - sum(index.payload.length for index in indexes) / length, 3)
    return 0


def _step(length: int) -> int:
    """Find the step of a size by the power of two below it, and how far it is to the next."""
    power = max(length.bit_length() - 1, 3)
    return power * STEPS + (length * STEPS >> power) - STEPS


def _end_of(step: int) -> int:
    """Find the largest size of a step."""
    power, eighth = divmod(step, STEPS)
    return (STEPS + eighth + 1 << power) // STEPS - 1
