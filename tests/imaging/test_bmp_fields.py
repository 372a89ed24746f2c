"""BMPs with unusual header fields, with masks in any order, and with missing rows; and truncated PPMs."""

import itertools
import struct

import pytest
from PIL import Image

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import render

from .file_writers import bmp, packed
from .measure import DEFAULT, max_difference, photo, rendered

pytestmark = pytest.mark.usefixtures("nothing_logged")

SIZE = WIDTH, HEIGHT = 37, 26
RGBA = photo(*SIZE, "RGBA")
PHOTO = photo(*SIZE)
PIXELS = list(zip(*(band.tobytes() for band in RGBA.split()), strict=True))
FILE_SIZE, RESERVED, OFFSET, PLANES, IMAGE_SIZE, DENSITY, USED, IMPORTANT = 2, 6, 10, 26, 34, 38, 46, 50


def changed(data, place, form, *values):
    data = bytearray(data)
    struct.pack_into(form, data, place, *values)
    return bytes(data)


def rows_of(values, form):
    """Pack rows from the bottom up, each padded to 4 bytes."""
    lines = [struct.pack(f"<{WIDTH}{form}", *values[start : start + WIDTH]) for start in range(0, len(values), WIDTH)]
    return b"".join(line + bytes(-len(line) % 4) for line in lines[::-1])


def indexed(depth):
    image = PHOTO.quantize(1 << depth)
    palette = (image.getpalette("RGB") + [0] * 768)[: 3 << depth]
    entries = b"".join(bytes([*palette[start : start + 3][::-1], 0]) for start in range(0, len(palette), 3))
    data = image.tobytes()
    lines = [packed(data[start : start + WIDTH], depth) for start in range(0, len(data), WIDTH)]
    return bmp(SIZE, depth, lines[::-1], entries), image.convert("RGB")


def true_color():
    data = PHOTO.tobytes("raw", "BGR")
    return bmp(SIZE, 24, [data[start : start + 3 * WIDTH] for start in range(0, len(data), 3 * WIDTH)][::-1]), PHOTO


def run_lengths():
    data, shown = indexed(8)
    rows = data[-(WIDTH + 3) // 4 * 4 * HEIGHT :]
    lines = [rows[start : start + WIDTH] for start in range(0, len(rows), (WIDTH + 3) // 4 * 4)]
    codes = b"\0\0".join(b"\0" + bytes([len(line)]) + line + bytes(len(line) % 2) for line in lines) + b"\0\1"
    return bmp(SIZE, 8, codes, data[54:1078], 1), shown


KINDS = {
    **{f"{depth} bits": lambda depth=depth: indexed(depth) for depth in (1, 4, 8)},
    "24 bits": true_color,
    "run lengths": run_lengths,
}
FIELDS = {
    **{f"a file size of {size}": (FILE_SIZE, "<I", size) for size in (0, 54, 2**31, 2**32 - 1)},
    **{f"an image size of {size}": (IMAGE_SIZE, "<I", size) for size in (0, 1, 2**31, 2**32 - 1)},
    "reserved bytes": (RESERVED, "<I", 2**32 - 1),
    "no planes": (PLANES, "<H", 0),
    "a density below zero": (DENSITY, "<ii", -1, -(2**31)),
    "too many important colors": (IMPORTANT, "<I", 2**32 - 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FIELDS)
def test_wrong_header_field_does_not_change_image(kind, name):
    data, shown = KINDS[kind]()
    assert max_difference(rendered(data)[0], shown) == 0
    assert max_difference(rendered(changed(data, *FIELDS[name]))[0], shown) == 0
    assert max_difference(rendered(data + bytes(range(256)))[0], shown) == 0


@pytest.mark.parametrize("colors", [257, 300, 1000, 2**16 + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("compression", ["8 bits", "run lengths"])
def test_too_large_palette_size_is_corrected(colors, compression):
    data, shown = KINDS[compression]()
    assert max_difference(rendered(changed(data, USED, "<I", colors))[0], shown) == 0


def with_header(length, depth, rows, masks, compression=3):
    head = struct.pack("<IiiHHIIiiII", length, *SIZE, 1, depth, compression, len(rows), 0, 0, 0, 0) + struct.pack("<IIII", *masks)
    head = (head + b"BGRs" + bytes(64))[: max(length, 52)]
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + rows


def scaled(level, bits):
    return level >> 8 - bits if bits <= 8 else level << bits - 8 | level >> 16 - bits


def fields(widths, order, word):
    """Pack channels into words, the first of the order lowest. Return the masks of R, G, B, A and the words."""
    shifts, place = {}, 0
    for channel in order:
        shifts[channel] = place
        place += widths[channel]
    masks = [((1 << width) - 1) << shifts[channel] if width else 0 for channel, width in enumerate(widths)]
    assert place <= word
    values = [
        sum(scaled(pixel[channel], width) << shifts[channel] for channel, width in enumerate(widths) if width) for pixel in PIXELS
    ]
    return masks, values


def expected_image(widths):
    """Return the image of the fields, on white."""
    channels = [
        band.point([scaled(level, min(width, 8)) * 255 // (2 ** min(width, 8) - 1) for level in range(256)])
        for band, width in zip(RGBA.split(), widths, strict=True)
        if width
    ]
    image = Image.merge("RGB", channels[:3])
    return Image.composite(image, Image.new("RGB", SIZE, "white"), channels[3]) if len(channels) > 3 else image


ORDERS = list(itertools.permutations(range(4)))[::3]


@pytest.mark.parametrize("order", ORDERS[::3], ids=["".join("RGBA"[channel] for channel in order) for order in ORDERS[::3]])
@pytest.mark.parametrize("widths", [(5, 5, 5, 1), (4, 4, 4, 4), (5, 6, 5, 0), (5, 5, 5, 0), (3, 3, 2, 8)], ids=str)
@pytest.mark.parametrize("length", [52, 56, 124])
def test_16_bit_fields_are_decoded(order, widths, length):
    masks, values = fields(widths, order, 16)
    if length < 56:
        widths = (*widths[:3], 0)
    assert max_difference(rendered(with_header(length, 16, rows_of(values, "H"), masks))[0], expected_image(widths)) <= 1


@pytest.mark.parametrize("order", ORDERS, ids=["".join("RGBA"[channel] for channel in order) for order in ORDERS])
@pytest.mark.parametrize("alpha", [8, 0], ids=["alpha", "no alpha"])
@pytest.mark.parametrize("length", [40, 108, 124])
def test_32_bit_fields_are_decoded(order, alpha, length):
    masks, values = fields((8, 8, 8, 8), order, 32)
    if not alpha or length < 56:
        alpha, masks[3] = 0, 0
    assert max_difference(rendered(with_header(length, 32, rows_of(values, "I"), masks))[0], expected_image((8, 8, 8, alpha))) <= 1


@pytest.mark.parametrize("kind", [*KINDS, "16 bits", "bit fields of 16 bits"])
def test_missing_rows_are_refused(kind):
    if kind in KINDS:
        data, padding = KINDS[kind]()[0], {"1 bits": 3, "4 bits": 1, "8 bits": 3, "24 bits": 1, "run lengths": 2}[kind]
    else:
        masks, values = fields((5, 6, 5, 0) if "fields" in kind else (5, 5, 5, 0), (2, 1, 0, 3), 16)
        data, padding = (
            with_header(56 if "fields" in kind else 40, 16, rows_of(values, "H"), masks, 3 if "fields" in kind else 0),
            2,
        )
    expected = render(data, DEFAULT)
    if kind != "run lengths":
        assert render(data[:-padding], DEFAULT) == expected  # the padding of the last row has no pixels
    start = struct.unpack_from("<I", data, OFFSET)[0]
    for length in (start, start + 1, (start + len(data)) // 2, len(data) - 9, len(data) - padding - 1):
        if kind != "run lengths" or length < len(data) - 5:
            with pytest.raises(BadImage):
                render(data[:length], DEFAULT)


BITS = [int(level > 127) for level in PHOTO.convert("L").tobytes()]
PPMS = {
    "P1": b"P1 37 26\n" + b" ".join(b"%d" % bit for bit in BITS),
    "P1 without blanks": b"P1 37 26\n" + b"".join(b"%d" % bit for bit in BITS),
    "P2": b"P2 37 26 255\n" + b" ".join(b"%d" % level for level in PHOTO.convert("L").tobytes()),
    "P3": b"P3 37 26 9999\n" + b" ".join(b"%d" % level for level in PHOTO.tobytes()),
    "P4": b"P4 37 26\n" + b"".join(packed(BITS[at : at + WIDTH], 1) for at in range(0, len(BITS), WIDTH)),
    "P5": b"P5 37 26 255\n" + PHOTO.convert("L").tobytes(),
    "P5 of 16 bits": b"P5 37 26 65535\n" + b"".join(bytes([level, level]) for level in PHOTO.convert("L").tobytes()),
    "P5 of 15 levels": b"P5 37 26 15\n" + bytes(level >> 4 for level in PHOTO.convert("L").tobytes()),
    "P6": b"P6 37 26 255\n" + PHOTO.tobytes(),
    "P6 of 16 bits": b"P6 37 26 65535\n" + b"".join(bytes([level, level]) for level in PHOTO.tobytes()),
}


@pytest.mark.parametrize("name", PPMS)
def test_missing_ppm_samples_are_refused(name):
    data = PPMS[name]
    start = data.index(b"\n") + 1
    assert render(data, DEFAULT).size == SIZE
    for length in (0, 1, (len(data) - start) // 2, len(data) - start - 5):
        with pytest.raises(BadImage):
            render(data[: start + length], DEFAULT)
    for missing in (1, 2) if not name.startswith(("P1", "P2", "P3")) else ():
        with pytest.raises(BadImage):
            render(data[:-missing], DEFAULT)
    if name.startswith(("P1", "P2", "P3")):
        with pytest.raises(BadImage):
            render(data[:-1] if "without" in name else data.rsplit(b" ", 1)[0], DEFAULT)
        with pytest.raises(BadImage):
            render(data[:-5] + b"#" + data[-5:], DEFAULT)


@pytest.mark.parametrize("name", PPMS)
@pytest.mark.parametrize("more", [b"\nP6 9 9 255 more", b"\n\0\xff"], ids=["another image", "junk"])
def test_data_after_ppm_samples_do_not_change_image(name, more):
    assert render(PPMS[name] + more, DEFAULT) == render(PPMS[name], DEFAULT)
