"""Counts the records of a storage without reading them."""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from luna_image_store import concurrency
from luna_image_store.commands import progress, targets
from luna_image_store.commands.listing import list_all
from luna_image_store.commands.report import Report
from luna_image_store.errors import BucketNotFound
from luna_image_store.settings import load
from luna_image_store.storage.base import Key, Kind, Storage

SAMPLE = 200  # records of each kind and bucket that have their indexes read
STEPS = 8  # classes of sizes between a power of two and the next: a quantile is at most an eighth too large
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def run(path: str | None, named: tuple[str, ...], report: Report) -> bool:
    """Print the sizes by bucket and kind, and the totals. Return whether all records could be listed."""
    settings = load(path)
    targets.check_exists(settings)
    storage = targets.open_storage(settings, concurrency.threads(settings), read_only=True)
    total: Counter[str] = Counter()
    for bucket in targets.choose_buckets(storage, named):
        for kind, sizes in _count(storage, bucket, report).items():
            report.row({"bucket": bucket, "kind": kind.folder, **sizes.summary(storage, bucket)})
            total.update(records=sizes.records, bytes=sizes.bytes)
        total.update(buckets=1)
    report.summary({"buckets": total["buckets"], "records": total["records"], "bytes": total["bytes"]})
    return report.is_complete


@dataclass
class Sizes:
    """The sizes of the records of one kind, as a histogram, and a random sample of their keys."""

    records: int = 0
    bytes: int = 0
    largest: int = 0
    steps: Counter[int] = field(default_factory=Counter)
    sample: list[Key] = field(default_factory=list)

    def add(self, key: Key, length: int) -> None:
        """Count a record. Each record has the same probability to be in the sample."""
        self.records += 1
        self.bytes += length
        self.largest = max(self.largest, length)
        self.steps[_step(length)] += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(key)
        elif (position := random.randrange(self.records)) < SAMPLE:  # noqa: S311  # no secret
            self.sample[position] = key

    def quantile(self, share: float) -> int:
        """Return the size in bytes that this share of the records does not exceed."""
        counted = 0
        for step in sorted(self.steps):
            counted += self.steps[step]
            if counted >= share * self.records:
                return min(_largest_size(step), self.largest)
        return 0

    def summary(self, storage: Storage, bucket: str) -> dict[str, object]:
        """Return the values to print."""
        quantiles = {name: self.quantile(share) for name, share in QUANTILES.items()}
        values: dict[str, object] = {"records": self.records, "bytes": self.bytes, **quantiles, "largest": self.largest}
        if share := _previews_share(storage, bucket, self.sample):
            values["previews_share"] = share
        return values


def _count(storage: Storage, bucket: str, report: Report) -> dict[Kind, Sizes]:
    sizes = {kind: Sizes() for kind in Kind}
    with progress.progress_bar(f"counting {bucket}", quiet=report.as_json) as bar:
        for entry in list_all(bucket, storage.entries(bucket), report):
            if entry.key:
                sizes[entry.key.kind].add(entry.key, entry.length)
                bar.update(1)
    return sizes


def _previews_share(storage: Storage, bucket: str, sample: list[Key]) -> float:
    """Estimate the share of the previews in the bytes of the records."""
    with suppress(BucketNotFound):
        indexes = storage.head_many(bucket, sample).values() if sample else ()
        if length := sum(index.length() for index in indexes):
            return round(1 - sum(index.payload.length for index in indexes) / length, 3)
    return 0


def _step(length: int) -> int:
    """Return the class of a size: from the power of two below it, and its position up to the next one."""
    power = max(length.bit_length() - 1, 3)
    return power * STEPS + (length * STEPS >> power) - STEPS


def _largest_size(step: int) -> int:
    """Return the largest size of a class."""
    power, eighth = divmod(step, STEPS)
    return (STEPS + eighth + 1 << power) // STEPS - 1
