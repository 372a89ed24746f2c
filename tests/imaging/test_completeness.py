"""Images with missing pixels are refused in every format, even if the data end properly and a library accepts them."""

import re
import struct
import zlib

import pytest
from PIL import Image

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import preview, render

from .file_writers import adam7, bmp, chunk, frame, gif, tiff
from .measure import DEFAULT, encoded, photo

SIZE = WIDTH, HEIGHT = 64, 48
SMALL = photo(*SIZE)
GREY = SMALL.convert("L")


def png(color, depth, rows, interlaced=False):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *SIZE, depth, color, 0, 0, interlaced))
    palette = chunk(b"PLTE", bytes(range(12))) if color == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + header + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows_of(length, count=HEIGHT):
    return b"".join(b"\0" + b"\1" * length for _ in range(count))


PNGS = {  # color type, depth and rows of a complete image
    "colors": (2, 8, rows_of(192)),
    "black": (2, 8, bytes(193 * HEIGHT)),
    "alpha": (6, 8, rows_of(256)),
    "palette": (3, 2, rows_of(16)),
    "1 bit": (0, 1, rows_of(8)),
    "16 bits": (0, 16, rows_of(128)),
}


@pytest.mark.parametrize("name", PNGS)
@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_png_with_missing_rows_is_refused(name, share):
    color, depth, rows = PNGS[name]
    assert render(png(color, depth, rows), DEFAULT).size == SIZE
    row = len(rows) // HEIGHT
    with pytest.raises(BadImage):
        render(png(color, depth, rows[: row * int(HEIGHT * share)]), DEFAULT)


@pytest.mark.parametrize("missing", [1, 200, 1500])
def test_interlaced_png_with_missing_rows_is_refused(missing):
    rows = b"".join(b"\0" + row for row in adam7(*SIZE, lambda x, y: 255, 8))
    assert render(png(0, 8, rows, interlaced=True), DEFAULT).size == SIZE
    with pytest.raises(BadImage):
        render(png(0, 8, rows[:-missing], interlaced=True), DEFAULT)


@pytest.mark.parametrize("pixels", [0, 1, 64, 64 * 47, 64 * 48 - 1])
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("more", [b"", frame((0, 0, 64, 48), bytes(64 * 48))], ids=["alone", "with another frame"])
def test_gif_with_missing_codes_is_refused(pixels, interlaced, more):
    if interlaced:
        pixels -= pixels % 64
    short = frame((0, 0, 64, 48), bytes(pixels), interlaced=interlaced and pixels > 0)
    with pytest.raises(BadImage):
        render(gif(SIZE, short, more, palette=b"\1\2\3"), DEFAULT)


JPEGS = {
    "baseline": encoded(SMALL, quality=90),
    "progressive": encoded(SMALL, quality=90, progressive=True),
    "grey": encoded(GREY, quality=90),
    "inks": encoded(SMALL.convert("CMYK"), quality=90),
    "restarts": encoded(SMALL, quality=90, restart_marker_blocks=3),
    "4:4:4": encoded(SMALL, quality=90, subsampling="4:4:4"),
    "large": encoded(photo(1000, 700), quality=90),
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_jpeg_with_end_marker_is_refused(name, share):
    """A progressive JPEG is truncated in its first scan: after it, each pixel has a value."""
    data = JPEGS[name]
    start = data.index(b"\xff\xda") + 14
    end = data.index(b"\xff\xc4", start) if name == "progressive" else len(data)
    truncated = start + int((end - start) * share)
    closed = data[:truncated].removesuffix(b"\xff") + b"\xff\xd9"
    with pytest.raises(BadImage):
        render(closed, DEFAULT)
    assert preview(closed, 32, DEFAULT)  # an earlier version may have stored a truncated image: its pixels are shown


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize(("mode", "color"), [("L", 128), ("RGB", (128, 128, 128)), ("CMYK", (127, 127, 127, 127))])
def test_jpeg_of_fill_color_is_accepted(mode, color, progressive):
    render(encoded(Image.new(mode, SIZE, color), progressive=progressive), DEFAULT)


def test_jpeg_component_without_scan_is_refused():
    complete = encoded(SMALL, quality=90, progressive=True)
    heads = [found.start() for found in re.finditer(rb"\xff\xda", complete)]
    remaining = [complete[: heads[0]]]
    for start, end in zip(heads, [*heads[1:], len(complete) - 2], strict=True):
        count = complete[start + 4]
        if count == 1 and complete[start + 5] == 1:
            remaining.append(complete[start:end])
    with pytest.raises(BadImage):
        render(b"".join(remaining) + b"\xff\xd9", DEFAULT)


PPMS = {
    "P1": b"P1 64 48 " + b"1 " * 3000,
    "P2": b"P2 64 48 255 " + b"1 " * 3000,
    "P3": b"P3 64 48 255 " + b"1 " * 9000,
    "P4": b"P4 64 48 " + bytes(300),
    "P5": b"P5 64 48 255 " + bytes(3000),
    "P5 of 16 bits": b"P5 64 48 65535 " + bytes(6000),
    "P6": b"P6 64 48 255 " + bytes(9000),
    "P6 of 1000 levels": b"P6 64 48 1000 " + bytes(18000),
}


@pytest.mark.parametrize("name", PPMS)
def test_ppm_with_missing_samples_is_refused(name):
    with pytest.raises(BadImage):
        render(PPMS[name], DEFAULT)


@pytest.mark.parametrize(("depth", "compression"), [(24, 0), (8, 0), (1, 0), (8, 1), (4, 2)])
def test_bmp_with_missing_rows_is_refused(depth, compression):
    data = b"\1\1" * 20 if compression else bytes(WIDTH * depth // 8 * (HEIGHT - 1))
    with pytest.raises(BadImage):
        render(bmp(SIZE, depth, data, bytes(4 << depth) if depth <= 8 else b"", compression), DEFAULT)


COMPRESSIONS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg")
TAGS = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3]), 278: (4, [16])}
PACK = {
    1: bytes,
    8: zlib.compress,
    32773: lambda data: b"".join(bytes([127]) + data[at : at + 128] for at in range(0, len(data), 128)),
}
STRIP = bytes(range(256)) * 12


@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("place", range(3))
def test_tiff_with_truncated_strip_is_refused(compression, place):
    """The compressed data end properly. The other strips are complete and consecutive."""
    strips = [PACK[compression](STRIP)] * 3
    assert render(tiff(TAGS | {259: (3, [compression])}, *strips), DEFAULT).size == SIZE
    strips[place] = PACK[compression](STRIP[:1024])
    with pytest.raises(BadImage):
        render(tiff(TAGS | {259: (3, [compression])}, *strips), DEFAULT)


@pytest.mark.parametrize("height", [8, 15])
@pytest.mark.parametrize("tiles", [False, True], ids=["strips", "tiles"])
def test_tiff_with_too_small_jpeg_piece_is_refused(height, tiles):
    layout = {322: (3, [WIDTH]), 323: (3, [16])} if tiles else {278: (4, [16])}
    tags = {tag: value for tag, value in TAGS.items() if tag != 278} | layout | {259: (3, [7]), 262: (3, [6])}
    complete, short = encoded(photo(WIDTH, 16), quality=90), encoded(photo(WIDTH, height), quality=90)
    assert render(tiff(tags, complete, complete, complete, tiles=tiles), DEFAULT).size == SIZE
    with pytest.raises(BadImage):
        render(tiff(tags, complete, short, complete, tiles=tiles), DEFAULT)


@pytest.mark.parametrize("subsampling", [1, 2])
def test_truncated_tiff_with_subsampled_colors_is_refused(subsampling):
    across = subsampling
    block = across * across + 2
    size = (WIDTH // across) * (HEIGHT // across) * block
    tags = TAGS | {278: (4, [HEIGHT]), 259: (3, [8]), 262: (3, [6]), 530: (3, [across, across])}
    assert render(tiff(tags, zlib.compress(b"\x80" * size)), DEFAULT).size == SIZE
    with pytest.raises(BadImage):
        render(tiff(tags, zlib.compress(b"\x80" * (size // 2))), DEFAULT)


FAXES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}


@pytest.mark.parametrize("compression", FAXES)
@pytest.mark.parametrize("rows", [1, 20, 45])
def test_fax_with_missing_rows_is_refused(compression, rows):
    """The strip has the codes of fewer rows, then the end of the page."""
    tags = {256: (4, [WIDTH]), 258: (3, [1]), 259: (3, [compression]), 262: (3, [0]), 277: (3, [1])}
    fax = SMALL.convert("1")

    def strip(height):
        data = encoded(fax.crop((0, 0, WIDTH, height)), "TIFF", compression=FAXES[compression])
        start = struct.unpack_from("<I", data, data.index(struct.pack("<HHI", 273, 4, 1)) + 8)[0]
        return data[start : start + struct.unpack_from("<I", data, data.index(struct.pack("<HHI", 279, 4, 1)) + 8)[0]]

    assert render(tiff(tags | {257: (4, [HEIGHT]), 278: (4, [HEIGHT])}, strip(HEIGHT)), DEFAULT).size == SIZE
    with pytest.raises(BadImage):
        render(tiff(tags | {257: (4, [HEIGHT]), 278: (4, [HEIGHT])}, strip(rows)), DEFAULT)


def restarts(data):
    return [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]


@pytest.mark.parametrize("options", [{}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}], ids=["4:2:0", "4:4:4", "4:2:2"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_with_missing_middle_restart_intervals_is_refused(mode, options):
    complete = encoded(photo(170, 130, mode), quality=90, restart_marker_blocks=2, **options)
    assert render(complete, DEFAULT).size == (170, 130)
    places = restarts(complete)
    for count in (1, 8):
        with pytest.raises(BadImage):
            render(complete[: places[3]] + complete[places[3 + count] :], DEFAULT)


def scans_of(data):
    """Split a JPEG at the headers of its scans."""
    heads = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    return [data[start:end] for start, end in zip([0, *heads], [*heads, len(data) - 2], strict=True)]


@pytest.mark.parametrize("place", [1, 2, 5])
@pytest.mark.parametrize("size", [(64, 48), (1600, 1200)], ids=["small", "large"])
def test_progressive_jpeg_truncated_in_later_scan_is_refused(size, place):
    scans = scans_of(encoded(photo(*size), quality=90, progressive=True))
    truncated = b"".join(scans[: place + 1]) + scans[place + 1][: 14 + len(scans[place + 1]) // 3]
    with pytest.raises(BadImage):
        render(truncated.removesuffix(b"\xff") + b"\xff\xd9", DEFAULT)
