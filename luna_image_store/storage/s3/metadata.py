"""The index of a record in the user metadata of its object, so that HEAD of a record is one HEAD.

    x-amz-meta-lisr1-0: {"content_type":"image/jpeg",...
    x-amz-meta-lisr1-1: ...                                  lisr1: a record of version 1

The text is percent-encoded, so that it has neither spaces nor anything but ASCII, and cut in pieces, since Swift takes values
of at most 256 bytes. An index that is too long for S3's 2 KiB is left out, and read from the record itself.
"""

from collections.abc import Mapping
from string import ascii_letters, digits, punctuation
from urllib.parse import quote, unquote_to_bytes
from zlib import crc32

from luna_image_store.storage.record import FOOTER, MAGIC, VERSION, BadRecord, Index, decode_index, tail_length

LIMIT = 2048  # bytes of all keys and values
PIECE = 240
NAME = f"lisr{VERSION}-"
PLAIN = (ascii_letters + digits + punctuation).replace("%", "")


def to_metadata(record: bytes | bytearray) -> dict[str, str]:
    """Make the metadata for a whole record; none where its index is too long."""
    tail = bytes(record[-FOOTER.size :])
    index = bytes(record[-tail_length(tail) : -FOOTER.size])
    text = quote(index, safe=PLAIN)
    pieces = {f"{NAME}{start // PIECE}": text[start : start + PIECE] for start in range(0, len(text), PIECE)}
    return pieces if sum(map(len, pieces)) + len(text) <= LIMIT else {}


def from_metadata(metadata: Mapping[str, str], total: int) -> Index | None:
    """Read the index of a record of `total` bytes; None where the metadata has none that fits."""
    values = {name.lower(): value for name, value in metadata.items()}
    index = unquote_to_bytes("".join(values.get(f"{NAME}{number}", "") for number in range(len(values))))
    try:
        return decode_index(index + FOOTER.pack(len(index), crc32(index), VERSION, 0, MAGIC), total)
    except BadRecord:
        return None
