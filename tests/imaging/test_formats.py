"""GIF, BMP, TIFF and PPM in all their forms, against the picture that they were made of."""

import struct
import sys
from array import array

import pytest
from PIL import Image, ImageChops

from luna_image_store.errors import BadImage

from .made import bmp, frame, gif, packed, tiff
from .measure import assert_previews, decoded, encoded, levels_apart, photo, psnr, rendered

PHOTO = photo(61, 47)
GREY = PHOTO.convert("L")
INDEXED = PHOTO.quantize(200)
WIDTH, HEIGHT = PHOTO.size
PALETTE = bytes(INDEXED.getpalette("RGB"))
RED, BLUE = bytes([255, 0, 0] * 256), bytes([0, 0, 255] * 256)


def assert_comes_out_as(data, expected, apart=1):
    picture, previews, stored = rendered(data)
    assert stored.size == expected.size
    assert levels_apart(picture, expected) <= apart
    assert_previews(previews, picture)


def on_white(picture):
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")


def rows(picture, width):
    data = picture.tobytes()
    return [data[start : start + width] for start in range(0, len(data), width)]


# GIF


def first(**options):
    return frame((0, 0, WIDTH, HEIGHT), INDEXED.tobytes(), **options)


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("own", [False, True], ids=["global palette", "local palette"])
def test_gif(interlaced, own):
    frames = first(interlaced=interlaced, palette=PALETTE if own else b"")
    assert_comes_out_as(gif(INDEXED.size, frames, palette=RED if own else PALETTE), INDEXED.convert("RGB"), 0)


def test_of_an_animated_gif_the_first_frame_is_taken():
    frames = [INDEXED, *(ImageChops.invert(PHOTO).rotate(turn) for turn in range(5))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    assert decoded(data, "GIF").n_frames == 6
    assert_comes_out_as(data, INDEXED.convert("RGB"), 0)
    later = frame((0, 0, WIDTH, HEIGHT), INDEXED.tobytes(), palette=BLUE)
    assert_comes_out_as(gif(INDEXED.size, first(), later, palette=PALETTE), INDEXED.convert("RGB"), 0)


def test_a_transparent_gif_is_laid_on_white():
    clear = INDEXED.getpixel((9, 9))
    mask = Image.frombytes("L", INDEXED.size, bytes(255 * (index == clear) for index in INDEXED.tobytes()))
    expected = INDEXED.convert("RGB")
    expected.paste("white", mask=mask)
    assert_comes_out_as(gif(INDEXED.size, first(transparent=clear), palette=PALETTE), expected, 0)


def test_around_a_first_frame_smaller_than_the_screen_a_gif_is_clear():
    small = frame((5, 7, WIDTH, HEIGHT), INDEXED.tobytes(), palette=PALETTE, transparent=255)
    expected = Image.new("RGB", (100, 80), "white")
    expected.paste(INDEXED.convert("RGB"), (5, 7))
    assert_comes_out_as(gif((100, 80), small, palette=RED), expected, 0)
    opaque = frame((5, 7, WIDTH, HEIGHT), INDEXED.tobytes())
    assert_comes_out_as(gif((100, 80), opaque, palette=PALETTE), expected, 0)


def test_a_gif_without_any_palette_is_grey():
    assert_comes_out_as(gif(GREY.size, frame((0, 0, WIDTH, HEIGHT), GREY.tobytes())), GREY, 0)


# BMP


def reduced(depth):
    """Give a picture of few colours, its rows packed from the bottom up, and the picture they show."""
    picture = PHOTO.quantize(1 << depth)
    palette = picture.getpalette("RGB")
    entries = b"".join(bytes([*palette[start : start + 3][::-1], 0]) for start in range(0, len(palette), 3))
    packed_rows = [packed(row, depth) for row in rows(picture, WIDTH)]
    return packed_rows[::-1], entries.ljust(4 << depth, b"\0"), picture.convert("RGB")


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_bmp_with_a_palette(depth):
    packed_rows, palette, expected = reduced(depth)
    assert_comes_out_as(bmp(PHOTO.size, depth, packed_rows, palette), expected, 0)
    assert_comes_out_as(bmp((WIDTH, -HEIGHT), depth, packed_rows[::-1], palette), expected, 0)


def run_lengths(packed_rows, depth):
    """Encode each row as runs of one byte, with a stretch that is not packed at its start."""
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
def test_bmp_in_run_lengths(depth, compression):
    packed_rows, palette, expected = reduced(depth)
    data = b"".join(run_lengths(packed_rows, depth))
    assert_comes_out_as(bmp(PHOTO.size, depth, data, palette, compression), expected, 0)


RUN_LENGTHS = {8: 1, 4: 2}  # how a BMP of so many bits says that it is encoded in them
INDEXES = {  # codes of three rows of five pixels, from the lowest, and the indexes they stand for
    "a leap": (8, b"\5\1\0\0\2\2\0\2\1\1\2\3\0\1", "11111 22000 00033"),
    "an early end": (8, b"\5\1\0\1", "11111 00000 00000"),
    "no ends of lines": (8, b"\5\1\5\2\5\3", "11111 22222 33333"),
    "a run that is too long": (8, b"\xff\1\0\0\5\2\0\0\5\3\0\1", "11111 22222 33333"),
    "stretches of odd length": (4, b"\0\5\x12\x31\x20\0\0\0\0\3\x12\x30\2\x11\0\0\5\x12\0\1", "12312 12311 12121"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_bmp_with_all_codes_of_run_lengths(name):
    depth, codes, rows = INDEXES[name]
    colours = [(0, 0, 0), (250, 10, 20), (30, 240, 50), (60, 70, 230)]
    palette = b"".join(bytes([*colour[::-1], 0]) for colour in colours).ljust(4 << depth, b"\0")
    expected = Image.new("RGB", (5, 3))
    expected.putdata([colours[int(index)] for row in rows.split()[::-1] for index in row])
    assert_comes_out_as(bmp((5, 3), depth, codes, palette, RUN_LENGTHS[depth]), expected, 0)


@pytest.mark.parametrize("codes", [b"", b"\5", b"\5\1\0\0\5\2", b"\5\1\0\0\0\5\1\2", b"\5\1\0\2\1"])
def test_bmp_in_run_lengths_that_break_off_is_refused(codes):
    with pytest.raises(BadImage):
        rendered(bmp((5, 3), 8, codes, bytes(1024), 1))


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "in run lengths"])
def test_bmp_with_few_greys_in_its_palette(depth, compression):
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
        assert_comes_out_as(data, expected, 0)


def words(picture, red, green, blue):
    """Pack each pixel into 16 bits."""
    for row in rows(picture, 3 * WIDTH):
        pixels = zip(row[::3], row[1::3], row[2::3], strict=True)
        shifts = (green + blue, blue)
        yield struct.pack(
            f"<{WIDTH}H", *(r >> 8 - red << shifts[0] | g >> 8 - green << shifts[1] | b >> 8 - blue for r, g, b in pixels)
        )


def test_bmp_of_16_bits():
    assert_comes_out_as(bmp(PHOTO.size, 16, list(words(PHOTO, 5, 5, 5))[::-1]), PHOTO, 8)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    assert_comes_out_as(bmp(PHOTO.size, 16, list(words(PHOTO, 5, 6, 5))[::-1], compression=3, masks=masks), PHOTO, 8)


@pytest.mark.parametrize(("depth", "mode"), [(24, "BGR"), (32, "BGRX")])
def test_bmp_of_true_colours(depth, mode):
    given = rows_of(PHOTO, mode)
    assert_comes_out_as(bmp(PHOTO.size, depth, given[::-1]), PHOTO, 0)
    assert_comes_out_as(bmp((WIDTH, -HEIGHT), depth, given), PHOTO, 0)


def rows_of(picture, layout):
    data = picture.tobytes("raw", layout)
    return [data[start : start + len(data) // HEIGHT] for start in range(0, len(data), len(data) // HEIGHT)]


@pytest.mark.parametrize("alpha", ["set", "unset"])
def test_bmp_with_alpha(alpha):
    picture = photo(WIDTH, HEIGHT, "RGBA")
    if alpha == "unset":
        picture.putalpha(0)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = bytearray(bmp(PHOTO.size, 32, rows_of(picture, "BGRA")[::-1], compression=3, masks=masks + bytes(52)))
    struct.pack_into("<I", header, 14, 108)  # only the fourth version of the header has alpha
    assert_comes_out_as(bytes(header), on_white(picture) if alpha == "set" else picture.convert("RGB"))


# TIFF


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])
@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff(mode, compression):
    picture = photo(WIDTH, HEIGHT, mode)
    assert_comes_out_as(encoded(picture, "TIFF", compression=compression), on_white(picture))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_of_differences(mode, compression):
    picture = photo(WIDTH, HEIGHT, mode)
    assert_comes_out_as(encoded(picture, "TIFF", compression=compression, tiffinfo={317: 2}), picture, 0)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_tiff_of_a_fax(compression):
    fax = PHOTO.convert("1")
    assert_comes_out_as(encoded(fax, "TIFF", compression=compression), fax, 0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_tiff_with_jpeg(mode):
    picture = photo(mode=mode)
    result = rendered(encoded(picture, "TIFF", compression="jpeg", quality=95))[0]
    assert psnr(result, picture) >= 30


def tags(depth, kind, count=1, **more):
    base = {256: (3, [WIDTH]), 257: (3, [HEIGHT]), 258: (3, [depth] * count), 259: (3, [1]), 262: (3, [kind]), 277: (3, [count])}
    return base | {int(tag[1:]): value for tag, value in more.items()}


def sixteen(picture, order):
    """Give the samples in 16 bits, the low bits other than the high ones."""
    values = array("H", (min(65535, level * 257 + level % 3) for level in picture.tobytes()))
    if (sys.byteorder == "little") != (order == "<"):
        values.byteswap()
    return values.tobytes()


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_tiff_of_either_byte_order(order):
    assert_comes_out_as(tiff(tags(8, 2, 3), PHOTO.tobytes(), order=order), PHOTO, 0)
    assert_comes_out_as(tiff(tags(16, 2, 3), sixteen(PHOTO, order), order=order), PHOTO)
    assert_comes_out_as(tiff(tags(16, 1), sixteen(GREY, order), order=order), GREY)


@pytest.mark.parametrize("depth", [1, 8, 16])
def test_tiff_in_which_white_is_zero(depth):
    picture = GREY.convert("1") if depth == 1 else GREY
    inverted = ImageChops.invert(picture)
    data = sixteen(inverted, "<") if depth == 16 else inverted.tobytes()
    assert_comes_out_as(tiff(tags(depth, 0), data), picture)


def test_tiff_of_12_bits():
    width = WIDTH - WIDTH % 2
    picture = GREY.crop((0, 0, width, HEIGHT))
    samples = [level * 4095 // 255 for level in picture.tobytes()]
    data = packed(samples, 12)
    assert_comes_out_as(tiff(tags(12, 1) | {256: (3, [width])}, data), picture)


@pytest.mark.parametrize(("depth", "form"), [(8, 2), (16, 2), (32, 1), (32, 2), (32, 3)])
def test_tiff_of_samples_that_have_no_agreed_white_is_refused(depth, form):
    with pytest.raises(BadImage):
        rendered(tiff(tags(depth, 1, t339=(3, [form])), bytes(WIDTH * HEIGHT * depth // 8)))


def test_tiff_of_many_strips():
    assert_comes_out_as(tiff(tags(8, 2, 3, t278=(3, [1])), *rows(PHOTO, 3 * WIDTH)), PHOTO, 0)


def test_tiff_of_tiles():
    canvas = Image.new("RGB", (64, 48), "red")  # what the tiles hold beyond the picture must not be seen
    canvas.paste(PHOTO)
    tiles = [canvas.crop((x, y, x + 16, y + 16)).tobytes() for y in range(0, 48, 16) for x in range(0, 64, 16)]
    assert_comes_out_as(tiff(tags(8, 2, 3, t322=(3, [16]), t323=(3, [16])), *tiles, tiles=True), PHOTO, 0)


def test_tiff_of_planes():
    planes = [plane.tobytes() for plane in PHOTO.split()]
    assert_comes_out_as(tiff(tags(8, 2, 3, t284=(3, [2]), t278=(3, [HEIGHT])), *planes), PHOTO, 0)


def test_tiff_with_alpha_that_is_multiplied_in():
    picture = photo(WIDTH, HEIGHT, "RGBA")
    assert_comes_out_as(tiff(tags(8, 2, 4, t338=(3, [1])), picture.convert("RGBa").tobytes()), on_white(picture), 3)


def test_of_a_tiff_of_many_pages_the_first_is_taken():
    others = [ImageChops.invert(PHOTO), GREY.resize((300, 300))]
    for compression in ("raw", "tiff_lzw"):
        data = encoded(PHOTO, "TIFF", save_all=True, append_images=others, compression=compression)
        assert decoded(data, "TIFF").n_frames == 3
        assert_comes_out_as(data, PHOTO, 0)


# PPM


def spelled(values):
    return b" ".join(b"%d" % value for value in values)


BITS = [level // 255 ^ 1 for level in GREY.convert("1").convert("L").tobytes()]
HEAD = b"%d # width\n%d\n" % PHOTO.size
PPM = {
    "P1": (b"P1 " + HEAD + spelled(BITS), GREY.convert("1")),
    "P1 without spaces": (b"P1 " + HEAD + bytes(48 + bit for bit in BITS), GREY.convert("1")),
    "P2": (b"P2 " + HEAD + b"255 " + spelled(GREY.tobytes()), GREY),
    "P2 of 16 bits": (b"P2 " + HEAD + b"65535 " + spelled(level * 257 for level in GREY.tobytes()), GREY),
    "P3": (b"P3 " + HEAD + b"255 # most\n" + spelled(PHOTO.tobytes()), PHOTO),
    "P3 of 16 bits": (b"P3 " + HEAD + b"65535 " + spelled(level * 257 for level in PHOTO.tobytes()), PHOTO),
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
def test_ppm(form):
    assert_comes_out_as(*PPM[form])
