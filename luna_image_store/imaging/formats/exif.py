"""A parser of the orientation in EXIF. It reads no other tag, so other contents of EXIF cost nothing."""

import struct

ORIENTATION = 0x0112
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}  # TIFF 6.0: readers accept any of the integer types
BYTE_ORDERS = {b"II": "<", b"MM": ">"}
HEADER_LENGTH, ENTRY_LENGTH = 8, 12
UPRIGHT = 1


def read_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, from EXIF that begins with its TIFF header. The default is 1."""
    order = BYTE_ORDERS.get(exif[:2])
    if order is None or len(exif) < HEADER_LENGTH:
        return UPRIGHT
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    count = int.from_bytes(exif[start : start + 2], "little" if order == "<" else "big")
    entries = exif[start + 2 : start + 2 + ENTRY_LENGTH * count]
    complete = len(entries) - len(entries) % ENTRY_LENGTH
    for tag, kind, _, value in struct.iter_unpack(f"{order}HHI4s", entries[:complete]):
        if tag == ORIENTATION:
            return _orientation(order, kind, value)
    return UPRIGHT


def _orientation(order: str, kind: int, value: bytes) -> int:
    return valid_orientation(struct.unpack_from(order + INTEGERS[kind], value)[0]) if kind in INTEGERS else UPRIGHT


def valid_orientation(orientation: int) -> int:
    """Return an orientation, or 1 if the number is not from 1 to 8."""
    return orientation if 1 <= orientation <= 8 else UPRIGHT
