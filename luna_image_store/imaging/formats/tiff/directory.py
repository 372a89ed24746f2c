"""The directory of a TIFF: read the first directory of an upload, and write a new one for libtiff.

Only requested tags are read, so other tags cost nothing. libtiff receives a BigTIFF with the bytes of the upload and a new
directory. The new directory has only the tags that make the pixels, after a check.
"""

import struct
from collections.abc import Mapping

CLASSIC, BIG = 42, 43
BYTE_ORDERS = {b"II": "<", b"MM": ">"}
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
LENGTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes, by type
LONG8 = 16
MAX_ENTRIES = 65_535
BIG_HEADER_LENGTH = 16

Value = tuple[int, ...] | tuple[int, int, bytes]


class Directory:
    """The first directory of a TIFF or BigTIFF. `order` is its byte order as in the module `struct`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.order = BYTE_ORDERS[data[:2]]
        (version,) = self._unpack("H", 2)
        if version not in (CLASSIC, BIG):
            raise ValueError("not a TIFF")
        is_big = version == BIG
        (start,) = self._unpack("Q" if is_big else "I", 8 if is_big else 4)
        (count,) = self._unpack("Q" if is_big else "H", start)
        entry, start = (f"{self.order}HHQ8s", start + 8) if is_big else (f"{self.order}HHI4s", start + 2)
        end = start + min(count, MAX_ENTRIES) * struct.calcsize(entry)
        if count > MAX_ENTRIES or end > len(data):
            raise ValueError("the directory is not in the file")
        self._entries: dict[int, tuple[int, int, bytes]] = {}
        for tag, kind, length, value in struct.iter_unpack(entry, data[start:end]):
            self._entries.setdefault(tag, (kind, length, value))

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def integers(self, tag: int, limit: int) -> tuple[int, ...]:
        """Return the first values of a tag, at most `limit`, or () if it is missing or has no integers."""
        kind, count, _ = self._entries.get(tag, (0, 0, b""))
        if kind not in INTEGERS:
            return ()
        count = min(count, limit)
        data = self._value(tag, count * LENGTHS[kind])
        return struct.unpack_from(f"{self.order}{len(data) // LENGTHS[kind]}{INTEGERS[kind]}", data)

    def integer(self, tag: int, default: int) -> int:
        """Return the first value of a tag, or `default`."""
        return next(iter(self.integers(tag, 1)), default)

    def content(self, tag: int) -> bytes:
        """Return the bytes of a tag in the byte order of the file, or b"" if it is missing or truncated."""
        kind, count, _ = self._entries.get(tag, (0, 0, b""))
        length = count * LENGTHS.get(kind, 0)
        content = self._value(tag, length)
        return content if len(content) == length else b""

    def raw(self, tag: int) -> tuple[int, int, bytes]:
        """Return type, count and bytes of a tag."""
        kind, count, _ = self._entries[tag]
        return kind, count, self.content(tag)

    def _value(self, tag: int, length: int) -> bytes:
        kind, count, inline = self._entries.get(tag, (0, 0, b""))
        if count * LENGTHS.get(kind, 0) <= len(inline):
            return inline[:length]
        start = int.from_bytes(inline, "little" if self.order == "<" else "big")
        return self._data[start : start + length]

    def _unpack(self, form: str, position: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, self._data, position)


def write_tiff(order: str, tags: Mapping[int, Value], content: bytes, appendix: bytes = b"") -> bytes:
    """Write a BigTIFF: content at BIG_HEADER_LENGTH, appendix, one directory. Values are integers, or raw."""
    start = BIG_HEADER_LENGTH + len(content) + len(appendix)
    values_start = start + 8 + 20 * len(tags) + 8
    entries, values = [], bytearray()
    for tag, tag_value in sorted(tags.items()):
        kind, count, value = _encode(order, tag_value)
        if len(value) > 8:
            place = struct.pack(f"{order}Q", values_start + len(values))
            values += value
        else:
            place = value.ljust(8, b"\0")
        entries.append(struct.pack(f"{order}HHQ8s", tag, kind, count, place))
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", BIG, 8, 0, start)
    return b"".join((header, content, appendix, struct.pack(f"{order}Q", len(tags)), *entries, bytes(8), values))


def _encode(order: str, value: Value) -> tuple[int, int, bytes]:
    if len(value) == 3 and isinstance(value[2], bytes):
        return value[0], value[1], value[2]
    return LONG8, len(value), struct.pack(f"{order}{len(value)}Q", *value)
