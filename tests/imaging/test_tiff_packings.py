"""The usual samples of a TIFF in every packing and layout, compared with what they mean; and with pieces that end early."""

import pytest
from PIL import Image, ImageChops

from luna_image_store.errors import BadImage

from .measure import levels_apart, photo, psnr, rendered
from .profiles import lab
from .tiff_page import ONE_STRIP, PACKINGS, STRIPS, TILES, on_white, page

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
    """Write L, a and b in 8 bits; repeated in 16 they are the same but for a 256th."""
    rows = ((light * 2.55, a % 256 if is_signed else a + 128, b % 256 if is_signed else b + 128) for light, a, b in LABS)
    return [Image.frombytes("L", SIZE, bytes(round(value) % 256 for value in band)) for band in zip(*rows, strict=True)]


COLORS = {  # photometric interpretation, bands, and what they mean
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
NAMES = [PACKINGS[packing] + (", differences" if predictor == 2 else "") for packing, predictor in PACKED]


CASES = [(colors, depth) for colors in COLORS for depth in (8, 16) if (colors, depth) != ("palette", 16)]


def is_rare(bands, depth, planar, predictor):
    """Say whether the manual has such differences among what is refused."""
    return predictor == 2 and not planar and len(bands) > (6 if depth == 8 else 4)


@pytest.mark.parametrize(("packing", "predictor"), PACKED, ids=NAMES)
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
@pytest.mark.parametrize(("colors", "depth"), CASES, ids=[f"{colors} of {depth} bits" for colors, depth in CASES])
def test_samples(colors, depth, extra, packing, predictor):
    photometric, bands, meaning = COLORS[colors]
    expected = on_white(meaning, ALPHA) if 2 in extra else meaning
    bands = [*bands, *(ALPHA if kind == 2 else OTHER for kind in extra)]
    more = {"t320": (3, MAP)} if colors == "palette" else {}
    for order, planar, layout in LAYOUTS:
        data = page(photometric, bands, depth, order, extra, layout, planar, predictor, packing, **more)
        try:
            image = rendered(data)[0]
        except BadImage:
            assert is_rare(bands, depth, planar, predictor), (order, planar, layout)
            continue
        if "Lab" in colors:
            assert psnr(image, expected) > 36, (order, planar, layout)
        else:
            assert levels_apart(image, expected) <= 2, (order, planar, layout)


@pytest.mark.parametrize(("packing", "predictor"), PACKED, ids=NAMES)
@pytest.mark.parametrize("depth", [8, 16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("colors", ["grey", "white is zero", "RGB", "inks"])
def test_samples_that_alpha_is_multiplied_into(colors, depth, packing, predictor):
    photometric, bands, meaning = COLORS[colors]
    bands = [*(ImageChops.multiply(band, ALPHA) for band in bands), ALPHA]
    for order, planar, layout in LAYOUTS:
        data = page(photometric, bands, depth, order, (1,), layout, planar, predictor, packing)
        try:
            image = rendered(data)[0]
        except BadImage:
            assert is_rare(bands, depth, planar, predictor), (order, planar, layout)
            continue
        assert levels_apart(image, on_white(meaning, ALPHA)) <= 8, (order, planar, layout)


@pytest.mark.parametrize("packing", [5, 8], ids=PACKINGS.get)
@pytest.mark.parametrize("layout", [ONE_STRIP, STRIPS, TILES])
def test_differences_of_ycbcr(packing, layout):
    data = page(6, PHOTO.convert("YCbCr").split(), layout=layout, predictor=2, packing=packing, t530=(3, [1, 1]))
    assert levels_apart(rendered(data)[0], PHOTO) <= 4


@pytest.mark.parametrize("packing", [1, 5, 8, 32773], ids=PACKINGS.get)
@pytest.mark.parametrize("layout", [ONE_STRIP, STRIPS, TILES])
def test_ycbcr(packing, layout):
    data = page(6, PHOTO.convert("YCbCr").split(), layout=layout, packing=packing, t530=(3, [1, 1]))
    assert levels_apart(rendered(data)[0], PHOTO) <= 4


def test_a_color_map_that_is_too_short_is_refused():
    with pytest.raises(BadImage):
        rendered(page(3, [INDEXES], t320=(3, MAP[:-3])))
