"""Images with color profiles are converted to sRGB, checked by arithmetic without a library."""

import itertools
import struct
import zlib
from io import BytesIO
from statistics import mean

import pytest
from PIL import Image, ImageCms, ImageDraw

from .file_writers import chunk, packed, png, tiff
from .measure import assert_previews, decoded, encoded, max_difference, photo, previewed, rendered
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
COLORS = list(itertools.product(LEVELS, repeat=3))[::2]
SPACES = {
    "Display P3": (DISPLAY_P3, SRGB_CURVE, srgb_gamma),
    "Adobe RGB": (ADOBE_RGB, gamma(2.2), lambda v: v ** (1 / 2.19921875)),
    "linear": (SRGB, gamma(1), lambda v: v),
}


def patches(colors, mode="RGB"):
    """Paint 12 patches in a row, so that the middle of each has its color even in a preview of 160 pixels."""
    image = Image.new(mode, (12 * PATCH, PATCH * -(-len(colors) // 12)))
    draw = ImageDraw.Draw(image)
    for place, color in enumerate(colors):
        x, y = place % 12 * PATCH, place // 12 * PATCH
        draw.rectangle((x, y, x + PATCH - 1, y + PATCH - 1), color)
    return image


def middles(image, count):
    return [image.convert("RGB").getpixel((n % 12 * PATCH + PATCH // 2, n // 12 * PATCH + PATCH // 2)) for n in range(count)]


def mean_delta_e(image, labs):
    seen = [lab(pixel) for pixel in middles(image, len(labs))]
    return mean(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for one, other in zip(seen, labs, strict=True))


def in_space(matrix, encode, color):
    """Return the values of an sRGB color in another color space."""
    values = times(inverse(matrix), times(SRGB, [linear(level) for level in color]))
    return tuple(round(255 * encode(min(1, max(0, value)))) for value in values)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("space", SPACES)
def test_rgb_profile_is_converted_to_srgb(space, kind):
    matrix, curve, encode = SPACES[space]
    source = patches([in_space(matrix, encode, color) for color in COLORS])
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "JPEG" else {}
    data = encoded(source, kind, icc_profile=matrix_profile(matrix, curve), **options)
    expected = [lab(color) for color in COLORS]
    assert mean_delta_e(source, expected) > 3
    image, previews, _ = rendered(data)
    other = previewed(data, 160) if kind == "JPEG" else image
    for result in (previews[160], other):
        assert mean_delta_e(result, expected) < 2


@pytest.mark.parametrize("space", ["Display P3", "Adobe RGB"])
def test_previews_are_converted_like_the_full_image(space):
    matrix, curve, _ = SPACES[space]
    icc_profile = matrix_profile(matrix, curve)
    data = encoded(photo(600, 400), quality=95, icc_profile=icc_profile)
    assert_previews(
        rendered(data)[1], ImageCms.profileToProfile(decoded(data), BytesIO(icc_profile), ImageCms.createProfile("sRGB"))
    )


def test_alpha_is_unchanged_by_profile():
    matrix, curve, encode = SPACES["Display P3"]
    data = encoded(
        Image.new("RGBA", (20, 20), (*in_space(matrix, encode, (200, 50, 60)), 51)),
        "PNG",
        icc_profile=matrix_profile(matrix, curve),
    )
    assert max_difference(rendered(data)[0], Image.new("RGB", (20, 20), (244, 214, 216))) <= 2


P3_RED = in_space(DISPLAY_P3, srgb_gamma, (200, 50, 60))


def profiled(*extra):
    return chunk(b"iCCP", b"P3\0\0" + zlib.compress(matrix_profile(DISPLAY_P3, SRGB_CURVE))), *extra


@pytest.mark.parametrize("alphas", [None, b"\xff\x00", b"\xff\x80"], ids=str)
def test_palette_is_converted_to_srgb(alphas):
    palette = chunk(b"PLTE", bytes((*P3_RED, 0, 0, 0)))
    transparency = [chunk(b"tRNS", alphas)] if alphas else []
    image = rendered(png((16, 4), 8, 3, [bytes(8) + bytes([1] * 8)] * 4, *profiled(palette, *transparency)))[0]
    assert max_difference(image.crop((0, 0, 8, 4)), Image.new("RGB", (8, 4), (200, 50, 60))) <= 2
    level = 255 - (alphas[1] if alphas else 255)
    assert max_difference(image.crop((8, 0, 16, 4)), Image.new("RGB", (8, 4), (level,) * 3)) <= 2


def test_transparent_color_is_unchanged_by_profile():
    row = packed([*P3_RED * 8, *(9, 8, 7) * 8], 8)
    image = rendered(png((16, 4), 8, 2, [row] * 4, *profiled(chunk(b"tRNS", struct.pack(">HHH", 9, 8, 7)))))[0]
    assert max_difference(image.crop((0, 0, 8, 4)), Image.new("RGB", (8, 4), (200, 50, 60))) <= 2
    assert max_difference(image.crop((8, 0, 16, 4)), Image.new("RGB", (8, 4), "white")) == 0


GREYS = [tuple([level] * 3) for level in range(0, 256, 3)]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize(("curve", "power"), [(gamma(1), 1), (gamma(1.8), 1.8), (gamma(2.2), 2.2)], ids=["1", "1.8", "2.2"])
def test_grey_profile_is_converted_to_srgb(curve, power, kind):
    levels = [round(255 * linear(grey[0]) ** (1 / power)) for grey in GREYS]
    data = encoded(patches(levels, "L"), kind, icc_profile=grey_profile(curve), **{"quality": 100} if kind == "JPEG" else {})
    image, previews, _ = rendered(data)
    for result in (previews[160], *[image] * (kind != "JPEG")):
        assert result.mode == "L"
        assert mean_delta_e(result, [lab(grey) for grey in GREYS]) < 2


def test_grey_profile_with_alpha_is_converted_to_srgb():
    data = encoded(Image.new("LA", (20, 20), (round(255 * linear(100)), 255)), "PNG", icc_profile=grey_profile(gamma(1)))
    assert max_difference(rendered(data)[0], Image.new("L", (20, 20), 100)) <= 2


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_profile_is_converted_to_srgb(kind):
    """Use the combinations of full inks that are inside sRGB."""
    full = [ink for ink in itertools.product((0, 1), repeat=4) if sum(ink[:3]) < 3 and ink != (1, 0, 0, 0)]
    shown = {ink: inks(*ink) for ink in full if is_shown(inks(*ink))}
    assert len(shown) >= 6
    source = patches([tuple(255 * part for part in ink) for ink in shown], "CMYK")
    data = encoded(source, kind, icc_profile=cmyk_profile(), **{"quality": 100} if kind == "JPEG" else {})
    image, previews, _ = rendered(data)
    expected = list(shown.values())
    assert mean_delta_e(source, expected) > 10
    assert mean_delta_e(previews[160], expected) < 2
    if kind == "TIFF":
        assert mean_delta_e(image, expected) < 2


def is_shown(color):
    light, a, b = color
    y = (light + 16) / 116
    values = [v**3 if v > 6 / 29 else (v - 4 / 29) * 3 * (6 / 29) ** 2 for v in (y + a / 500, y, y - b / 200)]
    return all(-0.001 <= v <= 1.001 for v in times(inverse(SRGB), [v * w for v, w in zip(values, WHITE, strict=True)]))


P3 = matrix_profile(DISPLAY_P3, SRGB_CURVE)
BROKEN = {
    "junk": b"junk" * 100,
    "truncated in the header": P3[:100],
    "truncated in the table": P3[:150],
    "truncated in the tags": P3[:-60],
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
@pytest.mark.parametrize("name", BROKEN)
def test_broken_profile_is_ignored(name, kind):
    data = encoded(photo(), kind, icc_profile=BROKEN[name])
    image, previews, _ = rendered(data)
    if name != "a singular matrix":  # this profile is valid, but maps all colors to black
        assert max_difference(image, decoded(data, kind) if kind == "JPEG" else photo()) == 0
        assert_previews(previews, image)


@pytest.mark.parametrize("content", [b"", b"name", b"name\0\1" + zlib.compress(P3), b"name\0\0" + zlib.compress(P3 + bytes(2**21))])
def test_png_profile_with_broken_compression_is_ignored(content):
    data = encoded(photo(), "PNG")
    image, previews, _ = rendered(data[:33] + chunk(b"iCCP", content) + data[33:])
    assert max_difference(image, photo()) == 0
    assert_previews(previews, image)


def test_rgb_profile_in_cmyk_image_is_ignored():
    image = photo(mode="CMYK")
    assert max_difference(rendered(encoded(image, "TIFF", icc_profile=P3))[0], image.convert("RGB")) == 0


def test_profile_in_16_bit_tiff_is_used():
    size = {256: (3, [8]), 257: (3, [8]), 258: (3, [16] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    data = tiff(size | {34675: (7, P3)}, struct.pack("<HHH", *(257 * level for level in P3_RED)) * 64)
    assert max_difference(rendered(data)[0], Image.new("RGB", (8, 8), (200, 50, 60))) <= 2
