"""What the processes of `migrate` do with the records that they are given.

Nothing is noted of what has been done: the destination tells. A record that is there with the same index (content, owner,
metadata, time, and the sums of all parts) is not copied again.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from luna_image_store.commands import targets
from luna_image_store.commands.report import reason
from luna_image_store.errors import RecordDamaged, RecordNotFound, ServiceError
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Key
from luna_image_store.storage.record import BadRecord, Index, verify

NEWER = "it is newer at the destination, and stays"
ANOTHER = "it was written, and something else stands there now"


class CopyState(StrEnum):
    """What became of a record; the value is its name in the summary."""

    COPIED = "copied"
    UNCHANGED = "unchanged"
    EARLIER = "earlier"
    NEWER = "newer_at_destination"
    GONE = "gone"
    DELETED = "deleted"
    DAMAGED = "damaged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ListedRecord:
    """A record, and on which sides it is listed: here, at the source, and there, at the destination."""

    bucket: str
    key: Key
    in_source: bool
    in_destination: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a record; `length` in bytes where it was copied, `detail` where there is something to tell."""

    bucket: str
    key: Key
    state: CopyState
    detail: str = ""
    length: int = 0


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """How records are moved; `since` in seconds since 1970."""

    since: float = 0
    deletes: bool = False
    is_dry: bool = False
    reads_back: bool = True


class RecordCopier:
    """Copies records that are missing or different at the destination, and deletes there what the source does not have."""

    def __init__(self, threads: int, source: Settings, destination: Settings, options: MigrateOptions) -> None:
        self._source = targets.open_storage(source, threads, read_only=True)
        self._destination = targets.open_storage(destination, threads, read_only=options.is_dry)
        self._threads = ThreadPoolExecutor(threads)
        self._options = options

    def __call__(self, batch: list[ListedRecord]) -> list[Outcome]:
        """Move a batch, one bucket after another."""
        outcomes: list[Outcome] = []
        for (bucket, in_source), group in groupby(batch, attrgetter("bucket", "in_source")):
            records = list(group)
            try:
                outcomes += self._copy_some(bucket, records) if in_source else self._delete_some(bucket, records)
            except ServiceError as ex:
                outcomes += (Outcome(bucket, record.key, CopyState.FAILED, reason(ex)) for record in records)
        return outcomes

    def _copy_some(self, bucket: str, records: list[ListedRecord]) -> Iterable[Outcome]:
        """Compare what both sides have; for the rest, reading tells all, unless nothing or only some of it shall be copied."""
        is_read_first = self._options.is_dry or self._options.since > 0
        known = [record.key for record in records if record.in_destination or is_read_first]
        there_too = {record.key for record in records if record.in_destination}
        try:
            here = self._source.head_many(bucket, known) if known else {}
            compared = [key for key, index in here.items() if key in there_too and index.created >= self._options.since]
            there = self._destination.head_many(bucket, compared) if compared else {}
        except ServiceError:  # one that can't be read must not keep the others from being moved
            return self._threads.map(lambda record: self._copy_alone(bucket, record), records)
        keys = [record.key for record in records]
        return self._threads.map(lambda key: self._settle(bucket, key, here.get(key), there.get(key)), keys)

    def _copy_alone(self, bucket: str, record: ListedRecord) -> Outcome:
        key = record.key
        try:
            here = self._source.head_many(bucket, [key]).get(key)
            there = self._destination.head_many(bucket, [key]).get(key) if here and record.in_destination else None
        except ServiceError as ex:
            return Outcome(bucket, key, CopyState.FAILED, reason(ex))
        return self._settle(bucket, key, here, there)

    def _settle(self, bucket: str, key: Key, here: Index | None, there: Index | None) -> Outcome:
        """Decide on a record by what is known of it so far; nothing is if it is new, damaged, or gone since it was listed."""
        try:
            if here and here.created < self._options.since:
                return Outcome(bucket, key, CopyState.EARLIER)
            if here and here == there:
                return Outcome(bucket, key, CopyState.UNCHANGED)
            if here and there and here.created < there.created:
                return Outcome(bucket, key, CopyState.NEWER, NEWER)
            if here and self._options.is_dry:
                return Outcome(bucket, key, CopyState.COPIED, length=here.length())
            return self._copy(bucket, key)
        except ServiceError as ex:
            return Outcome(bucket, key, CopyState.FAILED, reason(ex))

    def _copy(self, bucket: str, key: Key) -> Outcome:
        try:
            index, data = self._source.read(bucket, key)
        except RecordNotFound:
            return Outcome(bucket, key, CopyState.GONE)
        except RecordDamaged as ex:
            return Outcome(bucket, key, CopyState.DAMAGED, reason(ex))
        if self._options.is_dry:
            return Outcome(bucket, key, CopyState.COPIED, length=index.length())
        if self._is_newer_there(bucket, key, index):
            return Outcome(bucket, key, CopyState.NEWER, NEWER)
        try:
            self._destination.write(bucket, key, index.content_type, verify(index, data))
        except BadRecord as ex:
            return Outcome(bucket, key, CopyState.DAMAGED, str(ex))
        if fault := self._fault(bucket, key, index):
            return Outcome(bucket, key, CopyState.FAILED, fault)
        return Outcome(bucket, key, CopyState.COPIED, length=index.length())

    def _is_newer_there(self, bucket: str, key: Key, index: Index) -> bool:
        """Look right before the copy is made: the listing may be old by then."""
        with suppress(RecordNotFound, RecordDamaged):
            return self._destination.head(bucket, key).created > index.created
        return False

    def _fault(self, bucket: str, key: Key, index: Index) -> str:
        """Say what is wrong with a record that was written."""
        if not self._options.reads_back:
            return "" if self._destination.head(bucket, key) == index else ANOTHER
        try:
            written, data = self._destination.read(bucket, key)
            deque(verify(written, data), maxlen=0)
        except BadRecord as ex:
            return f"it was written, and does not read back: {ex}"
        return "" if written == index else ANOTHER

    def _delete_some(self, bucket: str, records: list[ListedRecord]) -> Iterator[Outcome]:
        gone = [record.key for record in records if self._is_gone(bucket, record.key)]
        if gone and not self._options.is_dry:
            self._destination.delete_many(bucket, gone)
        return (Outcome(bucket, key, CopyState.DELETED) for key in gone)

    def _is_gone(self, bucket: str, key: Key) -> bool:
        """Ask the source: a listing may be late, and what is damaged now may have been copied when it was good."""
        try:
            self._source.head(bucket, key)
        except RecordNotFound:
            return True
        except RecordDamaged:
            pass
        return False
