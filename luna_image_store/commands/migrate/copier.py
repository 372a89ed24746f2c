"""Worker processes of `migrate`: compare, copy and delete records.

They store no state. A record that the destination has with the same index (content type, owner, metadata, time, and the lengths
and checksums of all parts) is not copied again.
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

NEWER = "the record at the destination is newer, and was not replaced"
REPLACED = "the record was written, but the destination now has another record"


class CopyState(StrEnum):
    """Result of one record. The value is the key in the summary."""

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
    """A record in the listing of the source, of the destination, or of both."""

    bucket: str
    key: Key
    in_source: bool
    in_destination: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one record. `length`: the copied bytes; `detail`: the text of the finding, if there is one."""

    bucket: str
    key: Key
    state: CopyState
    detail: str = ""
    length: int = 0


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """Options of the command. `since`: seconds since 1970."""

    since: float = 0
    delete: bool = False
    dry_run: bool = False
    read_back: bool = True


class RecordCopier:
    """Copies records that are missing or different at the destination. Deletes records at the destination that the source lacks."""

    def __init__(self, threads: int, source: Settings, destination: Settings, options: MigrateOptions) -> None:
        self._source = targets.open_storage(source, threads, read_only=True)
        self._destination = targets.open_storage(destination, threads, read_only=options.dry_run)
        self._threads = ThreadPoolExecutor(threads)
        self._options = options

    def __call__(self, batch: list[ListedRecord]) -> list[Outcome]:
        """Process a batch, one bucket after another."""
        outcomes: list[Outcome] = []
        for (bucket, in_source), group in groupby(batch, attrgetter("bucket", "in_source")):
            records = list(group)
            try:
                outcomes += self._copy_some(bucket, records) if in_source else self._delete_some(bucket, records)
            except ServiceError as ex:
                outcomes += (Outcome(bucket, record.key, CopyState.FAILED, reason(ex)) for record in records)
        return outcomes

    def _copy_some(self, bucket: str, records: list[ListedRecord]) -> Iterable[Outcome]:
        """Compare the indexes of records on both sides, and copy the others. `dry_run` and `since` need all indexes first."""
        needs_all = self._options.dry_run or self._options.since > 0
        read_first = [record.key for record in records if record.in_destination or needs_all]
        in_destination = {record.key for record in records if record.in_destination}
        try:
            sources = self._source.head_many(bucket, read_first) if read_first else {}
            compared = [key for key, index in sources.items() if key in in_destination and index.created >= self._options.since]
            destinations = self._destination.head_many(bucket, compared) if compared else {}
        except ServiceError:  # one unreadable record must not prevent the copies of the others
            return self._threads.map(lambda record: self._copy_alone(bucket, record), records)
        keys = [record.key for record in records]
        return self._threads.map(lambda key: self._compare(bucket, key, sources.get(key), destinations.get(key)), keys)

    def _copy_alone(self, bucket: str, record: ListedRecord) -> Outcome:
        key = record.key
        try:
            source = self._source.head_many(bucket, [key]).get(key)
            destination = self._destination.head_many(bucket, [key]).get(key) if source and record.in_destination else None
        except ServiceError as ex:
            return Outcome(bucket, key, CopyState.FAILED, reason(ex))
        return self._compare(bucket, key, source, destination)

    def _compare(self, bucket: str, key: Key, source: Index | None, destination: Index | None) -> Outcome:
        """Compare the indexes of a record, and copy it if needed. None: not read, damaged or deleted."""
        try:
            if source and source.created < self._options.since:
                return Outcome(bucket, key, CopyState.EARLIER)
            if source and source == destination:
                return Outcome(bucket, key, CopyState.UNCHANGED)
            if source and destination and source.created < destination.created:
                return Outcome(bucket, key, CopyState.NEWER, NEWER)
            if source and self._options.dry_run:
                return Outcome(bucket, key, CopyState.COPIED, length=source.length())
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
        if self._options.dry_run:
            return Outcome(bucket, key, CopyState.COPIED, length=index.length())
        if self._is_newer_at_destination(bucket, key, index):
            return Outcome(bucket, key, CopyState.NEWER, NEWER)
        try:
            self._destination.write(bucket, key, index.content_type, verify(index, data))
        except BadRecord as ex:
            return Outcome(bucket, key, CopyState.DAMAGED, str(ex))
        if problem := self._check_copy(bucket, key, index):
            return Outcome(bucket, key, CopyState.FAILED, problem)
        return Outcome(bucket, key, CopyState.COPIED, length=index.length())

    def _is_newer_at_destination(self, bucket: str, key: Key, index: Index) -> bool:
        """Check the destination right before the write, because the listing may be outdated."""
        with suppress(RecordNotFound, RecordDamaged):
            return self._destination.head(bucket, key).created > index.created
        return False

    def _check_copy(self, bucket: str, key: Key, index: Index) -> str:
        """Check a record that was written. Return a problem, or an empty string."""
        if not self._options.read_back:
            return "" if self._destination.head(bucket, key) == index else REPLACED
        try:
            written, data = self._destination.read(bucket, key)
            deque(verify(written, data), maxlen=0)
        except BadRecord as ex:
            return f"the record was written, but the data read back are damaged: {ex}"
        return "" if written == index else REPLACED

    def _delete_some(self, bucket: str, records: list[ListedRecord]) -> Iterator[Outcome]:
        gone = [record.key for record in records if self._is_gone(bucket, record.key)]
        if gone and not self._options.dry_run:
            self._destination.delete_many(bucket, gone)
        return (Outcome(bucket, key, CopyState.DELETED) for key in gone)

    def _is_gone(self, bucket: str, key: Key) -> bool:
        """Check the source: its listing may be outdated. A damaged record is not gone: its copy may be intact."""
        try:
            self._source.head(bucket, key)
        except RecordNotFound:
            return True
        except RecordDamaged:
            pass
        return False
