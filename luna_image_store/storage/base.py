"""The interface of every storage.

A storage handles buckets, keys and records. It knows nothing of HTTP and of image formats. It raises only ServiceErrors:
BucketNotFound, ImageNotFound or ObjectNotFound for missing data, RecordDamaged for a record that fails a check, and
StorageUnavailable, StorageTimeout or StorageFull for a failed system call or S3 request.

After `put` and `write` return, the record is complete and visible to every process. It is durable, unless the settings disable
that. If they raise, nothing of the new record is visible.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from io import BytesIO

from luna_image_store.errors import ImageNotFound, ObjectNotFound, RecordDamaged, RecordNotFound
from luna_image_store.storage.record import BadRecord, Index, NewRecord, encode

BUCKET_NAME = "^[a-z0-9-_]{1,255}$"
ID = "^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$"
MAX_IN_MEMORY_PAYLOAD = 2**20  # a payload up to this many bytes is read into memory and checked before it is sent
CHUNK_SIZE = 256 * 1024  # bytes that are read or sent at a time
TAIL_READ_SIZE = 32 * 1024  # bytes at the end of a record that hold the index and the previews of nearly every image

is_bucket_name = re.compile(BUCKET_NAME).fullmatch
is_id = re.compile(ID).fullmatch
logger = logging.getLogger(__name__)


class Kind(Enum):
    """The kind of a record. The value is its directory or key prefix, and its file name extension."""

    IMAGE = ("images", ".jpg")
    OBJECT = ("objects", "")

    def __init__(self, folder: str, ending: str) -> None:
        self.folder = folder
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Key:
    """The identifier of a record in a bucket. `id` is a UUID in lower case."""

    kind: Kind
    id: str

    def not_found(self) -> RecordNotFound:
        """Return the error for a missing record with this key."""
        return ImageNotFound(self.id) if self.kind is Kind.IMAGE else ObjectNotFound(self.id)


class Payload(ABC):
    """The payload of a record. It is read once, from its beginning or from the start of the range."""

    length: int
    data: bytes | None = None  # the payload, if it is in memory

    @abstractmethod
    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, or all remaining bytes if it is negative or None."""

    @abstractmethod
    def set_range(self, start: int, length: int) -> None:
        """Limit the payload to `length` bytes from `start`. Call it before the first `read`."""

    @abstractmethod
    def close(self) -> None:
        """Close the file, or release the connection."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the payload in chunks, and close it."""
        with closing(self):
            while chunk := self.read(CHUNK_SIZE):
                yield chunk


class MemoryPayload(Payload):
    """A small payload in memory. Its checksum has been checked."""

    def __init__(self, data: bytes) -> None:
        self._set_data(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from memory."""
        return self._file.read(size)

    def set_range(self, start: int, length: int) -> None:
        """Replace the payload by a part of it."""
        self._set_data(self._file.getvalue()[start : start + length])

    def _set_data(self, data: bytes) -> None:
        self.data, self.length, self._file = data, len(data), BytesIO(data)

    def close(self) -> None:
        """Do nothing."""


class UnreadPayload(Payload):
    """The payload of a record, if only the index was read."""

    def __init__(self, length: int) -> None:
        self.length = length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read nothing."""
        return b""

    def set_range(self, start: int, length: int) -> None:
        """Set the length."""
        self.length = length

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """An open record: its index and its payload."""

    index: Index
    payload: Payload


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """A file or S3 object in a storage. `key` is None if it is not a record. `modified` is in seconds since 1970."""

    name: str
    key: Key | None
    length: int
    modified: float


@contextmanager
def damage_reported(bucket: str, key: Key) -> Iterator[None]:
    """Log a BadRecord, and raise RecordDamaged in its place."""
    try:
        yield
    except BadRecord as ex:
        logger.error("damaged record: %s %s in bucket %s: %s", key.kind.folder, key.id, bucket, ex)
        raise RecordDamaged(key.id) from ex


def checked_preview(bucket: str, key: Key, index: Index, size: int, read: Callable[[int, int], bytes]) -> bytes | None:
    """Read a preview with `read(start, length)` and check it. Return None if it is missing or damaged."""
    if (part := index.parts.get(size)) is None:
        return None
    try:
        return part.check(read(index.offset(size), part.length), f"preview {size}")
    except BadRecord as ex:
        logger.warning("damaged preview of image %s in bucket %s: %s; it is rendered on each request", key.id, bucket, ex)
        return None


class Storage(ABC):
    """Stores records by bucket and key."""

    def bucket_name_problem(self, bucket: str) -> str | None:
        """Return the rule of this storage that a valid bucket name violates, or None."""
        return None

    @abstractmethod
    def create_bucket(self, bucket: str) -> None:
        """Create an empty bucket. Raise BucketExists, or BadQuery if the storage does not allow the name."""

    @abstractmethod
    def delete_bucket(self, bucket: str) -> None:
        """Delete a bucket and its records. Raise BucketNotFound. The deletion of a large bucket may end after the call."""

    @abstractmethod
    def list_buckets(self) -> list[str]:
        """Return the sorted names of all buckets."""

    def put(self, bucket: str, key: Key, draft: NewRecord, payload: Iterable[bytes]) -> None:
        """Create a record from a payload and store it, see `write`. If `payload` raises, nothing is stored."""
        self.write(bucket, key, draft.content_type, encode(draft, payload))

    @abstractmethod
    def write(self, bucket: str, key: Key, content_type: str, record: Iterable[bytes]) -> None:
        """Store the bytes of a record, or replace the record of this key, atomically. If `record` raises, nothing changes."""

    @abstractmethod
    def replace(self, bucket: str, key: Key, old: Index, record: Iterable[bytes]) -> bool:
        """Replace the record that has the index `old`. Return False if that record was deleted or replaced before."""

    @abstractmethod
    def read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        """Return the index of a record and its stored bytes. Only the index is checked."""

    @abstractmethod
    def open(self, bucket: str, key: Key) -> StoredRecord:
        """Open a record. A payload up to MAX_IN_MEMORY_PAYLOAD is read into memory, and its CRC is checked."""

    @abstractmethod
    def preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        """Return the index of a record and a stored preview. The preview is None if it is missing or damaged."""

    @abstractmethod
    def head(self, bucket: str, key: Key) -> Index:
        """Return the index of a record."""

    def head_many(self, bucket: str, keys: Iterable[Key]) -> dict[Key, Index]:
        """Return the indexes of the records. Skip missing and damaged records."""
        found = {}
        for key in keys:
            with suppress(RecordNotFound, RecordDamaged):
                found[key] = self.head(bucket, key)
        return found

    @abstractmethod
    def delete(self, bucket: str, key: Key) -> None:
        """Delete a record."""

    @abstractmethod
    def delete_many(self, bucket: str, keys: Iterable[Key]) -> None:
        """Delete records. Skip missing records."""

    @abstractmethod
    def list_keys(self, bucket: str, kind: Kind) -> Iterator[Key]:
        """Yield the keys of one kind, sorted by id. Skip names that are not names of records."""

    @abstractmethod
    def entries(self, bucket: str) -> Iterator[ListingEntry]:
        """Yield all records and other files of a bucket, in any order. No file is read."""

    def strays(self) -> Iterator[ListingEntry]:
        """Yield the files and directories in the root that are not buckets."""
        return iter(())

    @abstractmethod
    def leftovers(self, buckets: Iterable[str]) -> Iterator[ListingEntry]:
        """Yield the data of incomplete saves and deletions in these buckets, including those in progress."""

    @abstractmethod
    def check(self) -> None:
        """Raise StorageUnavailable if the storage cannot be read and written."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove the leftovers of an earlier run. Called once at start, before the first request."""
