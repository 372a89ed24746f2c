"""Decoder of RLE4 and RLE8, the run-length encodings of BMP, as Microsoft documents them."""

import re
from operator import mul

from luna_image_store.imaging.limits import Deadline

ESCAPE = 0
END_OF_LINE, END_OF_BITMAP, DELTA = 0, 1, 2
SINGLES = [bytes((value,)) for value in range(256)]
PAIRS = [bytes((value >> 4, value & 15)) * 128 for value in range(256)]
NIBBLES = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))
CODES_BETWEEN_CHECKS = 1000

match_runs = re.compile(rb"(?:[^\0].){1,4096}", re.DOTALL).match


def decode_run_lengths(data: bytes, size: tuple[int, int], is_rle4: bool) -> bytes:
    """Return an index per pixel, the lowest row first. Raise ValueError if the codes end early.

    Pixels without a code have the index 0. Before an end-of-line code, indexes beyond the right edge are padding and are dropped.
    In files without end-of-line codes, they belong to the next row.
    """
    width, end = size[0], size[0] * size[1]
    pixels, position, x, row, codes, deadline = bytearray(end), 0, 0, 0, 0, Deadline()
    while row < end and (position + 1 < len(data) or row + x < end):
        codes += 1
        if codes % CODES_BETWEEN_CHECKS == 0:
            deadline.check()
        count, value = data[position : position + 2]
        if count != ESCAPE or value > DELTA:
            indexes, position = (_read_literal if count == ESCAPE else _read_runs)(data, position, is_rle4)
            start, limit = row + x, row + width if data.startswith(b"\0\0", position) else end
            visible = indexes[: max(0, limit - start)]
            pixels[start : start + len(visible)] = visible
            x += len(indexes)
            continue
        position += 2
        if value == END_OF_LINE:
            x, row = 0, row + width
        elif value == END_OF_BITMAP:
            break
        else:
            right, up = data[position : position + 2]
            x, row, position = x + right, row + up * width, position + 2
    return bytes(pixels)


def _read_runs(data: bytes, position: int, is_rle4: bool) -> tuple[bytes, int]:
    """Return the indexes of consecutive runs, and the position after them."""
    found = match_runs(data, position)
    if not found:
        raise ValueError("the codes end early")
    counts, values = found[0][::2], found[0][1::2]
    if is_rle4:
        return b"".join(PAIRS[value][:count] for count, value in zip(counts, values, strict=True)), found.end()
    return b"".join(map(mul, map(SINGLES.__getitem__, values), counts)), found.end()


def _read_literal(data: bytes, position: int, is_rle4: bool) -> tuple[bytes, int]:
    """Return the indexes of a literal, and the position after its padding to an even number of bytes."""
    count, start = data[position + 1], position + 2
    size = (count + 1) // 2 if is_rle4 else count
    literal = data[start : start + size]
    if len(literal) < size:
        raise ValueError("the codes end early")
    return literal.hex().encode().translate(NIBBLES)[:count] if is_rle4 else literal, start + size + size % 2
