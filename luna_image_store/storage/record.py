"""The stored form of a picture or an object, as pure functions between values and bytes.

    payload | preview 160 | preview 96 | preview 64 | preview 32 | index (UTF-8 JSON) | footer (16 bytes)
    footer = index length u32 | index CRC-32 u32 | format version u16 | 0 u16 | b"LISR"      (little-endian)

The payload stands first, so the record of a picture is a JPEG for every viewer; what a record holds is read from its tail.
"""

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from zlib import crc32

import msgspec
from xxhash import xxh3_128

FOOTER = struct.Struct("<IIHH4s")
MAGIC = b"LISR"
VERSION = 1
END_OF_TIME = 253_402_300_800  # the first second of the year 10,000, which no HTTP date can have
PAYLOAD, INDEX = "the payload", "the index"
MAX_INDEX = 64 * 1024  # far above what the limits on metadata allow; a larger one is no index of ours


Count = Annotated[int, msgspec.Meta(ge=0)]


class BadRecord(ValueError):
    """Bytes that are not a whole record of a known version; the message says why."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Length in bytes and CRC-32 of one part of a record."""

    length: int
    crc: int

    def check(self, data: bytes, name: str) -> bytes:
        """Give `data` back, or raise BadRecord when it is not what was written."""
        if len(data) != self.length or crc32(data) != self.crc:
            raise BadRecord(f"{name} fails its CRC")
        return data


@dataclass(frozen=True, slots=True)
class NewRecord:
    """What is known of a record before its payload has been read."""

    content_type: str
    account_id: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    previews: Mapping[int, bytes] = field(default_factory=dict)


class IndexSchema(msgspec.Struct):
    """The fields of an index with their types; parts are length and CRC-32."""

    content_type: str
    account_id: str | None
    meta: dict[str, str]
    created: Annotated[float, msgspec.Meta(ge=0, lt=END_OF_TIME)]
    etag: str
    payload: tuple[Count, Count]
    parts: dict[int, tuple[Count, Count]]
    size: tuple[Count, Count] | None


@dataclass(frozen=True, slots=True)
class Index:
    """What a record says of itself. `created` is in seconds since 1970, `size` is width and height in pixels."""

    content_type: str
    account_id: str | None
    meta: Mapping[str, str]
    created: float
    etag: str
    payload: Extent
    parts: Mapping[int, Extent]
    size: tuple[int, int] | None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def length(self) -> int:
        """Count the bytes before the index."""
        return self.payload.length + sum(part.length for part in self.parts.values())

    def offset(self, preview: int) -> int:
        """Find where a preview begins in the record."""
        start = self.payload.length
        for size, part in self.parts.items():
            if size == preview:
                return start
            start += part.length
        raise KeyError(preview)

    def to_json(self) -> bytes:
        """Write the index as it stands in a record."""
        known = {
            "content_type": self.content_type,
            "account_id": self.account_id,
            "meta": self.meta,
            "created": self.created,
            "etag": self.etag,
            "payload": [self.payload.length, self.payload.crc],
            "parts": {str(size): [part.length, part.crc] for size, part in self.parts.items()},
            "size": self.size,
        }
        return msgspec.json.encode({**self.extra, **known})

    @classmethod
    def from_json(cls, data: bytes) -> "Index":
        """Read an index; keys that this version does not know are kept in `extra`."""
        fields = msgspec.json.decode(data)
        known = msgspec.convert(fields, IndexSchema, str_keys=True)
        return cls(
            known.content_type,
            known.account_id,
            known.meta,
            known.created,
            known.etag,
            Extent(*known.payload),
            {size: Extent(*part) for size, part in known.parts.items()},
            known.size,
            {key: value for key, value in fields.items() if key not in IndexSchema.__struct_fields__},
        )


def etag_of(data: bytes) -> str:
    """Make the strong ETag of a content that is held in memory."""
    return xxh3_128(data).hexdigest()


def encode(draft: NewRecord, payload: Iterable[bytes]) -> Iterator[bytes]:
    """Give the bytes of a record, piece by piece; the payload is passed through, never gathered."""
    digest, crc, length = xxh3_128(), 0, 0
    for chunk in payload:
        digest.update(chunk)
        crc = crc32(chunk, crc)
        length += len(chunk)
        yield chunk
    yield from draft.previews.values()
    parts = {size: Extent(len(data), crc32(data)) for size, data in draft.previews.items()}
    created, etag, payload_part = round(time.time(), 3), digest.hexdigest(), Extent(length, crc)
    yield _end(Index(draft.content_type, draft.account_id, draft.meta, created, etag, payload_part, parts, draft.size))


def with_previews(index: Index, payload: bytes, previews: Mapping[int, bytes]) -> Iterator[bytes]:
    """Give the bytes of a record that has other previews; all else is as `index` says."""
    yield payload
    yield from previews.values()
    yield _end(replace(index, parts={size: Extent(len(data), crc32(data)) for size, data in previews.items()}))


def _end(index: Index) -> bytes:
    data = index.to_json()
    return data + FOOTER.pack(len(data), crc32(data), VERSION, 0, MAGIC)


def tail_length(tail: bytes) -> int:
    """Read from a record's last bytes (16 at least) how many of them are index and footer."""
    if len(tail) < FOOTER.size or tail[-4:] != MAGIC:
        raise BadRecord("the footer is missing")
    length, _, version, _, _ = FOOTER.unpack(tail[-FOOTER.size :])
    if version != VERSION:
        raise BadRecord(f"format version {version} is not supported, only {VERSION}")
    if length > MAX_INDEX:
        raise BadRecord(f"an index of {length} bytes is too long")
    return int(length) + FOOTER.size


def decode_index(tail: bytes, total: int) -> Index:
    """Read the index from the last bytes of a record of `total` bytes; every length and the CRC must fit."""
    start = len(tail) - tail_length(tail)
    if start < 0:
        raise BadRecord("the index is longer than the record")
    data = tail[start : -FOOTER.size]
    if crc32(data) != FOOTER.unpack(tail[-FOOTER.size :])[1]:
        raise BadRecord("the index fails its CRC")
    try:
        index = Index.from_json(data)
        stated = index.length() + len(tail) - start
    except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError) as ex:
        raise BadRecord(f"cannot read the index: {ex!r}") from ex
    if stated != total:
        raise BadRecord(f"the record has {total} bytes, its index states {stated}")
    return index


def check_parts(index: Index, record: Iterable[bytes], report: Callable[[str, str], object]) -> Iterator[bytes]:
    """Pass a whole record through; `tell` of each part that is not what its index says: its name, and why."""
    parts = [(PAYLOAD, index.payload), *((f"preview {size}", part) for size, part in index.parts.items())]
    digest, crc, seen, tail = xxh3_128(), 0, 0, bytearray()
    for chunk in record:
        rest = memoryview(chunk)
        while rest and parts:
            name, part = parts[0]
            piece = rest[: part.length - seen]
            rest = rest[len(piece) :]
            crc, seen = crc32(piece, crc), seen + len(piece)
            if name == PAYLOAD:
                digest.update(piece)
            if seen == part.length:
                if crc != part.crc:
                    report(name, f"{name} fails its CRC")
                del parts[0]
                crc = seen = 0
        tail += rest
        yield chunk
    if digest.hexdigest() != index.etag:
        report(PAYLOAD, f"{PAYLOAD} does not match its ETag")
    if fault := _index_fault(index, bytes(tail)):
        report(INDEX, fault)


def _index_fault(index: Index, tail: bytes) -> str:
    try:
        found = decode_index(tail, index.length() + len(tail))
    except BadRecord as ex:
        return str(ex)
    return "" if found == index else f"{INDEX} changed while it was read"


def verify(index: Index, record: Iterable[bytes]) -> Iterator[bytes]:
    """Pass a whole record through; raise BadRecord where its bytes are not what its index says."""
    return check_parts(index, record, _refuse)


def _refuse(part: str, reason: str) -> None:
    raise BadRecord(reason)
