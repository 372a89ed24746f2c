"""The contract that every storage keeps.

A storage knows buckets, keys and records; it knows no HTTP and no pictures. Nothing but a ServiceError leaves it: missing
things are BucketNotFound and the error of the key's kind, a record that fails its checks is RecordDamaged, and what the
system refuses is StorageUnavailable, StorageTimeout or StorageFull.

What `put` and `write` promise: once one has returned, the record is whole, visible to every process and (unless told otherwise)
survives a power cut; when it has raised, nothing of it is visible.
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
MAX_IN_MEMORY_PAYLOAD = 2**20  # a payload up to this many bytes is read at once and checked before it is sent
CHUNK_SIZE = 256 * 1024  # bytes that are read, passed on or sent at a time
TAIL_READ_SIZE = 32 * 1024  # bytes at the end of a record that hold the index and all previews of nearly every picture

is_bucket_name = re.compile(BUCKET_NAME).fullmatch
is_id = re.compile(ID).fullmatch
logger = logging.getLogger(__name__)


class Kind(Enum):
    """What a record holds; the value is the directory or prefix, and the ending of its name."""

    IMAGE = ("images", ".jpg")
    OBJECT = ("objects", "")

    def __init__(self, folder: str, ending: str) -> None:
        self.folder = folder
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Key:
    """Names one record in a bucket; `id` is a UUID in lower case."""

    kind: Kind
    id: str

    def not_found(self) -> RecordNotFound:
        """Make the error that says that there is no such record."""
        return ImageNotFound(self.id) if self.kind is Kind.IMAGE else ObjectNotFound(self.id)


class Payload(ABC):
    """The payload of a record, from wherever it is stored. It is read once, from its beginning or from that of `set_range`."""

    length: int
    data: bytes | None = None  # the payload itself, where it is in memory

    @abstractmethod
    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes; all that are left where it is negative or None."""

    @abstractmethod
    def set_range(self, start: int, length: int) -> None:
        """Narrow the payload to `length` bytes from `start`; for a payload of which nothing has been read."""

    @abstractmethod
    def close(self) -> None:
        """Give its file or connection back."""

    def chunks(self) -> Iterator[bytes]:
        """Read the payload to its end, and close it."""
        with closing(self):
            while chunk := self.read(CHUNK_SIZE):
                yield chunk


class MemoryPayload(Payload):
    """A small payload, which has passed its check."""

    def __init__(self, data: bytes) -> None:
        self._keep(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from memory."""
        return self._file.read(size)

    def set_range(self, start: int, length: int) -> None:
        """Keep a part of the bytes."""
        self._keep(self._file.getvalue()[start : start + length])

    def _keep(self, data: bytes) -> None:
        self.data, self.length, self._file = data, len(data), BytesIO(data)

    def close(self) -> None:
        """Do nothing."""


class UnreadPayload(Payload):
    """The payload of a record of which only the index was read."""

    def __init__(self, length: int) -> None:
        self.length = length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read nothing."""
        return b""

    def set_range(self, start: int, length: int) -> None:
        """Note the length."""
        self.length = length

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record that was opened: what it says of itself, and its payload."""

    index: Index
    payload: Payload


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """Something that lies in a storage; it is a record's if it has a key. `modified` is in seconds since 1970."""

    name: str
    key: Key | None
    length: int
    modified: float


@contextmanager
def damage_reported(bucket: str, key: Key) -> Iterator[None]:
    """Log bytes that are not a whole record, and raise RecordDamaged."""
    try:
        yield
    except BadRecord as ex:
        logger.error("damaged record: %s %s in bucket %s: %s", key.kind.folder, key.id, bucket, ex)
        raise RecordDamaged(key.id) from ex


def whole_preview(bucket: str, key: Key, index: Index, size: int, read: Callable[[int, int], bytes]) -> bytes | None:
    """Return a preview, by `read(start, length)` of its record; None where there is none of this size, or a damaged one."""
    if (part := index.parts.get(size)) is None:
        return None
    try:
        return part.check(read(index.offset(size), part.length), f"preview {size}")
    except BadRecord as ex:
        logger.warning("damaged preview of image %s in bucket %s: %s; it is rendered on each request", key.id, bucket, ex)
        return None


class Storage(ABC):
    """Keeps records by bucket and key."""

    def bucket_name_problem(self, bucket: str) -> str | None:
        """Name the rule of the storage that the name of a bucket breaks, beside those of the interface."""
        return None

    @abstractmethod
    def create_bucket(self, bucket: str) -> None:
        """Make an empty bucket, or raise BucketExists; BadQuery where the storage can't have one of this name."""

    @abstractmethod
    def delete_bucket(self, bucket: str) -> None:
        """Remove a bucket and all it holds, or raise BucketNotFound. A large one may vanish some time after the call."""

    @abstractmethod
    def list_buckets(self) -> list[str]:
        """List the names of all buckets, sorted."""

    def put(self, bucket: str, key: Key, draft: NewRecord, payload: Iterable[bytes]) -> None:
        """Make a record of a payload and store it, see `write`. What `payload` raises undoes the step."""
        self.write(bucket, key, draft.content_type, encode(draft, payload))

    @abstractmethod
    def write(self, bucket: str, key: Key, content_type: str, record: Iterable[bytes]) -> None:
        """Store the bytes of a whole record in one step, in place of one of the same key. What `record` raises undoes the step."""

    @abstractmethod
    def replace(self, bucket: str, key: Key, old: Index, record: Iterable[bytes]) -> bool:
        """Write a record in place of the one that has the index `old`; tell False where that is gone, or replaced meanwhile."""

    @abstractmethod
    def read(self, bucket: str, key: Key) -> tuple[Index, Iterator[bytes]]:
        """Read what a record says of itself, and its bytes as they are kept. They pass no check but that of the index."""

    @abstractmethod
    def open(self, bucket: str, key: Key) -> StoredRecord:
        """Open a record. A payload up to MAX_IN_MEMORY_PAYLOAD is in memory and has passed its CRC."""

    @abstractmethod
    def preview(self, bucket: str, key: Key, size: int) -> tuple[Index, bytes | None]:
        """Read a stored preview; None where the record has none of this size, or a damaged one."""

    @abstractmethod
    def head(self, bucket: str, key: Key) -> Index:
        """Read what a record says of itself."""

    def head_many(self, bucket: str, keys: Iterable[Key]) -> dict[Key, Index]:
        """Read what those of the records say of themselves that exist and are not damaged."""
        found = {}
        for key in keys:
            with suppress(RecordNotFound, RecordDamaged):
                found[key] = self.head(bucket, key)
        return found

    @abstractmethod
    def delete(self, bucket: str, key: Key) -> None:
        """Remove a record."""

    @abstractmethod
    def delete_many(self, bucket: str, keys: Iterable[Key]) -> None:
        """Remove those of the records that exist."""

    @abstractmethod
    def list_keys(self, bucket: str, kind: Kind) -> Iterator[Key]:
        """List the keys of one kind, in the order of their ids; what is not a record's name is passed over."""

    @abstractmethod
    def entries(self, bucket: str) -> Iterator[ListingEntry]:
        """List all that a bucket holds, records and what is none, in no particular order. Nothing of it is read."""

    def strays(self) -> Iterator[ListingEntry]:
        """List what lies beside the buckets and is none."""
        return iter(())

    @abstractmethod
    def leftovers(self, buckets: Iterable[str]) -> Iterator[ListingEntry]:
        """List what saves and deletions in these buckets left half done, or still work on."""

    @abstractmethod
    def check(self) -> None:
        """Raise StorageUnavailable unless the storage can be read and written."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what an earlier run left half done; called once at start, before the first request."""
