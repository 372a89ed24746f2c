"""Pictures with colour profiles come out in sRGB, checked by arithmetic of our own."""

import itertools
import struct
import zlib
from io import BytesIO
from statistics import mean

import pytest
from PIL import Image, ImageCms, ImageDraw

from .made import chunk, packed, png, tiff
from .measure import assert_previews, decoded, encoded, levels_apart, photo, previewed, rendered
from .profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    SRGB_CURVE,
    WHITE,
    cmyk_profile,
    gamma,
    grey_profile,
    inks,
    inverse,
    lab,
    linear,
    matrix_profile,
    profile,
    times,
)


def srgb_gamma(value):
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


PATCH, LEVELS = 10, (0, 51, 102, 153, 204, 255)
COLOURS = list(itertools.product(LEVELS, repeat=3))[::2]
SPACES = {
    "Display P3": (DISPLAY_P3, SRGB_CURVE, srgb_gamma),
    "Adobe RGB": (ADOBE_RGB, gamma(2.2), lambda v: v ** (1 / 2.19921875)),
    "linear": (SRGB, gamma(1), lambda v: v),
}


def patches(colours, mode="RGB"):
    """Paint 12 patches in a row, so that even the middle of each can be told in a preview of 160."""
    picture = Image.new(mode, (12 * PATCH, PATCH * -(-len(colours) // 12)))
    draw = ImageDraw.Draw(picture)
    for place, colour in enumerate(colours):
        x, y = place % 12 * PATCH, place // 12 * PATCH
        draw.rectangle((x, y, x + PATCH - 1, y + PATCH - 1), colour)
    return picture


def middles(picture, count):
    return [picture.convert("RGB").getpixel((n % 12 * PATCH + PATCH // 2, n // 12 * PATCH + PATCH // 2)) for n in range(count)]


def mean_delta_e(picture, labs):
    seen = [lab(pixel) for pixel in middles(picture, len(labs))]
    return mean(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for one, other in zip(seen, labs, strict=True))


def in_space(matrix, encode, colour):
    """Give the numbers by which a space names an sRGB colour."""
    values = times(inverse(matrix), times(SRGB, [linear(level) for level in colour]))
    return tuple(round(255 * encode(min(1, max(0, value)))) for value in values)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("space", SPACES)
def test_colours_are_those_that_the_profile_means(space, kind):
    matrix, curve, encode = SPACES[space]
    source = patches([in_space(matrix, encode, colour) for colour in COLOURS])
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "JPEG" else {}
    data = encoded(source, kind, icc_profile=matrix_profile(matrix, curve), **options)
    meant = [lab(colour) for colour in COLOURS]
    assert mean_delta_e(source, meant) > 3
    picture, previews, _ = rendered(data)
    other = previewed(data, 160) if kind == "JPEG" else picture
    for made in (previews[160], other):
        assert mean_delta_e(made, meant) < 2


@pytest.mark.parametrize("space", ["Display P3", "Adobe RGB"])
def test_previews_are_converted_like_the_whole_picture(space):
    matrix, curve, _ = SPACES[space]
    made = matrix_profile(matrix, curve)
    data = encoded(photo(600, 400), quality=95, icc_profile=made)
    assert_previews(rendered(data)[1], ImageCms.profileToProfile(decoded(data), BytesIO(made), ImageCms.createProfile("sRGB")))


def test_alpha_is_kept_through_the_conversion():
    matrix, curve, encode = SPACES["Display P3"]
    data = encoded(
        Image.new("RGBA", (20, 20), (*in_space(matrix, encode, (200, 50, 60)), 51)),
        "PNG",
        icc_profile=matrix_profile(matrix, curve),
    )
    assert levels_apart(rendered(data)[0], Image.new("RGB", (20, 20), (244, 214, 216))) <= 2


P3_RED = in_space(DISPLAY_P3, srgb_gamma, (200, 50, 60))


def profiled(*extra):
    return chunk(b"iCCP", b"P3\0\0" + zlib.compress(matrix_profile(DISPLAY_P3, SRGB_CURVE))), *extra


@pytest.mark.parametrize("alphas", [None, b"\xff\x00", b"\xff\x80"], ids=str)
def test_a_palette_is_converted_too(alphas):
    palette = chunk(b"PLTE", bytes((*P3_RED, 0, 0, 0)))
    transparency = [chunk(b"tRNS", alphas)] if alphas else []
    picture = rendered(png((16, 4), 8, 3, [bytes(8) + bytes([1] * 8)] * 4, *profiled(palette, *transparency)))[0]
    assert levels_apart(picture.crop((0, 0, 8, 4)), Image.new("RGB", (8, 4), (200, 50, 60))) <= 2
    clear = 255 - (alphas[1] if alphas else 255)
    assert levels_apart(picture.crop((8, 0, 16, 4)), Image.new("RGB", (8, 4), (clear,) * 3)) <= 2


def test_a_transparent_colour_stays_so_through_the_conversion():
    row = packed([*P3_RED * 8, *(9, 8, 7) * 8], 8)
    picture = rendered(png((16, 4), 8, 2, [row] * 4, *profiled(chunk(b"tRNS", struct.pack(">HHH", 9, 8, 7)))))[0]
    assert levels_apart(picture.crop((0, 0, 8, 4)), Image.new("RGB", (8, 4), (200, 50, 60))) <= 2
    assert levels_apart(picture.crop((8, 0, 16, 4)), Image.new("RGB", (8, 4), "white")) == 0


GREYS = [tuple([level] * 3) for level in range(0, 256, 3)]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize(("curve", "power"), [(gamma(1), 1), (gamma(1.8), 1.8), (gamma(2.2), 2.2)], ids=["1", "1.8", "2.2"])
def test_grey_is_that_which_the_profile_means(curve, power, kind):
    levels = [round(255 * linear(grey[0]) ** (1 / power)) for grey in GREYS]
    data = encoded(patches(levels, "L"), kind, icc_profile=grey_profile(curve), **{"quality": 100} if kind == "JPEG" else {})
    picture, previews, _ = rendered(data)
    for made in (previews[160], *[picture] * (kind != "JPEG")):
        assert made.mode == "L"
        assert mean_delta_e(made, [lab(grey) for grey in GREYS]) < 2


def test_grey_with_alpha_is_that_which_the_profile_means():
    data = encoded(Image.new("LA", (20, 20), (round(255 * linear(100)), 255)), "PNG", icc_profile=grey_profile(gamma(1)))
    assert levels_apart(rendered(data)[0], Image.new("L", (20, 20), 100)) <= 2


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_inks_are_those_that_the_profile_means(kind):
    """Of the sixteen full inks those are taken that a screen can show."""
    full = [ink for ink in itertools.product((0, 1), repeat=4) if sum(ink[:3]) < 3 and ink != (1, 0, 0, 0)]
    shown = {ink: inks(*ink) for ink in full if is_shown(inks(*ink))}
    assert len(shown) >= 6
    source = patches([tuple(255 * part for part in ink) for ink in shown], "CMYK")
    data = encoded(source, kind, icc_profile=cmyk_profile(), **{"quality": 100} if kind == "JPEG" else {})
    picture, previews, _ = rendered(data)
    meant = list(shown.values())
    assert mean_delta_e(source, meant) > 10
    assert mean_delta_e(previews[160], meant) < 2
    if kind == "TIFF":
        assert mean_delta_e(picture, meant) < 2


def is_shown(colour):
    light, a, b = colour
    y = (light + 16) / 116
    values = [v**3 if v > 6 / 29 else (v - 4 / 29) * 3 * (6 / 29) ** 2 for v in (y + a / 500, y, y - b / 200)]
    return all(-0.001 <= v <= 1.001 for v in times(inverse(SRGB), [v * w for v, w in zip(values, WHITE, strict=True)]))


P3 = matrix_profile(DISPLAY_P3, SRGB_CURVE)
BROKEN = {
    "junk": b"junk" * 100,
    "cut in the header": P3[:100],
    "cut in the table": P3[:150],
    "cut in the tags": P3[:-60],
    "without tags": profile(b"RGB ", {}),
    "of another space": grey_profile(gamma(2.2)),
    "of CMYK": cmyk_profile(),
    "of Lab": profile(b"Lab ", {}),
    "a link": profile(b"RGB ", {}, b"RGB ", b"link"),
    "an output profile without a table": profile(b"RGB ", {}, b"Lab ", b"prtr"),
    "a singular matrix": matrix_profile(((0, 0, 0),) * 3, SRGB_CURVE),
    "an endless curve": matrix_profile(DISPLAY_P3, b"curv" + bytes(4) + b"\xff" * 8),
    "bytes in a row": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_profile_is_ignored(fault, kind):
    data = encoded(photo(), kind, icc_profile=BROKEN[fault])
    picture, previews, _ = rendered(data)
    if fault != "a singular matrix":  # which is sound, but all black
        assert levels_apart(picture, decoded(data, kind) if kind == "JPEG" else photo()) == 0
        assert_previews(previews, picture)


@pytest.mark.parametrize("content", [b"", b"name", b"name\0\1" + zlib.compress(P3), b"name\0\0" + zlib.compress(P3 + bytes(2**21))])
def test_a_profile_of_a_png_that_can_not_be_unpacked_is_ignored(content):
    data = encoded(photo(), "PNG")
    picture, previews, _ = rendered(data[:33] + chunk(b"iCCP", content) + data[33:])
    assert levels_apart(picture, photo()) == 0
    assert_previews(previews, picture)


def test_a_profile_of_rgb_in_a_cmyk_picture_is_ignored():
    picture = photo(mode="CMYK")
    assert levels_apart(rendered(encoded(picture, "TIFF", icc_profile=P3))[0], picture.convert("RGB")) == 0


def test_a_profile_in_a_tiff_of_16_bits_is_used():
    size = {256: (3, [8]), 257: (3, [8]), 258: (3, [16] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    data = tiff(size | {34675: (7, P3)}, struct.pack("<HHH", *(257 * level for level in P3_RED)) * 64)
    assert levels_apart(rendered(data)[0], Image.new("RGB", (8, 8), (200, 50, 60))) <= 2
