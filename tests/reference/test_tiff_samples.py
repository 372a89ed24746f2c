"""The samples of a TIFF in all company: colors, depths, alpha, byte orders, planes, tiles, differences."""

import struct
import sys
import zlib
from array import array

import pytest
from PIL import Image, ImageChops

from luna_image_store.errors import BadImage

from .made import packed, tiff
from .measure import levels_apart, photo, rendered

SIZE = WIDTH, HEIGHT = 48, 32
PHOTO = photo(*SIZE)
GREY = PHOTO.convert("L")
ALPHA = Image.linear_gradient("L").resize(SIZE)
INKS = Image.merge("CMYK", [*ImageChops.invert(PHOTO).split(), Image.new("L", SIZE, 30)])
COLORS = {1: (GREY,), 0: (ImageChops.invert(GREY),), 2: PHOTO.split(), 5: INKS.split()}
NAMES = {1: "grey", 0: "white is zero", 2: "RGB", 5: "inks"}
OPAQUE = {1: GREY.convert("RGB"), 0: GREY.convert("RGB"), 2: PHOTO, 5: INKS.convert("RGB")}
NONE, ASSOCIATED, UNASSOCIATED = 0, 1, 2


def on_white(image):
    return Image.composite(image, Image.new("RGB", SIZE, "white"), ALPHA)


def sample_bytes(band, depth, order):
    if depth == 8:
        return band.tobytes()
    words = array("H", (level * 257 for level in band.tobytes()))
    if (sys.byteorder == "little") != (order == "<"):
        words.byteswap()
    return words.tobytes()


def interleaved(planes, width):
    return b"".join(b"".join(plane[start : start + width] for plane in planes) for start in range(0, len(planes[0]), width))


def differences(plane, depth, order):
    """Replace each sample of a row by its difference to the one before."""
    form = f"{order}{WIDTH}{'B' if depth == 8 else 'H'}"
    rows = (struct.unpack_from(form, plane, start) for start in range(0, len(plane), WIDTH * depth // 8))
    return b"".join(
        struct.pack(form, *((value - before) % 2**depth for before, value in zip((0, *row), row, strict=False))) for row in rows
    )


def page(photometric, bands, depth, order="<", planar=False, predictor=1, extra=(), packing=1):
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [depth] * len(bands)), 259: (3, [packing]), 262: (3, [photometric])}
    tags |= {277: (3, [len(bands)]), 278: (4, [HEIGHT])} | ({338: (3, extra)} if extra else {})
    planes = [sample_bytes(band, depth, order) for band in bands]
    if predictor == 2:
        tags[317] = (3, [2])
        planes = [differences(plane, depth, order) for plane in planes]
    pack = zlib.compress if packing == 8 else bytes
    if planar:
        return tiff(tags | {284: (3, [2])}, *map(pack, planes), order=order)
    return tiff(tags, pack(interleaved(planes, depth // 8)), order=order)


@pytest.mark.parametrize("photometric", COLORS, ids=NAMES.get)
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("extra", [(), (NONE,), (UNASSOCIATED,), (UNASSOCIATED, NONE), (NONE, UNASSOCIATED)], ids=str)
def test_colors_in_any_company(lossless, photometric, depth, order, planar, extra):
    others = [ALPHA if kind == UNASSOCIATED else ImageChops.invert(ALPHA) for kind in extra]
    data = page(photometric, [*COLORS[photometric], *others], depth, order, planar, extra=extra)
    expected = on_white(OPAQUE[photometric]) if UNASSOCIATED in extra else OPAQUE[photometric]
    assert levels_apart(rendered(data)[0].convert("RGB"), expected) <= 1


@pytest.mark.parametrize("photometric", [1, 2], ids=NAMES.get)
@pytest.mark.parametrize("depth", [8, 16])
def test_colors_that_alpha_is_multiplied_into(lossless, photometric, depth):
    bands = [ImageChops.multiply(band, ALPHA) for band in COLORS[photometric]]
    data = page(photometric, [*bands, ALPHA], depth, extra=(ASSOCIATED,))
    assert levels_apart(rendered(data)[0].convert("RGB"), on_white(OPAQUE[photometric])) <= 4


@pytest.mark.parametrize("photometric", COLORS, ids=NAMES.get)
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
def test_differences(lossless, photometric, depth, order, planar):
    data = page(photometric, COLORS[photometric], depth, order, planar, predictor=2, packing=8)
    assert levels_apart(rendered(data)[0].convert("RGB"), OPAQUE[photometric]) <= 1


@pytest.mark.parametrize("photometric", [1, 2], ids=NAMES.get)
@pytest.mark.parametrize("depth", [8, 16])
def test_differences_with_alpha(lossless, photometric, depth):
    data = page(photometric, [*COLORS[photometric], ALPHA], depth, predictor=2, packing=8, extra=(UNASSOCIATED,))
    assert levels_apart(rendered(data)[0].convert("RGB"), on_white(OPAQUE[photometric])) <= 1


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("tile", [16, 32, 64])
def test_tiles(lossless, tile, planar):
    canvas = Image.new("RGB", (-(-WIDTH // tile) * tile, -(-HEIGHT // tile) * tile), "red")
    canvas.paste(PHOTO)
    boxes = [(x, y, x + tile, y + tile) for y in range(0, HEIGHT, tile) for x in range(0, WIDTH, tile)]
    parts = [canvas.crop(box) for box in boxes]
    pieces = [part.getchannel(band).tobytes() for band in "RGB" for part in parts] if planar else [part.tobytes() for part in parts]
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    tags |= {322: (3, [tile]), 323: (3, [tile]), 284: (3, [2 if planar else 1])}
    assert levels_apart(rendered(tiff(tags, *pieces, tiles=True))[0], PHOTO) == 0


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 257], ids=["color map of bytes", "color map of words"])
def test_a_palette(lossless, depth, scale):
    indexes = PHOTO.quantize(1 << depth)
    palette = (indexes.getpalette("RGB") + [0] * 768)[: 3 << depth]
    color_map = [value * scale for channel in range(3) for value in palette[channel::3]]
    rows = [indexes.tobytes()[start : start + WIDTH] for start in range(0, WIDTH * HEIGHT, WIDTH)]
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [depth]), 259: (3, [1]), 262: (3, [3]), 277: (3, [1])}
    data = tiff(tags | {278: (4, [HEIGHT]), 320: (3, color_map)}, b"".join(packed(row, depth) for row in rows))
    assert levels_apart(rendered(data)[0], indexes.convert("RGB")) == 0


LAB_RED, LAB_GREY = (54.29, 80.8, 69.9), (53.59, 0, 0)  # of D50: red and a grey of 128 in sRGB


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9], ids=["CIE", "ICC"])
@pytest.mark.parametrize(("lab", "color"), [(LAB_RED, (255, 0, 0)), (LAB_GREY, (128, 128, 128))], ids=["red", "grey"])
def test_lab(lossless, depth, photometric, lab, color):
    light, a, b = lab
    samples = [round(light * 2.55), *(round(value) % 256 if photometric == 8 else round(value) + 128 for value in (a, b))]
    data = page(photometric, [Image.new("L", SIZE, sample) for sample in samples], depth)
    assert levels_apart(rendered(data)[0], Image.new("RGB", SIZE, color)) <= 8


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_too_few_colors_are_refused(bands):
    for photometric in (2, 5, 8):
        if bands < (4 if photometric == 5 else 3):
            with pytest.raises(BadImage):
                rendered(page(photometric, [GREY] * bands, 8))
