"""Palettes, Lab and tiles of a TIFF, and too few samples."""

import pytest
from PIL import Image

from luna_image_store.errors import BadImage

from .file_writers import packed, tiff
from .measure import max_difference, photo, rendered
from .tiff_page import page

SIZE = WIDTH, HEIGHT = 48, 32
PHOTO = photo(*SIZE)
GREY = PHOTO.convert("L")


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("tile", [8, 16, 32, 64])
def test_tiles_are_decoded(tile, planar):
    canvas = Image.new("RGB", (-(-WIDTH // tile) * tile, -(-HEIGHT // tile) * tile), "red")
    canvas.paste(PHOTO)
    boxes = [(x, y, x + tile, y + tile) for y in range(0, HEIGHT, tile) for x in range(0, WIDTH, tile)]
    parts = [canvas.crop(box) for box in boxes]
    pieces = [part.getchannel(band).tobytes() for band in "RGB" for part in parts] if planar else [part.tobytes() for part in parts]
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    tags |= {322: (3, [tile]), 323: (3, [tile]), 284: (3, [2 if planar else 1])}
    assert max_difference(rendered(tiff(tags, *pieces, tiles=True))[0], PHOTO) == 0


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 257], ids=["color map of bytes", "color map of words"])
def test_palette_is_applied(depth, scale):
    indexes = PHOTO.quantize(1 << depth)
    palette = (indexes.getpalette("RGB") + [0] * 768)[: 3 << depth]
    color_map = [value * scale for channel in range(3) for value in palette[channel::3]]
    rows = [indexes.tobytes()[start : start + WIDTH] for start in range(0, WIDTH * HEIGHT, WIDTH)]
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [depth]), 259: (3, [1]), 262: (3, [3]), 277: (3, [1])}
    data = tiff(tags | {278: (4, [HEIGHT]), 320: (3, color_map)}, b"".join(packed(row, depth) for row in rows))
    assert max_difference(rendered(data)[0], indexes.convert("RGB")) == 0


LAB_RED, LAB_GREY = (54.29, 80.8, 69.9), (53.59, 0, 0)  # with D50: red and a grey of 128 in sRGB


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9], ids=["CIE", "ICC"])
@pytest.mark.parametrize(("lab", "color"), [(LAB_RED, (255, 0, 0)), (LAB_GREY, (128, 128, 128))], ids=["red", "grey"])
def test_lab_is_converted(depth, photometric, lab, color):
    light, a, b = lab
    samples = [round(light * 2.55), *(round(value) % 256 if photometric == 8 else round(value) + 128 for value in (a, b))]
    data = page(photometric, [Image.new("L", SIZE, sample) for sample in samples], depth)
    assert max_difference(rendered(data)[0], Image.new("RGB", SIZE, color)) <= 8


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_too_few_colors_are_refused(bands):
    for photometric in (2, 5, 8):
        if bands < (4 if photometric == 5 else 3):
            with pytest.raises(BadImage):
                rendered(page(photometric, [GREY] * bands))
