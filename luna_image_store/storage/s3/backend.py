"""Records as S3 objects. A bucket is an S3 bucket."""

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
    checked_preview,
    damage_reported,
)
from luna_image_store.storage.record import BadRecord, Index, decode_index, tail_length
from luna_image_store.storage.s3.bucket_deletion import DEFAULT_LIMITS, BucketDeletions, DeletionLimits, delete_objects
from luna_image_store.storage.s3.client import S3Client
from luna_image_store.storage.s3.errors import AccessDenied, InvalidRange, RecordReplaced, S3Response
from luna_image_store.storage.s3.metadata import from_metadata
from luna_image_store.storage.s3.names import bucket_name_problem, key_of, name_of
from luna_image_store.storage.s3.streams import Body, StreamPayload, body_of, chunks_of, range_of, tail_of
from luna_image_store.storage.s3.upload import incomplete_uploads, upload

LOOKUP_THREADS = 8  # concurrent requests of all calls of `head_many`
MAX_DELETIONS = 1000  # S3's maximum for one DeleteObjects request
MAX_READ_ATTEMPTS = 3  # of a read with two requests, if the record is replaced between them
PROBE_CONNECT_TIMEOUT, PROBE_READ_TIMEOUT = 2.0, 3.0  # seconds, short for health checks

Read = TypeVar("Read")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tail:
    """The last bytes of a record with its index. `total` is the length of the record, `etag` the ETag of the S3 object."""

    data: bytes
    index: Index
    total: int
    etag: str


class S3Storage(Storage):
    """Stores each record in one object of an S3 service."""

    def __init__(self, settings: S3Settings, threads: int, deletion: DeletionLimits = DEFAULT_LIMITS) -> None:
        """Raise StorageUnavailable if the settings are wrong. S3 may be down. `threads`: the threads of this process."""
        self._s3 = S3Client(settings, settings.max_connections or threads + LOOKUP_THREADS)
        self._probe = S3Client(
            replace(settings, connect_timeout=PROBE_CONNECT_TIMEOUT, read_timeout=PROBE_READ_TIMEOUT, max_attempts=1), 1
        )
        self._lookups = ThreadPoolExecutor(LOOKUP_THREADS, "lookup")
        self._deletions = BucketDeletions(self._s3, deletion)

    def bucket_name_problem(self, bucket: str) -> str | None:
        """Return the rule of S3 that a bucket name violates, or None."""
        return bucket_name_problem(bucket)

    def create_bucket(self, bucket: str) -> None:
        """Send HEAD first: some services respond to CreateBucket with success if the bucket exists."""
        if rule := bucket_name_problem(bucket):
            raise BadQuery(f"bucket: {rule}")
        if self._deletions.is_running(bucket):
            raise BucketExists(bucket)
        with suppress(BucketNotFound, AccessDenied):  # denied: the bucket may belong to another account; CreateBucket decides
            self._s3("create bucket", "head_bucket", bucket)
            raise BucketExists(bucket)
        region = self._s3.region()
        place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region else {}
        self._s3("create bucket", "create_bucket", bucket, **place)

    def delete_bucket(self, bucket: str) -> None:
        """Delete the objects, then the bucket. A long deletion continues in the background."""
        self._deletions.delete(bucket)

    def list_buckets(self) -> list[str]:
        """Return the sorted names of the buckets of these credentials, without names that violate a rule of S3."""
        pages = self._pages("list buckets", "list_buckets", "ContinuationToken")
        names = (entry.get("Name", "") for page in pages for entry in page["Buckets"])
        return sorted(name for name in names if not bucket_name_problem(name))

    def write(self, bucket: str, key: Key, content_type: str, record: Iterable[bytes]) -> None:
        """Send one request, or a multipart upload."""
        upload(self._s3, bucket, key, content_type, record)

    def replace(self, bucket: str, key: Key, old: Index, record: Iterable[bytes]) -> bool:
        """Check the ETag before the last bytes are sent. A service that supports `IfMatch` checks it again."""
        try:
            tail = self._read_tail(bucket, key)
            if tail.index != old:
                return False
            condition = {"IfMatch": tail.etag}
            check = partial(self._s3, "replace", "head_object", bucket, key, **condition)
            upload(self._s3, bucket, key, old.content_type, _followed_by(record, check), **condition)
        except (BucketNotFound, RecordNotFound, RecordDamaged, RecordReplaced):
            return False
        return True

    def read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        """Read a small record at once. Stream a large record."""
        return _retry_if_replaced(lambda: self._read(bucket, key))

    def open(self, bucket: str, key: Key) -> StoredRecord:
        """Read a small record at once. Stream a large payload."""
        return _retry_if_replaced(lambda: self._open(bucket, key))

    def preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        """Read the end of the record, which nearly always includes the preview."""
        return _retry_if_replaced(lambda: self._preview(bucket, key, size))

    def head(self, bucket: str, key: Key) -> Index:
        """Read the index from the metadata of the object, or else from the end of the record."""
        try:
            return self._head(bucket, key)
        except RecordNotFound:
            self._require_bucket(bucket)  # the 404 of HEAD has no error code
            raise

    def head_many(self, bucket: str, keys: Iterable[Key]) -> dict[Key, Index]:
        """Read several indexes concurrently."""
        keys_to_read = list(keys)
        contexts = [copy_context() for _ in keys_to_read]  # log lines of the threads have the request id
        indexes = self._lookups.map(lambda context, key: context.run(self._look_up, bucket, key), contexts, keys_to_read)
        found = {key: index for key, index in zip(keys_to_read, indexes, strict=True) if index}
        if not found:
            self._require_bucket(bucket)
        return found

    def delete(self, bucket: str, key: Key) -> None:
        """Send HEAD first: the response to DeleteObject does not show whether the object existed."""
        try:
            self._s3("delete", "head_object", bucket, key)
        except RecordNotFound:
            self._require_bucket(bucket)
            raise
        self._s3("delete", "delete_object", bucket, key)

    def delete_many(self, bucket: str, keys: Iterable[Key]) -> None:
        """Send one DeleteObjects request for up to 1000 records."""
        names = map(name_of, keys)
        batch = list(islice(names, MAX_DELETIONS))
        if not batch:
            self._require_bucket(bucket)
        while batch:
            delete_objects(self._s3, "delete", bucket, batch)
            batch = list(islice(names, MAX_DELETIONS))

    def list_keys(self, bucket: str, kind: Kind) -> Iterator[Key]:
        """List the objects of one kind."""
        for page in self._pages("list", "list_objects_v2", "NextContinuationToken", bucket, Prefix=f"{kind.folder}/"):
            page["IsTruncated"]  # raises if the response is not a listing
            yield from filter(None, (key_of(kind, entry.get("Key", "")) for entry in page.get("Contents", ())))

    def entries(self, bucket: str) -> Iterator[ListingEntry]:
        """List all objects."""
        for page in self._pages("list", "list_objects_v2", "NextContinuationToken", bucket):
            page["IsTruncated"]  # raises if the response is not a listing
            yield from map(_entry, page.get("Contents", ()))

    def leftovers(self, buckets: Iterable[str]) -> Iterator[ListingEntry]:
        """Yield the incomplete multipart uploads."""
        for bucket in buckets:
            with suppress(BucketNotFound):
                yield from incomplete_uploads(self._s3, bucket)

    def check(self) -> None:
        """List the buckets: this tests the connection and the credentials."""
        self._probe("health check", "list_buckets")["Buckets"]

    def sweep(self) -> None:
        """Do nothing. Incomplete uploads are not visible, and may belong to another instance that continues them."""

    def _require_bucket(self, bucket: str) -> None:
        self._s3("find the bucket", "head_bucket", bucket)

    def _pages(self, purpose: str, method: str, token: str, bucket: str = "", **parameters: Any) -> Iterator[S3Response]:
        """Yield the pages of a listing. `token`: the field with the token of the next page."""
        page = self._s3(purpose, method, bucket, **parameters)
        yield page
        seen = set()
        while next_token := page.get(token):
            if next_token in seen:
                logger.error("storage: %s: %s %s: the listing does not end", purpose, method, bucket)
                raise StorageUnavailable(purpose)
            seen.add(next_token)
            page = self._s3(purpose, method, bucket, **parameters, ContinuationToken=next_token)
            yield page

    def _get_object(self, bucket: str, key: Key, **conditions: str) -> S3Response:
        return self._s3("read", "get_object", bucket, key, **conditions)

    def _open(self, bucket: str, key: Key) -> StoredRecord:
        response = self._get_object(bucket, key)
        body, total, etag = body_of(response, bucket), response["ContentLength"], response["ETag"]
        with ExitStack() as on_return, damage_reported(bucket, key):
            on_return.callback(body.close)
            if total <= MAX_IN_MEMORY_PAYLOAD + TAIL_READ_SIZE:
                data = body.read(total)
                index, body = decode_index(data, total), Body(BytesIO(data), total)
            else:
                index = from_metadata(response["Metadata"], total) or self._read_tail(bucket, key, etag).index
            if index.payload.length <= MAX_IN_MEMORY_PAYLOAD:
                return StoredRecord(index, MemoryPayload(index.payload.check(body.read(index.payload.length), "the payload")))
            payload = StreamPayload(body, index.payload.length, partial(self._read_range, bucket, key, etag))
            on_return.pop_all()
            return StoredRecord(index, payload)

    def _read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        response = self._get_object(bucket, key)
        body, total, etag = body_of(response, bucket), response["ContentLength"], response["ETag"]
        with ExitStack() as on_return, damage_reported(bucket, key):
            on_return.callback(body.close)
            if total <= MAX_IN_MEMORY_PAYLOAD + TAIL_READ_SIZE:
                data = body.read(total)
                return decode_index(data, total), iter((data,))
            index = from_metadata(response["Metadata"], total) or self._read_tail(bucket, key, etag).index
            on_return.pop_all()
            return index, chunks_of(body)

    def _preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        tail = self._read_tail(bucket, key)
        before = tail.total - len(tail.data)

        def read(start: int, length: int) -> bytes:
            if start >= before:
                return tail.data[start - before :][:length]
            return self._read_range(bucket, key, tail.etag, start, length).read(length)

        return tail.index, checked_preview(bucket, key, tail.index, size, read)

    def _head(self, bucket: str, key: Key) -> Index:
        response = self._s3("read", "head_object", bucket, key)
        index = from_metadata(response["Metadata"], response["ContentLength"])
        return index or _retry_if_replaced(lambda: self._read_tail(bucket, key).index)

    def _look_up(self, bucket: str, key: Key) -> Index | None:
        with suppress(RecordNotFound, RecordDamaged):
            return self._head(bucket, key)
        return None

    def _read_tail(self, bucket: str, key: Key, etag: str | None = None) -> Tail:
        """Read the end of a record. `etag`: the required ETag of the object."""
        condition = {"IfMatch": etag} if etag else {}
        with damage_reported(bucket, key):
            try:
                response = self._get_object(bucket, key, Range=f"bytes=-{TAIL_READ_SIZE}", **condition)
            except InvalidRange as ex:
                raise BadRecord("the record is empty") from ex
            (data, total), etag = tail_of(response, bucket, TAIL_READ_SIZE), response["ETag"]
            needed = min(tail_length(data), total)
            if needed > len(data):
                data = self._read_range(bucket, key, etag, total - needed, needed).read(needed)
            return Tail(data, decode_index(data, total), total, etag)

    def _read_range(self, bucket: str, key: Key, etag: str, start: int, length: int) -> Body:
        """Read a range of an object with this ETag. Raise RecordReplaced if the object was replaced."""
        if not length:
            return Body(BytesIO(), 0)
        response = self._get_object(bucket, key, Range=f"bytes={start}-{start + length - 1}", IfMatch=etag)
        return range_of(response, bucket, start, length)


def _entry(item: Mapping[str, Any]) -> ListingEntry:
    name = item.get("Key", "")
    key = next(filter(None, (key_of(kind, name) for kind in Kind)), None)
    return ListingEntry(name, key, item.get("Size", 0), item["LastModified"].timestamp())


def _followed_by(chunks: Iterable[bytes], action: Callable[[], object]) -> Iterator[bytes]:
    yield from chunks
    action()


def _retry_if_replaced(read: Callable[[], Read]) -> Read:
    """Call `read` again if the record was replaced between two requests."""
    for _ in range(MAX_READ_ATTEMPTS - 1):
        with suppress(RecordReplaced):
            return read()
    return read()
