"""The index of a record in the metadata of its S3 object, so that HEAD of a record is one S3 request.

    x-amz-meta-lisr1-0: {"content_type":"image/jpeg",...
    x-amz-meta-lisr1-1: ...                                  lisr1: record format version 1

The JSON is percent-encoded to printable ASCII without spaces, and split, because Swift limits values to 256 bytes. S3 limits
metadata to 2 KiB. A longer index is not included, and is read from the record.
"""

from collections.abc import Mapping
from string import ascii_letters, digits, punctuation
from urllib.parse import quote, unquote_to_bytes
from zlib import crc32

from luna_image_store.storage.record import FOOTER, MAGIC, VERSION, BadRecord, Index, decode_index, tail_length

MAX_METADATA = 2048  # bytes of all keys and values
MAX_VALUE = 240
PREFIX = f"lisr{VERSION}-"
UNQUOTED = (ascii_letters + digits + punctuation).replace("%", "")


def to_metadata(record: bytes | bytearray) -> dict[str, str]:
    """Return the metadata of a complete record, or an empty dict if the index is too long."""
    tail = bytes(record[-FOOTER.size :])
    index = bytes(record[-tail_length(tail) : -FOOTER.size])
    text = quote(index, safe=UNQUOTED)
    pieces = {f"{PREFIX}{start // MAX_VALUE}": text[start : start + MAX_VALUE] for start in range(0, len(text), MAX_VALUE)}
    return pieces if sum(map(len, pieces)) + len(text) <= MAX_METADATA else {}


def from_metadata(metadata: Mapping[str, str], total: int) -> Index | None:
    """Return the index of a record of `total` bytes, or None if the metadata has no matching index."""
    values = {name.lower(): value for name, value in metadata.items()}
    index = unquote_to_bytes("".join(values.get(f"{PREFIX}{number}", "") for number in range(len(values))))
    try:
        return decode_index(index + FOOTER.pack(len(index), crc32(index), VERSION, 0, MAGIC), total)
    except BadRecord:
        return None
