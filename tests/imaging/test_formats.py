"""GIF, BMP, TIFF and PPM in all forms, compared with the original image."""

import struct
import sys
from array import array

import pytest
from PIL import Image, ImageChops

from luna_image_store.errors import BadImage

from .file_writers import bmp, frame, gif, packed, tiff
from .measure import assert_previews, decoded, encoded, max_difference, photo, psnr, rendered

PHOTO = photo(61, 47)
GREY = PHOTO.convert("L")
INDEXED = PHOTO.quantize(200)
WIDTH, HEIGHT = PHOTO.size
PALETTE = bytes(INDEXED.getpalette("RGB"))
RED, BLUE = bytes([255, 0, 0] * 256), bytes([0, 0, 255] * 256)


def assert_rendered_as(data, expected, tolerance=1):
    image, previews, stored = rendered(data)
    assert stored.size == expected.size
    assert max_difference(image, expected) <= tolerance
    assert_previews(previews, image)


def on_white(image):
    if not image.has_transparency_data:
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def rows(image, width):
    data = image.tobytes()
    return [data[start : start + width] for start in range(0, len(data), width)]


# GIF


def first(**options):
    return frame((0, 0, WIDTH, HEIGHT), INDEXED.tobytes(), **options)


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("is_local", [False, True], ids=["global palette", "local palette"])
def test_gif_is_rendered(interlaced, is_local):
    frames = first(interlaced=interlaced, palette=PALETTE if is_local else b"")
    assert_rendered_as(gif(INDEXED.size, frames, palette=RED if is_local else PALETTE), INDEXED.convert("RGB"), 0)


def test_animated_gif_renders_first_frame():
    frames = [INDEXED, *(ImageChops.invert(PHOTO).rotate(turn) for turn in range(5))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    assert decoded(data, "GIF").n_frames == 6
    assert_rendered_as(data, INDEXED.convert("RGB"), 0)
    later = frame((0, 0, WIDTH, HEIGHT), INDEXED.tobytes(), palette=BLUE)
    assert_rendered_as(gif(INDEXED.size, first(), later, palette=PALETTE), INDEXED.convert("RGB"), 0)


def test_transparent_gif_is_flattened_on_white():
    transparent_index = INDEXED.getpixel((9, 9))
    mask = Image.frombytes("L", INDEXED.size, bytes(255 * (index == transparent_index) for index in INDEXED.tobytes()))
    expected = INDEXED.convert("RGB")
    expected.paste("white", mask=mask)
    assert_rendered_as(gif(INDEXED.size, first(transparent=transparent_index), palette=PALETTE), expected, 0)


def test_gif_screen_around_small_frame_is_transparent():
    small = frame((5, 7, WIDTH, HEIGHT), INDEXED.tobytes(), palette=PALETTE, transparent=255)
    expected = Image.new("RGB", (100, 80), "white")
    expected.paste(INDEXED.convert("RGB"), (5, 7))
    assert_rendered_as(gif((100, 80), small, palette=RED), expected, 0)
    opaque = frame((5, 7, WIDTH, HEIGHT), INDEXED.tobytes())
    assert_rendered_as(gif((100, 80), opaque, palette=PALETTE), expected, 0)


def test_gif_without_palette_is_grey():
    assert_rendered_as(gif(GREY.size, frame((0, 0, WIDTH, HEIGHT), GREY.tobytes())), GREY, 0)


# BMP


def reduced(depth):
    """Return the packed rows of an image with few colors from the bottom up, its palette, and the image."""
    image = PHOTO.quantize(1 << depth)
    palette = image.getpalette("RGB")
    entries = b"".join(bytes([*palette[start : start + 3][::-1], 0]) for start in range(0, len(palette), 3))
    packed_rows = [packed(row, depth) for row in rows(image, WIDTH)]
    return packed_rows[::-1], entries.ljust(4 << depth, b"\0"), image.convert("RGB")


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_bmp_with_palette_is_rendered(depth):
    packed_rows, palette, expected = reduced(depth)
    assert_rendered_as(bmp(PHOTO.size, depth, packed_rows, palette), expected, 0)
    assert_rendered_as(bmp((WIDTH, -HEIGHT), depth, packed_rows[::-1], palette), expected, 0)


def run_lengths(packed_rows, depth):
    """Encode each row as a literal of 4 bytes and runs of one byte."""
    per_byte = 8 // depth
    for row in packed_rows:
        yield b"\0" + bytes([4 * per_byte]) + row[:4]
        left = WIDTH - 4 * per_byte
        for byte in row[4:]:
            yield bytes([min(per_byte, left), byte])
            left -= per_byte
        yield b"\0\0"
    yield b"\0\1"


@pytest.mark.parametrize(("depth", "compression"), [(8, 1), (4, 2)], ids=["RLE8", "RLE4"])
def test_run_length_bmp_is_rendered(depth, compression):
    packed_rows, palette, expected = reduced(depth)
    data = b"".join(run_lengths(packed_rows, depth))
    assert_rendered_as(bmp(PHOTO.size, depth, data, palette, compression), expected, 0)


RUN_LENGTHS = {8: 1, 4: 2}  # value of the compression field, by bits
INDEXES = {  # codes of three rows of five pixels, from the lowest, and their indexes
    "a delta": (8, b"\5\1\0\0\2\2\0\2\1\1\2\3\0\1", "11111 22000 00033"),
    "an early end": (8, b"\5\1\0\1", "11111 00000 00000"),
    "no ends of lines": (8, b"\5\1\5\2\5\3", "11111 22222 33333"),
    "a run that is too long": (8, b"\xff\1\0\0\5\2\0\0\5\3\0\1", "11111 22222 33333"),
    "literals of odd length": (4, b"\0\5\x12\x31\x20\0\0\0\0\3\x12\x30\2\x11\0\0\5\x12\0\1", "12312 12311 12121"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_all_run_length_codes_are_decoded(name):
    depth, codes, rows = INDEXES[name]
    colors = [(0, 0, 0), (250, 10, 20), (30, 240, 50), (60, 70, 230)]
    palette = b"".join(bytes([*color[::-1], 0]) for color in colors).ljust(4 << depth, b"\0")
    expected = Image.new("RGB", (5, 3))
    expected.putdata([colors[int(index)] for row in rows.split()[::-1] for index in row])
    assert_rendered_as(bmp((5, 3), depth, codes, palette, RUN_LENGTHS[depth]), expected, 0)


@pytest.mark.parametrize("codes", [b"", b"\5", b"\5\1\0\0\5\2", b"\5\1\0\0\0\5\1\2", b"\5\1\0\2\1"])
def test_truncated_run_length_bmp_is_refused(codes):
    with pytest.raises(BadImage):
        rendered(bmp((5, 3), 8, codes, bytes(1024), 1))


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "in run lengths"])
def test_bmp_with_grey_palette_is_rendered(depth, compression):
    for greys in ((0, 255), tuple(range(16))):
        indexes = [[(x + y) % len(greys) for x in range(20)] for y in range(10)]
        expected = Image.new("L", (20, 10))
        expected.putdata([greys[index] for row in indexes for index in row])
        packed_rows = [packed(row, depth) for row in indexes[::-1]]
        if compression:
            runs = (bytes([1, index << 4 if depth == 4 else index]) for row in indexes[::-1] for index in row)
            packed_rows = b"".join(runs) + b"\0\1"
        palette = b"".join(bytes([grey, grey, grey, 0]) for grey in greys)
        data = bmp((20, 10), depth, packed_rows, palette, compression and RUN_LENGTHS[depth])
        assert_rendered_as(data, expected, 0)


def words(image, red, green, blue):
    """Pack each pixel into 16 bits."""
    for row in rows(image, 3 * WIDTH):
        pixels = zip(row[::3], row[1::3], row[2::3], strict=True)
        shifts = (green + blue, blue)
        yield struct.pack(
            f"<{WIDTH}H", *(r >> 8 - red << shifts[0] | g >> 8 - green << shifts[1] | b >> 8 - blue for r, g, b in pixels)
        )


def test_16_bit_bmp_is_rendered():
    assert_rendered_as(bmp(PHOTO.size, 16, list(words(PHOTO, 5, 5, 5))[::-1]), PHOTO, 8)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    assert_rendered_as(bmp(PHOTO.size, 16, list(words(PHOTO, 5, 6, 5))[::-1], compression=3, masks=masks), PHOTO, 8)


@pytest.mark.parametrize(("depth", "mode"), [(24, "BGR"), (32, "BGRX")])
def test_true_color_bmp_is_rendered(depth, mode):
    bmp_rows = rows_of(PHOTO, mode)
    assert_rendered_as(bmp(PHOTO.size, depth, bmp_rows[::-1]), PHOTO, 0)
    assert_rendered_as(bmp((WIDTH, -HEIGHT), depth, bmp_rows), PHOTO, 0)


def rows_of(image, layout):
    data = image.tobytes("raw", layout)
    return [data[start : start + len(data) // HEIGHT] for start in range(0, len(data), len(data) // HEIGHT)]


@pytest.mark.parametrize("alpha", ["set", "unset"])
def test_bmp_alpha_is_used_only_if_set(alpha):
    image = photo(WIDTH, HEIGHT, "RGBA")
    if alpha == "unset":
        image.putalpha(0)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = bytearray(bmp(PHOTO.size, 32, rows_of(image, "BGRA")[::-1], compression=3, masks=masks + bytes(52)))
    struct.pack_into("<I", header, 14, 108)  # version 4 of the header, which has alpha
    assert_rendered_as(bytes(header), on_white(image) if alpha == "set" else image.convert("RGB"))


# TIFF


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])
@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_modes_and_compressions_are_rendered(mode, compression):
    image = photo(WIDTH, HEIGHT, mode)
    assert_rendered_as(encoded(image, "TIFF", compression=compression), on_white(image))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_with_predictor_is_rendered(mode, compression):
    image = photo(WIDTH, HEIGHT, mode)
    assert_rendered_as(encoded(image, "TIFF", compression=compression, tiffinfo={317: 2}), image, 0)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_fax_tiff_is_rendered(compression):
    fax = PHOTO.convert("1")
    assert_rendered_as(encoded(fax, "TIFF", compression=compression), fax, 0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_tiff_is_rendered(mode):
    image = photo(mode=mode)
    result = rendered(encoded(image, "TIFF", compression="jpeg", quality=95))[0]
    assert psnr(result, image) >= 30


def tags(depth, kind, count=1, **more):
    base = {256: (3, [WIDTH]), 257: (3, [HEIGHT]), 258: (3, [depth] * count), 259: (3, [1]), 262: (3, [kind]), 277: (3, [count])}
    return base | {int(tag[1:]): value for tag, value in more.items()}


def sixteen(image, order):
    """Return the samples in 16 bits. The low byte differs from the high byte."""
    values = array("H", (min(65535, level * 257 + level % 3) for level in image.tobytes()))
    if (sys.byteorder == "little") != (order == "<"):
        values.byteswap()
    return values.tobytes()


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_tiff_of_each_byte_order_is_rendered(order):
    assert_rendered_as(tiff(tags(8, 2, 3), PHOTO.tobytes(), order=order), PHOTO, 0)
    assert_rendered_as(tiff(tags(16, 2, 3), sixteen(PHOTO, order), order=order), PHOTO)
    assert_rendered_as(tiff(tags(16, 1), sixteen(GREY, order), order=order), GREY)


@pytest.mark.parametrize("depth", [1, 8, 16])
def test_white_is_zero_tiff_is_rendered(depth):
    image = GREY.convert("1") if depth == 1 else GREY
    inverted = ImageChops.invert(image)
    data = sixteen(inverted, "<") if depth == 16 else inverted.tobytes()
    assert_rendered_as(tiff(tags(depth, 0), data), image)


def test_12_bit_tiff_is_rendered():
    width = WIDTH - WIDTH % 2
    image = GREY.crop((0, 0, width, HEIGHT))
    samples = [level * 4095 // 255 for level in image.tobytes()]
    data = packed(samples, 12)
    assert_rendered_as(tiff(tags(12, 1) | {256: (3, [width])}, data), image)


@pytest.mark.parametrize(("depth", "form"), [(8, 2), (16, 2), (32, 1), (32, 2), (32, 3)])
def test_tiff_without_defined_white_level_is_refused(depth, form):
    with pytest.raises(BadImage):
        rendered(tiff(tags(depth, 1, t339=(3, [form])), bytes(WIDTH * HEIGHT * depth // 8)))


def test_tiff_with_many_strips_is_rendered():
    assert_rendered_as(tiff(tags(8, 2, 3, t278=(3, [1])), *rows(PHOTO, 3 * WIDTH)), PHOTO, 0)


def test_tiled_tiff_is_rendered():
    canvas = Image.new("RGB", (64, 48), "red")  # pixels of the tiles outside the image must be invisible
    canvas.paste(PHOTO)
    tiles = [canvas.crop((x, y, x + 16, y + 16)).tobytes() for y in range(0, 48, 16) for x in range(0, 64, 16)]
    assert_rendered_as(tiff(tags(8, 2, 3, t322=(3, [16]), t323=(3, [16])), *tiles, tiles=True), PHOTO, 0)


def test_planar_tiff_is_rendered():
    planes = [plane.tobytes() for plane in PHOTO.split()]
    assert_rendered_as(tiff(tags(8, 2, 3, t284=(3, [2]), t278=(3, [HEIGHT])), *planes), PHOTO, 0)


def test_tiff_with_associated_alpha_is_rendered():
    image = photo(WIDTH, HEIGHT, "RGBA")
    assert_rendered_as(tiff(tags(8, 2, 4, t338=(3, [1])), image.convert("RGBa").tobytes()), on_white(image), 3)


def test_multipage_tiff_renders_first_page():
    others = [ImageChops.invert(PHOTO), GREY.resize((300, 300))]
    for compression in ("raw", "tiff_lzw"):
        data = encoded(PHOTO, "TIFF", save_all=True, append_images=others, compression=compression)
        assert decoded(data, "TIFF").n_frames == 3
        assert_rendered_as(data, PHOTO, 0)


# PPM


def decimal(values):
    return b" ".join(b"%d" % value for value in values)


BITS = [level // 255 ^ 1 for level in GREY.convert("1").convert("L").tobytes()]
HEAD = b"%d # width\n%d\n" % PHOTO.size
PPM = {
    "P1": (b"P1 " + HEAD + decimal(BITS), GREY.convert("1")),
    "P1 without spaces": (b"P1 " + HEAD + bytes(48 + bit for bit in BITS), GREY.convert("1")),
    "P2": (b"P2 " + HEAD + b"255 " + decimal(GREY.tobytes()), GREY),
    "P2 of 16 bits": (b"P2 " + HEAD + b"65535 " + decimal(level * 257 for level in GREY.tobytes()), GREY),
    "P3": (b"P3 " + HEAD + b"255 # maximum\n" + decimal(PHOTO.tobytes()), PHOTO),
    "P3 of 16 bits": (b"P3 " + HEAD + b"65535 " + decimal(level * 257 for level in PHOTO.tobytes()), PHOTO),
    "P4": (b"P4 " + HEAD + encoded(GREY.convert("1"), "PPM").split(b"\n", 2)[2], GREY.convert("1")),
    "P5": (b"P5 " + HEAD + b"255\n" + GREY.tobytes(), GREY),
    "P5 of 16 bits": (b"P5 " + HEAD + b"65535\n" + sixteen(GREY, ">"), GREY),
    "P5 of 1000 levels": (
        b"P5 " + HEAD + b"1000\n" + b"".join(struct.pack(">H", round(level / 0.255)) for level in GREY.tobytes()),
        GREY,
    ),
    "P5 of 16 levels": (
        b"P5 " + HEAD + b"15\n" + bytes(level // 17 for level in GREY.tobytes()),
        GREY.point(lambda v: v // 17 * 17),
    ),
    "P6": (b"P6 " + HEAD + b"255\n" + PHOTO.tobytes(), PHOTO),
    "P6 of 1000 levels": (
        b"P6 " + HEAD + b"1000\n" + b"".join(struct.pack(">H", round(level / 0.255)) for level in PHOTO.tobytes()),
        PHOTO,
    ),
    "P6 of 200 levels": (
        b"P6 " + HEAD + b"200\n" + bytes(min(level, 200) for level in PHOTO.tobytes()),
        PHOTO.point(lambda v: round(min(v, 200) * 1.275)),
    ),
    "P6 of 16 bits": (b"P6 " + HEAD + b"65535\n" + sixteen(PHOTO, ">"), PHOTO),
}


@pytest.mark.parametrize("form", PPM)
def test_ppm_is_rendered(form):
    assert_rendered_as(*PPM[form])
