"""Every kind of PNG, compared with its samples scaled to 8 bits by arithmetic."""

import struct

import pytest
from PIL import Image

from .file_writers import adam7, chunk, packed, png
from .measure import assert_previews, max_difference, photo, rendered

SIZE = (43, 29)
SOURCE = photo(*SIZE, "RGBA")
GREY, PALETTE = SOURCE.convert("L"), [((7 * n) % 256, (5 * n) % 256, 255 - n) for n in range(256)]
KINDS = [(0, depth) for depth in (1, 2, 4, 8, 16)] + [(3, depth) for depth in (1, 2, 4, 8)]
KINDS += [(color, depth) for color in (2, 4, 6) for depth in (8, 16)]
PLACES = [(x, y) for x in range(SIZE[0]) for y in range(SIZE[1])]
NAMES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}


def samples(color, depth):
    """Return a function from x and y to samples of `depth` bits. In 16 bits, the low byte differs from the high byte."""

    def at(x, y):
        r, g, b, a = SOURCE.getpixel((x, y))
        levels = {0: (GREY.getpixel((x, y)),), 2: (r, g, b), 3: (r,), 4: (g, a), 6: (r, g, b, a)}[color]
        return tuple((level * 257 + (x * y) % 200 - 100) % 65536 if depth == 16 else level >> (8 - depth) for level in levels)

    return at


def expected(color, depth, at, is_clear=lambda _: False, alphas=()):
    """Compute the flattened image on white, by arithmetic."""
    max_value = (1 << depth) - 1
    image = Image.new("RGB", SIZE)
    for place in PLACES:
        values = at(*place)
        if color == 3:
            rgb, alpha = PALETTE[values[0]], alphas[values[0]] / 255 if values[0] < len(alphas) else 1
        else:
            levels = [value * 255 / max_value for value in values]
            rgb = levels[:3] if color in (2, 6) else levels[:1] * 3
            alpha = values[-1] / max_value if color in (4, 6) else 1 - is_clear(values)
        image.putpixel(place, tuple(round(level * alpha + 255 * (1 - alpha)) for level in rgb))
    return image


def write_png(color, depth, at, *extra, interlaced=False):
    def pixel(x, y):
        value = 0
        for sample in at(x, y):
            value = value << depth | sample
        return value

    bits = depth * len(at(0, 0))
    plain = (packed([pixel(x, y) for x in range(SIZE[0])], bits) for y in range(SIZE[1]))
    palette = [chunk(b"PLTE", bytes(sum(PALETTE[: 1 << depth], ())))] if color == 3 else []
    rows = adam7(*SIZE, pixel, bits) if interlaced else plain
    return png(SIZE, depth, color, rows, *palette, *extra, interlaced=interlaced)


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize(("color", "depth"), KINDS, ids=[f"{NAMES[color]} {depth} bit" for color, depth in KINDS])
def test_all_colors_and_depths_are_rendered(color, depth, interlaced):
    at = samples(color, depth)
    image, previews, _ = rendered(write_png(color, depth, at, interlaced=interlaced))
    reference = expected(color, depth, at)
    assert image.mode == "L" or color != 0
    assert max_difference(image, reference) <= 1
    assert_previews(previews, reference)


def is_same_color(values, key, depth):
    """Compare colors in 8 bits: grey of 16 bits is rounded to 8 bits, RGB is truncated."""
    if depth < 16:
        return values == key
    if len(key) == 1:
        return round(values[0] / 257) == round(key[0] / 257)
    return [value >> 8 for value in values] == [value >> 8 for value in key]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_level_of_grey_png_is_white(depth):
    at = samples(0, depth)
    x, y = min(PLACES, key=lambda place: abs(at(*place)[0] - (1 << depth) // 3))  # a level that is neither black nor white
    key = at(x, y)
    image = rendered(write_png(0, depth, at, chunk(b"tRNS", struct.pack(">H", *key))))[0]
    assert image.getpixel((x, y)) == 255
    assert max_difference(image, expected(0, depth, at, lambda values: is_same_color(values, key, depth))) <= 1


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_color_of_rgb_png_is_white(depth):
    at = samples(2, depth)
    key = at(20, 14)
    image = rendered(write_png(2, depth, at, chunk(b"tRNS", struct.pack(">HHH", *key))))[0]
    assert image.getpixel((20, 14)) == (255, 255, 255)
    assert max_difference(image, expected(2, depth, at, lambda values: is_same_color(values, key, depth))) <= 1


@pytest.mark.parametrize("alphas", [bytes([0]), bytes([255, 0]), bytes(range(0, 256, 17)), bytes([128] * 2)], ids=bytes.hex)
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_alpha_is_flattened(depth, alphas):
    at, alphas = samples(3, depth), alphas[: 1 << depth]
    image, previews, _ = rendered(write_png(3, depth, at, chunk(b"tRNS", alphas)))
    reference = expected(3, depth, at, alphas=alphas)
    assert max_difference(image, reference) <= 1
    assert_previews(previews, reference)


def test_gamma_chunk_is_ignored():
    at = samples(2, 8)
    data = write_png(2, 8, at, chunk(b"gAMA", struct.pack(">I", 100000)), chunk(b"sRGB", b"\0"))
    assert max_difference(rendered(data)[0], expected(2, 8, at)) == 0


def test_animated_png_renders_default_image():
    at = samples(2, 8)
    control = struct.pack(">IIIIIHHBB", 0, *SIZE, 0, 0, 1, 10, 0, 0)
    data = write_png(2, 8, at, chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", control))
    second = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, *SIZE, 0, 0, 1, 10, 0, 0)) + chunk(b"fdAT", bytes(4) + b"junk")
    assert max_difference(rendered(data[:-12] + second + data[-12:])[0], expected(2, 8, at)) == 0
