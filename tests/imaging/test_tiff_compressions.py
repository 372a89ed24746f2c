"""The usual samples of a TIFF in every compression and layout, compared with the original image."""

import pytest
from PIL import Image, ImageChops

from luna_image_store.errors import BadImage

from .measure import max_difference, photo, psnr, rendered
from .profiles import lab
from .tiff_page import COMPRESSIONS, ONE_STRIP, STRIPS, TILES, on_white, page

SIZE = 24, 18
PHOTO = photo(*SIZE)
GREY, INDEXED = PHOTO.convert("L"), PHOTO.quantize(200)
ALPHA = Image.linear_gradient("L").resize(SIZE)
OTHER = ImageChops.invert(ALPHA)
INKS = Image.merge("CMYK", [*ImageChops.invert(PHOTO).split(), Image.new("L", SIZE, 30)])
INDEXES = Image.frombytes("L", SIZE, INDEXED.tobytes())
MAP = [value * 257 for channel in range(3) for value in (INDEXED.getpalette("RGB") + [0] * 768)[:768][channel::3]]
LABS = [lab(pixel) for pixel in zip(*(band.tobytes() for band in PHOTO.split()), strict=True)]


def lab_bands(is_signed):
    """Return bands of L, a and b in 8 bits. In 16 bits, repeated bytes differ by at most 1/256."""
    rows = ((light * 2.55, a % 256 if is_signed else a + 128, b % 256 if is_signed else b + 128) for light, a, b in LABS)
    return [Image.frombytes("L", SIZE, bytes(round(value) % 256 for value in band)) for band in zip(*rows, strict=True)]


COLORS = {  # photometric interpretation, bands, and the expected image
    "grey": (1, (GREY,), GREY.convert("RGB")),
    "white is zero": (0, (ImageChops.invert(GREY),), GREY.convert("RGB")),
    "RGB": (2, PHOTO.split(), PHOTO),
    "inks": (5, INKS.split(), INKS.convert("RGB")),
    "palette": (3, (INDEXES,), INDEXED.convert("RGB")),
    "CIE Lab": (8, lab_bands(is_signed=True), PHOTO),
    "ICC Lab": (9, lab_bands(is_signed=False), PHOTO),
}
EXTRAS = {
    "alone": (),
    "with a sample without meaning": (0,),
    "with alpha": (2,),
    "with alpha and a sample without meaning": (2, 0),
    "with a sample without meaning and alpha": (0, 2),
}
LAYOUTS = [("<", False, STRIPS), (">", False, TILES), ("<", True, TILES), (">", True, ONE_STRIP)]
PACKED = [(1, 1), (32773, 1), (5, 1), (8, 1), (5, 2), (8, 2)]
NAMES = [COMPRESSIONS[compression] + (", differences" if predictor == 2 else "") for compression, predictor in PACKED]


CASES = [(colors, depth) for colors in COLORS for depth in (8, 16) if (colors, depth) != ("palette", 16)]


def is_unsupported(bands, depth, planar, predictor):
    """Return whether the manual lists this predictor as unsupported."""
    return predictor == 2 and not planar and len(bands) > (6 if depth == 8 else 4)


@pytest.mark.parametrize(("compression", "predictor"), PACKED, ids=NAMES)
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
@pytest.mark.parametrize(("colors", "depth"), CASES, ids=[f"{colors} of {depth} bits" for colors, depth in CASES])
def test_samples_are_decoded(colors, depth, extra, compression, predictor):
    photometric, bands, opaque = COLORS[colors]
    expected = on_white(opaque, ALPHA) if 2 in extra else opaque
    bands = [*bands, *(ALPHA if kind == 2 else OTHER for kind in extra)]
    more = {"t320": (3, MAP)} if colors == "palette" else {}
    for order, planar, layout in LAYOUTS:
        data = page(photometric, bands, depth, order, extra, layout, planar, predictor, compression, **more)
        try:
            image = rendered(data)[0]
        except BadImage:
            assert is_unsupported(bands, depth, planar, predictor), (order, planar, layout)
            continue
        if "Lab" in colors:
            assert psnr(image, expected) > 36, (order, planar, layout)
        else:
            assert max_difference(image, expected) <= 2, (order, planar, layout)


@pytest.mark.parametrize(("compression", "predictor"), PACKED, ids=NAMES)
@pytest.mark.parametrize("depth", [8, 16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("colors", ["grey", "white is zero", "RGB", "inks"])
def test_samples_with_associated_alpha_are_decoded(colors, depth, compression, predictor):
    photometric, bands, opaque = COLORS[colors]
    bands = [*(ImageChops.multiply(band, ALPHA) for band in bands), ALPHA]
    for order, planar, layout in LAYOUTS:
        data = page(photometric, bands, depth, order, (1,), layout, planar, predictor, compression)
        try:
            image = rendered(data)[0]
        except BadImage:
            assert is_unsupported(bands, depth, planar, predictor), (order, planar, layout)
            continue
        assert max_difference(image, on_white(opaque, ALPHA)) <= 8, (order, planar, layout)


@pytest.mark.parametrize("compression", [5, 8], ids=COMPRESSIONS.get)
@pytest.mark.parametrize("layout", [ONE_STRIP, STRIPS, TILES])
def test_ycbcr_with_predictor_is_decoded(compression, layout):
    data = page(6, PHOTO.convert("YCbCr").split(), layout=layout, predictor=2, compression=compression, t530=(3, [1, 1]))
    assert max_difference(rendered(data)[0], PHOTO) <= 4


@pytest.mark.parametrize("compression", [1, 5, 8, 32773], ids=COMPRESSIONS.get)
@pytest.mark.parametrize("layout", [ONE_STRIP, STRIPS, TILES])
def test_ycbcr_is_decoded(compression, layout):
    data = page(6, PHOTO.convert("YCbCr").split(), layout=layout, compression=compression, t530=(3, [1, 1]))
    assert max_difference(rendered(data)[0], PHOTO) <= 4


def test_too_short_color_map_is_refused():
    with pytest.raises(BadImage):
        rendered(page(3, [INDEXES], t320=(3, MAP[:-3])))
