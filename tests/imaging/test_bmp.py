"""BMPs from other programs: padded rows in run lengths, bit fields of 16 bits, profiles."""

import struct

import pytest
from PIL import Image

from .file_writers import bmp
from .measure import max_difference, rendered
from .profiles import SRGB, SRGB_CURVE, matrix_profile

STRIPES = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
PALETTE = b"".join(bytes([*color[::-1], 0]) for color in STRIPES)
GREEN_FOR_RED = tuple((row[1], row[2], row[0]) for row in SRGB)  # the columns of sRGB, rotated


def stripes(width, height):
    image = Image.new("RGB", (width, height))
    for y in range(height):
        image.paste(STRIPES[(height - 1 - y) * 4 // height], (0, y, width, y + 1))
    return image


def run(count, index, depth):
    return b"".join(bytes([min(255, count - start), index * (17 if depth == 4 else 1)]) for start in range(0, count, 255))


def literal(count, index, depth):
    data = bytes([index * 17] * -(-count // 2)) if depth == 4 else bytes([index] * count)
    return bytes([0, count]) + data + bytes(len(data) % 2)


ROWS = {  # the codes of a row of 61 pixels
    "exact": lambda index, depth: run(61, index, depth),
    "padded": lambda index, depth: run(61, index, depth) + run(3, index, depth),
    "padded with another color": lambda index, depth: run(61, index, depth) + run(3, 3 - index, depth),
    "in one run that is too long": lambda index, depth: run(64, index, depth),
    "in a literal that is too long": lambda index, depth: literal(64, index, depth),
    "in pieces": lambda index, depth: literal(31, index, depth) + run(20, index, depth) + literal(13, index, depth),
}


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize(("depth", "compression"), [(8, 1), (4, 2)], ids=["RLE8", "RLE4"])
@pytest.mark.parametrize("end", [b"\0\0\0\1", b"\0\1", b"\0\0"], ids=["end of line and bitmap", "end of bitmap", "end of line"])
def test_padding_of_run_length_rows_is_dropped(form, depth, compression, end):
    rows = [ROWS[form](y * 4 // 60, depth) for y in range(60)]
    data = bmp((61, 60), depth, b"\0\0".join(rows) + end, PALETTE.ljust(4 << depth, b"\0"), compression)
    assert max_difference(rendered(data)[0], stripes(61, 60)) == 0


def with_header(length, depth, rows, masks=(0, 0, 0, 0), space=b"", profile=b"", compression=3):
    """Write a BMP with a header of version 3, 4 or 5."""
    head = struct.pack("<IiiHHIIiiII", length, 20, 10, 1, depth, compression, len(rows), 0, 0, 0, 0) + struct.pack("<IIII", *masks)
    head += space.ljust(4, b"\0") + bytes(48) + struct.pack("<IIII", 4, length + len(rows), len(profile), 0)
    start = 14 + length
    return b"BM" + struct.pack("<IHHI", start + len(rows) + len(profile), 0, 0, start) + head[:length] + rows + profile


def words(*pixels):
    return b"".join(struct.pack("<H", pixel) * 10 for pixel in pixels) * 10


MASKS = {
    "1-5-5-5": ((0x7C00, 0x3E0, 0x1F, 0x8000), (0xFC00, 0x001F)),
    "4-4-4-4": ((0xF00, 0xF0, 0xF, 0xF000), (0xFF00, 0x000F)),
    "blue first": ((0x1F, 0x7E0, 0xF800, 0), (0x001F, 0xFFFF)),
    "5-6-5": ((0xF800, 0x7E0, 0x1F, 0), (0xF800, 0xFFFF)),
    "5-5-5": ((0x7C00, 0x3E0, 0x1F, 0), (0x7C00, 0x7FFF)),
    "2-3-3": ((0xC0, 0x38, 0x7, 0), (0xC0, 0xFF)),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("length", [56, 108, 124])
def test_16_bit_fields_are_decoded(name, length):
    """The left half is red. The right half is white or transparent."""
    masks, pixels = MASKS[name]
    expected = Image.new("RGB", (20, 10), "white")
    expected.paste("red", (0, 0, 10, 10))
    assert max_difference(rendered(with_header(length, 16, words(*pixels), masks))[0], expected) == 0


@pytest.mark.parametrize("space", [b"DEBM", b"KNIL", b"BGRs"], ids=["embedded", "linked", "sRGB"])
def test_only_embedded_profile_is_used(space):
    profile = matrix_profile(GREEN_FOR_RED, SRGB_CURVE)
    rows = b"\0\0\xff" * 20 * 10
    image = rendered(with_header(124, 24, rows, space=space, profile=profile, compression=0))[0]
    red, green, blue = image.getpixel((5, 5))
    assert (red > 250) == (space != b"DEBM")
    assert max(green, blue) > 250 or space != b"DEBM"


def test_unset_alpha_of_16_bits_is_ignored():
    masks = (0x7C00, 0x3E0, 0x1F, 0x8000)
    assert max_difference(rendered(with_header(56, 16, words(0x7C00, 0x7C00), masks))[0], Image.new("RGB", (20, 10), "red")) == 0


BYTES = {
    "red lowest": (0xFF, 0xFF00, 0xFF0000, 0),
    "red lowest, with alpha": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    "as usual": (0xFF0000, 0xFF00, 0xFF, 0),
    "alpha lowest": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    "shifted": (0xFF000000, 0xFF0000, 0xFF00, 0),
}


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("length", [56, 124])
def test_byte_fields_are_decoded(name, length):
    red, green, blue, alpha = BYTES[name]
    rows = b"".join(struct.pack("<I", pixel) * 10 for pixel in (red | alpha, green | blue)) * 10
    expected = Image.new("RGB", (20, 10), "white" if alpha else (0, 255, 255))
    expected.paste("red", (0, 0, 10, 10))
    assert max_difference(rendered(with_header(length, 32, rows, BYTES[name]))[0], expected) == 0


def test_alpha_bit_fields_after_version_1_header_are_decoded():
    rows = words(0xFC00, 0x001F)
    head = struct.pack("<IiiHHIIiiII", 40, 20, 10, 1, 16, 6, len(rows), 0, 0, 0, 0)
    masks = struct.pack("<IIII", 0x7C00, 0x3E0, 0x1F, 0x8000)
    expected = Image.new("RGB", (20, 10), "white")
    expected.paste("red", (0, 0, 10, 10))
    assert max_difference(rendered(b"BM" + struct.pack("<IHHI", 0, 0, 0, 70) + head + masks + rows)[0], expected) == 0
