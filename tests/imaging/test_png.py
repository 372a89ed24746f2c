"""Every kind of PNG, against its samples brought to 8 bits by arithmetic."""

import struct

import pytest
from PIL import Image

from .made import adam7, chunk, packed, png
from .measure import assert_previews, levels_apart, photo, rendered

SIZE = (43, 29)
SOURCE = photo(*SIZE, "RGBA")
GREY, PALETTE = SOURCE.convert("L"), [((7 * n) % 256, (5 * n) % 256, 255 - n) for n in range(256)]
KINDS = [(0, depth) for depth in (1, 2, 4, 8, 16)] + [(3, depth) for depth in (1, 2, 4, 8)]
KINDS += [(colour, depth) for colour in (2, 4, 6) for depth in (8, 16)]
PLACES = [(x, y) for x in range(SIZE[0]) for y in range(SIZE[1])]
NAMES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}


def samples(colour, depth):
    """Give the samples of a picture by place, each of `depth` bits; the low bits of 16 are not those of 8."""

    def at(x, y):
        r, g, b, a = SOURCE.getpixel((x, y))
        levels = {0: (GREY.getpixel((x, y)),), 2: (r, g, b), 3: (r,), 4: (g, a), 6: (r, g, b, a)}[colour]
        return tuple((level * 257 + (x * y) % 200 - 100) % 65536 if depth == 16 else level >> (8 - depth) for level in levels)

    return at


def expected(colour, depth, at, is_clear=lambda _: False, alphas=()):
    """Lay the samples on white, by arithmetic."""
    most = (1 << depth) - 1
    picture = Image.new("RGB", SIZE)
    for place in PLACES:
        values = at(*place)
        if colour == 3:
            rgb, alpha = PALETTE[values[0]], alphas[values[0]] / 255 if values[0] < len(alphas) else 1
        else:
            levels = [value * 255 / most for value in values]
            rgb = levels[:3] if colour in (2, 6) else levels[:1] * 3
            alpha = values[-1] / most if colour in (4, 6) else 1 - is_clear(values)
        picture.putpixel(place, tuple(round(level * alpha + 255 * (1 - alpha)) for level in rgb))
    return picture


def made(colour, depth, at, *extra, interlaced=False):
    def pixel(x, y):
        value = 0
        for sample in at(x, y):
            value = value << depth | sample
        return value

    bits = depth * len(at(0, 0))
    plain = (packed([pixel(x, y) for x in range(SIZE[0])], bits) for y in range(SIZE[1]))
    palette = [chunk(b"PLTE", bytes(sum(PALETTE[: 1 << depth], ())))] if colour == 3 else []
    rows = adam7(*SIZE, pixel, bits) if interlaced else plain
    return png(SIZE, depth, colour, rows, *palette, *extra, interlaced=interlaced)


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), KINDS, ids=[f"{NAMES[colour]} {depth} bit" for colour, depth in KINDS])
def test_all_colours_and_depths(colour, depth, interlaced):
    at = samples(colour, depth)
    picture, previews, _ = rendered(made(colour, depth, at, interlaced=interlaced))
    reference = expected(colour, depth, at)
    assert picture.mode == "L" or colour != 0
    assert levels_apart(picture, reference) <= 1
    assert_previews(previews, reference)


def alike(values, key, depth):
    """Colours of 16 bits are compared once they have 8: grey is rounded to them, RGB cut."""
    if depth < 16:
        return values == key
    if len(key) == 1:
        return round(values[0] / 257) == round(key[0] / 257)
    return [value >> 8 for value in values] == [value >> 8 for value in key]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_a_grey_picture(depth):
    at = samples(0, depth)
    x, y = min(PLACES, key=lambda place: abs(at(*place)[0] - (1 << depth) // 3))  # one that is neither black nor white
    key = at(x, y)
    picture = rendered(made(0, depth, at, chunk(b"tRNS", struct.pack(">H", *key))))[0]
    assert picture.getpixel((x, y)) == 255
    assert levels_apart(picture, expected(0, depth, at, lambda values: alike(values, key, depth))) <= 1


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_of_an_rgb_picture(depth):
    at = samples(2, depth)
    key = at(20, 14)
    picture = rendered(made(2, depth, at, chunk(b"tRNS", struct.pack(">HHH", *key))))[0]
    assert picture.getpixel((20, 14)) == (255, 255, 255)
    assert levels_apart(picture, expected(2, depth, at, lambda values: alike(values, key, depth))) <= 1


@pytest.mark.parametrize("alphas", [bytes([0]), bytes([255, 0]), bytes(range(0, 256, 17)), bytes([128] * 2)], ids=bytes.hex)
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_with_alphas(depth, alphas):
    at, alphas = samples(3, depth), alphas[: 1 << depth]
    picture, previews, _ = rendered(made(3, depth, at, chunk(b"tRNS", alphas)))
    reference = expected(3, depth, at, alphas=alphas)
    assert levels_apart(picture, reference) <= 1
    assert_previews(previews, reference)


def test_a_gamma_alone_changes_nothing():
    at = samples(2, 8)
    data = made(2, 8, at, chunk(b"gAMA", struct.pack(">I", 100000)), chunk(b"sRGB", b"\0"))
    assert levels_apart(rendered(data)[0], expected(2, 8, at)) == 0


def test_of_an_animation_the_picture_that_stands_for_it_is_taken():
    at = samples(2, 8)
    control = struct.pack(">IIIIIHHBB", 0, *SIZE, 0, 0, 1, 10, 0, 0)
    data = made(2, 8, at, chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", control))
    second = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, *SIZE, 0, 0, 1, 10, 0, 0)) + chunk(b"fdAT", bytes(4) + b"junk")
    assert levels_apart(rendered(data[:-12] + second + data[-12:])[0], expected(2, 8, at)) == 0
