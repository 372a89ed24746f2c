"""The stored form of an image or object: functions that encode and decode records.

    payload | preview 160 | preview 96 | preview 64 | preview 32 | index (UTF-8 JSON) | footer (16 bytes)
    footer = index length u32 | index CRC-32 u32 | format version u16 | 0 u16 | b"LISR"      (little-endian)

The payload comes first, so image viewers open the record of an image as a JPEG. The index is read from the end of the record.
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
MAX_CREATED = 253_402_300_800  # the first second of the year 10,000; HTTP dates have four-digit years
PAYLOAD, INDEX = "the payload", "the index"
MAX_INDEX = 64 * 1024  # bytes; the limits on metadata allow far less


Count = Annotated[int, msgspec.Meta(ge=0)]


class BadRecord(ValueError):
    """Bytes that are not an intact record of a supported version. The message says why."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The length in bytes and the CRC-32 of a part of a record."""

    length: int
    crc: int

    def check(self, data: bytes, name: str) -> bytes:
        """Return `data`. Raise BadRecord if its length or CRC is wrong."""
        if len(data) != self.length or crc32(data) != self.crc:
            raise BadRecord(f"{name} fails its CRC")
        return data


@dataclass(frozen=True, slots=True)
class NewRecord:
    """The fields of a record that are known before its payload is read."""

    content_type: str
    account_id: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    previews: Mapping[int, bytes] = field(default_factory=dict)


class IndexSchema(msgspec.Struct):
    """The JSON form of an index. `payload` and `parts` hold lengths and CRC-32s."""

    content_type: str
    account_id: str | None
    meta: dict[str, str]
    created: Annotated[float, msgspec.Meta(ge=0, lt=MAX_CREATED)]
    etag: str
    payload: tuple[Count, Count]
    parts: dict[int, tuple[Count, Count]]
    size: tuple[Count, Count] | None


# msgspec prepares a class at its first use, and a process crashes if two threads do this at the same time: prepare it now.
msgspec.json.Decoder(IndexSchema)


@dataclass(frozen=True, slots=True)
class Index:
    """The index of a record. `created` is in seconds since 1970, `size` is width and height in pixels."""

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
        """Return the length in bytes of the payload and the previews."""
        return self.payload.length + sum(part.length for part in self.parts.values())

    def offset(self, preview: int) -> int:
        """Return the position of a preview in the record. Raise KeyError if it has no such preview."""
        start = self.payload.length
        for size, part in self.parts.items():
            if size == preview:
                return start
            start += part.length
        raise KeyError(preview)

    def to_json(self) -> bytes:
        """Return the index as JSON."""
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
        """Decode an index. `extra` gets the keys that this version does not know."""
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
    """Return the ETag of a payload, without quotes."""
    return xxh3_128(data).hexdigest()


def encode(draft: NewRecord, payload: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a record in chunks. The payload is streamed, not held in memory."""
    digest, crc, length = xxh3_128(), 0, 0
    for chunk in payload:
        digest.update(chunk)
        crc = crc32(chunk, crc)
        length += len(chunk)
        yield chunk
    yield from draft.previews.values()
    parts = {size: Extent(len(data), crc32(data)) for size, data in draft.previews.items()}
    created, etag, payload_part = round(time.time(), 3), digest.hexdigest(), Extent(length, crc)
    yield _index_and_footer(Index(draft.content_type, draft.account_id, draft.meta, created, etag, payload_part, parts, draft.size))


def with_previews(index: Index, payload: bytes, previews: Mapping[int, bytes]) -> Iterator[bytes]:
    """Yield the bytes of a record with new previews. The other fields of `index` do not change."""
    yield payload
    yield from previews.values()
    yield _index_and_footer(replace(index, parts={size: Extent(len(data), crc32(data)) for size, data in previews.items()}))


def _index_and_footer(index: Index) -> bytes:
    data = index.to_json()
    return data + FOOTER.pack(len(data), crc32(data), VERSION, 0, MAGIC)


def tail_length(tail: bytes) -> int:
    """Return the length of index and footer, from the last bytes of a record (at least 16)."""
    if len(tail) < FOOTER.size or tail[-4:] != MAGIC:
        raise BadRecord("the footer is missing")
    length, _, version, _, _ = FOOTER.unpack(tail[-FOOTER.size :])
    if version != VERSION:
        raise BadRecord(f"format version {version} is not supported, only {VERSION}")
    if length > MAX_INDEX:
        raise BadRecord(f"an index of {length} bytes is too long")
    return int(length) + FOOTER.size


def decode_index(tail: bytes, total: int) -> Index:
    """Decode the index from the last bytes of a record of `total` bytes. Raise BadRecord if a length or the CRC is wrong."""
    start = len(tail) - tail_length(tail)
    if start < 0:
        raise BadRecord("the index is longer than the record")
    data = tail[start : -FOOTER.size]
    if crc32(data) != FOOTER.unpack(tail[-FOOTER.size :])[1]:
        raise BadRecord("the index fails its CRC")
    try:
        index = Index.from_json(data)
        expected = index.length() + len(tail) - start
    except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError) as ex:
        raise BadRecord(f"cannot read the index: {ex!r}") from ex
    if expected != total:
        raise BadRecord(f"the record has {total} bytes, its index states {expected}")
    return index


def check_parts(index: Index, record: Iterable[bytes], report: Callable[[str, str], object]) -> Iterator[bytes]:
    """Yield a complete record unchanged. Call `report(name, reason)` for each part that does not match its index."""
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
    if problem := _index_problem(index, bytes(tail)):
        report(INDEX, problem)


def _index_problem(index: Index, tail: bytes) -> str:
    try:
        found = decode_index(tail, index.length() + len(tail))
    except BadRecord as ex:
        return str(ex)
    return "" if found == index else f"{INDEX} changed while it was read"


def verify(index: Index, record: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a complete record unchanged. Raise BadRecord if its bytes do not match its index."""
    return check_parts(index, record, _raise_bad_record)


def _raise_bad_record(part: str, reason: str) -> None:
    raise BadRecord(reason)
