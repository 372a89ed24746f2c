"""Records as objects on S3, one for each; a bucket is a bucket of S3."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import islice
from typing import Any, TypeVar

from luna_image_store.errors import BadQuery, BucketExists, BucketNotFound, RecordDamaged, RecordNotFound, StorageUnavailable
from luna_image_store.settings import S3Settings
from luna_image_store.storage.base import (
    MAX_IN_MEMORY_PAYLOAD,
    TAIL_READ_SIZE,
    Key,
    Kind,
    ListingEntry,
    MemoryPayload,
    Storage,
    StoredRecord,
    damage_reported,
    whole_preview,
)
from luna_image_store.storage.record import BadRecord, Index, decode_index, tail_length
from luna_image_store.storage.s3.bucket_deletion import DEFAULT_LIMITS, BucketDeletions, DeletionLimits, delete_objects
from luna_image_store.storage.s3.client import S3Client
from luna_image_store.storage.s3.errors import AccessRefused, Answer, RangeRefused, RecordReplaced
from luna_image_store.storage.s3.metadata import from_metadata
from luna_image_store.storage.s3.names import bucket_name_problem, key_of, name_of
from luna_image_store.storage.s3.streams import Body, StreamPayload, body_of, chunks_of, part_of, tail_of
from luna_image_store.storage.s3.upload import unfinished, upload

LOOK_UPS = 8  # requests at the same time for the owners of many records
BATCH = 1000  # S3's limit for one deletion
STARTS = 3  # of a reading that needs two requests, when the record is replaced between them
PROBE_CONNECT_TIMEOUT, PROBE_READ_TIMEOUT = 2.0, 3.0  # seconds: a health check must not wait for long

Read = TypeVar("Read")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a record: its last bytes, the index in them, its length, and the ETag of its object."""

    data: bytes
    index: Index
    total: int
    etag: str


class S3Storage(Storage):
    """Keeps each record in an object of its own on an S3 service."""

    def __init__(self, settings: S3Settings, threads: int, deletion: DeletionLimits = DEFAULT_LIMITS) -> None:
        """Raise StorageUnavailable if the settings cannot be used; S3 itself may be down. `threads`: of this process."""
        self._s3 = S3Client(settings, settings.max_connections or threads + LOOK_UPS)
        self._probe = S3Client(
            replace(settings, connect_timeout=PROBE_CONNECT_TIMEOUT, read_timeout=PROBE_READ_TIMEOUT, max_attempts=1), 1
        )
        self._look_ups = ThreadPoolExecutor(LOOK_UPS, "look-up")
        self._removals = BucketDeletions(self._s3, deletion)

    def bucket_name_problem(self, bucket: str) -> str | None:
        """Name the rule of S3 that a bucket's name breaks."""
        return bucket_name_problem(bucket)

    def create_bucket(self, bucket: str) -> None:
        """Look first: some services answer that a bucket was made when it was there."""
        if rule := bucket_name_problem(bucket):
            raise BadQuery(f"bucket: {rule}")
        if self._removals.is_running(bucket):
            raise BucketExists(bucket)
        with suppress(BucketNotFound, AccessRefused):  # refused: it may be somebody else's; making it tells
            self._s3("create bucket", "head_bucket", bucket)
            raise BucketExists(bucket)
        region = self._s3.region()
        place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region else {}
        self._s3("create bucket", "create_bucket", bucket, **place)

    def delete_bucket(self, bucket: str) -> None:
        """Delete what the bucket holds, and then the bucket; what takes long goes on in the background."""
        self._removals.remove(bucket)

    def list_buckets(self) -> list[str]:
        """List the buckets that these credentials own and whose names are S3's today."""
        pages = self._pages("list buckets", "list_buckets", "ContinuationToken")
        names = (entry.get("Name", "") for page in pages for entry in page["Buckets"])
        return sorted(name for name in names if not bucket_name_problem(name))

    def write(self, bucket: str, key: Key, content_type: str, record: Iterable[bytes]) -> None:
        """Save by one request, or by a multipart upload."""
        upload(self._s3, bucket, key, content_type, record)

    def replace(self, bucket: str, key: Key, old: Index, record: Iterable[bytes]) -> bool:
        """Look before the last bytes are sent; a service that knows `IfMatch` looks once more."""
        try:
            tail = self._tail(bucket, key)
            if tail.index != old:
                return False
            same = {"IfMatch": tail.etag}
            look = partial(self._s3, "replace", "head_object", bucket, key, **same)
            upload(self._s3, bucket, key, old.content_type, _then(record, look), **same)
        except (BucketNotFound, RecordNotFound, RecordDamaged, RecordReplaced):
            return False
        return True

    def read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        """Read a small record in one go; let a large one come as it is passed on."""
        return _steady(lambda: self._read(bucket, key))

    def open(self, bucket: str, key: Key) -> StoredRecord:
        """Read a small record in one go; let a large payload come as it is sent."""
        return _steady(lambda: self._open(bucket, key))

    def preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        """Read the tail of the record, which nearly always holds the preview too."""
        return _steady(lambda: self._preview(bucket, key, size))

    def head(self, bucket: str, key: Key) -> Index:
        """Read the object's metadata, or the tail of the record where they have no index."""
        try:
            return self._head(bucket, key)
        except RecordNotFound:
            self._require(bucket)  # S3 answers HEAD with a bare 404
            raise

    def head_many(self, bucket: str, keys: Iterable[Key]) -> dict[Key, Index]:
        """Look several up at the same time."""
        wanted = list(keys)
        contexts = [copy_context() for _ in wanted]  # log lines keep the request's id
        looked_up = self._look_ups.map(lambda context, key: context.run(self._look_up, bucket, key), contexts, wanted)
        found = {key: index for key, index in zip(wanted, looked_up, strict=True) if index}
        if not found:
            self._require(bucket)
        return found

    def delete(self, bucket: str, key: Key) -> None:
        """Look first: S3 does not tell whether there was anything to delete."""
        try:
            self._s3("delete", "head_object", bucket, key)
        except RecordNotFound:
            self._require(bucket)
            raise
        self._s3("delete", "delete_object", bucket, key)

    def delete_many(self, bucket: str, keys: Iterable[Key]) -> None:
        """Delete as many as S3 allows with each request."""
        names = map(name_of, keys)
        batch = list(islice(names, BATCH))
        if not batch:
            self._require(bucket)
        while batch:
            delete_objects(self._s3, "delete", bucket, batch)
            batch = list(islice(names, BATCH))

    def list_keys(self, bucket: str, kind: Kind) -> Iterator[Key]:
        """List the objects of one kind."""
        for page in self._pages("list", "list_objects_v2", "NextContinuationToken", bucket, Prefix=f"{kind.folder}/"):
            page["IsTruncated"]  # what is no listing must not pass for an empty one
            yield from filter(None, (key_of(kind, entry.get("Key", "")) for entry in page.get("Contents", ())))

    def entries(self, bucket: str) -> Iterator[ListingEntry]:
        """List all objects."""
        for page in self._pages("list", "list_objects_v2", "NextContinuationToken", bucket):
            page["IsTruncated"]  # what is no listing must not pass for an empty one
            yield from map(_entry, page.get("Contents", ()))

    def leftovers(self, buckets: Iterable[str]) -> Iterator[ListingEntry]:
        """List the unfinished multipart uploads."""
        for bucket in buckets:
            with suppress(BucketNotFound):
                yield from unfinished(self._s3, bucket)

    def check(self) -> None:
        """Ask for the list of buckets: S3 is reached, and knows the credentials."""
        self._probe("health check", "list_buckets")["Buckets"]

    def sweep(self) -> None:
        """Leave all as it is: an unfinished save shows nowhere, and may be another instance's that goes on."""

    def _require(self, bucket: str) -> None:
        self._s3("find the bucket", "head_bucket", bucket)

    def _pages(self, purpose: str, method: str, token: str, bucket: str = "", **parameters: Any) -> Iterator[Answer]:
        """Follow a listing; `token` is the field that names the next page."""
        page = self._s3(purpose, method, bucket, **parameters)
        yield page
        seen = set()
        while following := page.get(token):
            if following in seen:
                logger.error("storage: %s: %s %s: the listing does not end", purpose, method, bucket)
                raise StorageUnavailable(purpose)
            seen.add(following)
            page = self._s3(purpose, method, bucket, **parameters, ContinuationToken=following)
            yield page

    def _get(self, bucket: str, key: Key, **conditions: str) -> Answer:
        return self._s3("read", "get_object", bucket, key, **conditions)

    def _open(self, bucket: str, key: Key) -> StoredRecord:
        answer = self._get(bucket, key)
        body, total, etag = body_of(answer, bucket), answer["ContentLength"], answer["ETag"]
        with ExitStack() as on_return, damage_reported(bucket, key):
            on_return.callback(body.close)
            if total <= MAX_IN_MEMORY_PAYLOAD + TAIL_READ_SIZE:
                data = body.read(total)
                index, body = decode_index(data, total), Body(BytesIO(data), total)
            else:
                index = from_metadata(answer["Metadata"], total) or self._tail(bucket, key, etag).index
            if index.payload.length <= MAX_IN_MEMORY_PAYLOAD:
                return StoredRecord(index, MemoryPayload(index.payload.check(body.read(index.payload.length), "the payload")))
            sent = StreamPayload(body, index.payload.length, partial(self._part, bucket, key, etag))
            on_return.pop_all()
            return StoredRecord(index, sent)

    def _read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        answer = self._get(bucket, key)
        body, total, etag = body_of(answer, bucket), answer["ContentLength"], answer["ETag"]
        with ExitStack() as on_return, damage_reported(bucket, key):
            on_return.callback(body.close)
            if total <= MAX_IN_MEMORY_PAYLOAD + TAIL_READ_SIZE:
                data = body.read(total)
                return decode_index(data, total), iter((data,))
            index = from_metadata(answer["Metadata"], total) or self._tail(bucket, key, etag).index
            on_return.pop_all()
            return index, chunks_of(body)

    def _preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        tail = self._tail(bucket, key)
        before = tail.total - len(tail.data)

        def read(start: int, length: int) -> bytes:
            if start >= before:
                return tail.data[start - before :][:length]
            return self._part(bucket, key, tail.etag, start, length).read(length)

        return tail.index, whole_preview(bucket, key, tail.index, size, read)

    def _head(self, bucket: str, key: Key) -> Index:
        answer = self._s3("read", "head_object", bucket, key)
        index = from_metadata(answer["Metadata"], answer["ContentLength"])
        return index or _steady(lambda: self._tail(bucket, key).index)

    def _look_up(self, bucket: str, key: Key) -> Index | None:
        with suppress(RecordNotFound, RecordDamaged):
            return self._head(bucket, key)
        return None

    def _tail(self, bucket: str, key: Key, etag: str | None = None) -> Tail:
        """Read the last bytes of a record, more where its index needs more. `etag`: of the object that it must be."""
        condition = {"IfMatch": etag} if etag else {}
        with damage_reported(bucket, key):
            try:
                answer = self._get(bucket, key, Range=f"bytes=-{TAIL_READ_SIZE}", **condition)
            except RangeRefused as ex:
                raise BadRecord("the record is empty") from ex
            (data, total), etag = tail_of(answer, bucket, TAIL_READ_SIZE), answer["ETag"]
            needed = min(tail_length(data), total)
            if needed > len(data):
                data = self._part(bucket, key, etag, total - needed, needed).read(needed)
            return Tail(data, decode_index(data, total), total, etag)

    def _part(self, bucket: str, key: Key, etag: str, start: int, length: int) -> Body:
        """Read a part of an object that must not have been replaced."""
        if not length:
            return Body(BytesIO(), 0)
        answer = self._get(bucket, key, Range=f"bytes={start}-{start + length - 1}", IfMatch=etag)
        return part_of(answer, bucket, start, length)


def _entry(listed: Mapping[str, Any]) -> ListingEntry:
    name = listed.get("Key", "")
    key = next(filter(None, (key_of(kind, name) for kind in Kind)), None)
    return ListingEntry(name, key, listed.get("Size", 0), listed["LastModified"].timestamp())


def _then(chunks: Iterable[bytes], act: Callable[[], object]) -> Iterator[bytes]:
    yield from chunks
    act()


def _steady(read: Callable[[], Read]) -> Read:
    """Start over where the record was replaced between two requests."""
    for _ in range(STARTS - 1):
        with suppress(RecordReplaced):
            return read()
    return read()
