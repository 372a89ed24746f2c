"""A TIFF one of whose pieces ends early is refused, in every packing and layout; nothing is logged of it."""

import struct
import zlib

import pytest

from luna_image_store.imaging.render import render

from .made import change_tag, tiff
from .measure import DEFAULT, assert_refused, encoded, photo
from .tiff_page import ONE_STRIP, PACK, PACKINGS, STRIPS, TILES, boxes, pieces, tags

pytestmark = pytest.mark.usefixtures("quiet")

SIZE = WIDTH, HEIGHT = 48, 32
PHOTO = photo(*SIZE)
GREY, FAX = PHOTO.convert("L"), PHOTO.convert("1")
LAYOUTS = [ONE_STRIP, STRIPS, TILES]
BANDS = {"grey": (1, GREY.split()), "RGB": (2, PHOTO.split()), "inks": (5, PHOTO.convert("CMYK").split())}
FAXES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}
FAX_NAMES = {2: "run lengths", 3: "group 3", 4: "group 4"}


def assert_taken(data):
    assert render(data, DEFAULT).size == SIZE


def shortened(given, place, fewer_bytes):
    """Let the piece at a place, from 0 to 1, unpack to fewer bytes, its end in good order."""
    changed, number = list(given), round(place * (len(given) - 1))
    changed[number] = changed[number][:-fewer_bytes]
    return changed


@pytest.mark.parametrize("packing", [packing for packing in PACK if packing != 1], ids=PACKINGS.get)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("colors", BANDS)
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("predictor", [1, 2], ids=["levels", "differences"])
def test_a_packed_piece_that_ends_early(colors, layout, packing, planar, predictor):
    photometric, bands = BANDS[colors]
    if predictor == 2 and packing == 32773:
        predictor = 1
    given = tags(SIZE, photometric, len(bands), planar=planar, layout=layout, predictor=predictor, packing=packing)
    raw = list(pieces(bands, planar=planar, layout=layout, predictor=predictor))
    assert_taken(tiff(given, *map(PACK[packing], raw), tiles=layout == TILES))
    for place in (0, 0.5, 1):
        for fewer in (1, len(raw[-1]) // 2, len(raw[-1]) - 1):
            assert_refused(tiff(given, *map(PACK[packing], shortened(raw, place, fewer)), tiles=layout == TILES))


@pytest.mark.parametrize("packing", [packing for packing in PACK if packing != 1], ids=PACKINGS.get)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_packed_piece_that_is_cut(layout, packing):
    given = tags(SIZE, 2, 3, layout=layout, packing=packing)
    whole = list(pieces(PHOTO.split(), layout=layout, packing=packing))
    for place in (0, 0.5, 1):
        for fewer in (9, len(whole[-1]) // 2, len(whole[-1]) - 1):
            assert_refused(tiff(given, *shortened(whole, place, fewer), tiles=layout == TILES))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
def test_pixels_that_lie_beyond_the_end_of_the_file(layout, planar):
    """Not packed, and its last piece the end of the file, which is cut."""
    bands = PHOTO.split()
    raw = list(pieces(bands, planar=planar, layout=layout))
    given = tags(SIZE, 2, 3, planar=planar, layout=layout)
    data = tiff(given, *raw, tiles=layout == TILES)
    where = 324 if layout == TILES else 273
    if len(raw) == 1:
        moved = change_tag(data, where, value=len(data)) + raw[0]
    else:
        offsets = struct.pack(f"<{len(raw)}I", *(8 + sum(map(len, raw[:number])) for number in range(len(raw))))
        assert data.count(offsets) == 1
        moved = data.replace(offsets, offsets[:-4] + struct.pack("<I", len(data))) + raw[-1]
    assert_taken(moved)
    for fewer in (1, len(raw[-1]) // 2, len(raw[-1])):
        assert_refused(moved[:-fewer])


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
def test_a_piece_that_is_not_packed_and_says_it_is_shorter(layout, place):
    raw = list(pieces(PHOTO.split(), layout=layout))
    given = tags(SIZE, 2, 3, layout=layout)
    for fewer in (1, 100):
        assert_refused(tiff(given, *shortened(raw, place, fewer), tiles=layout == TILES))


def fax_piece(image, packing):
    """Pack an image by fax codes as one piece, white as zero."""
    data = encoded(image, "TIFF", compression=FAXES[packing], tiffinfo={262: 0}, strip_size=2**20)
    start = struct.unpack_from("<I", data, 4)[0]
    entries = {}
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        tag, _, _, entries[tag] = struct.unpack_from("<HHII", data, at)
    return data[entries[273] : entries[273] + entries[279]]


def fax(packing, layout, given):
    return tiff(tags(SIZE, 1, 1, layout=layout, packing=packing) | {258: (3, [1]), 317: (3, [1])}, *given, tiles=layout == TILES)


@pytest.mark.parametrize("packing", FAXES, ids=FAX_NAMES.get)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fewer", [2, 4])
def test_a_fax_one_of_whose_pieces_has_fewer_rows(packing, layout, place, fewer):
    images = [FAX.crop(box) for box in boxes(SIZE, layout)]
    assert_taken(fax(packing, layout, [fax_piece(image, packing) for image in images]))
    number = round(place * (len(images) - 1))
    rows = images[number].height - fewer
    if rows > 0:
        images[number] = images[number].crop((0, 0, images[number].width, rows))
        assert_refused(fax(packing, layout, [fax_piece(image, packing) for image in images]))


@pytest.mark.parametrize("packing", FAXES, ids=FAX_NAMES.get)
@pytest.mark.parametrize("place", [0, 0.5], ids=["first", "middle"])
def test_a_fax_one_of_whose_pieces_lacks_a_row(request, packing, place):
    if packing != 3:
        request.applymarker(
            pytest.mark.xfail(strict=True, reason="the row at which fax codes end is white: of a piece it may be missing")
        )
    images = [FAX.crop(box) for box in boxes(SIZE, STRIPS)]
    number = round(place * (len(images) - 1))
    images[number] = images[number].crop((0, 0, WIDTH, images[number].height - 1))
    assert_refused(fax(packing, STRIPS, [fax_piece(image, packing) for image in images]))


def jpeg_tiff(layout, parts, photometric):
    given = tags(SIZE, photometric, 1 if photometric == 1 else 3, layout=layout, packing=7)
    del given[317]
    return tiff(given | ({278: (4, [16])} if layout == STRIPS else {}), *parts, tiles=layout == TILES)


@pytest.mark.parametrize("colors", ["grey", "YCbCr"])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
def test_a_jpeg_in_a_tiff_that_is_cut(colors, progressive, layout, place):
    places = [(0, y, WIDTH, y + 16) for y in range(0, HEIGHT, 16)] if layout == STRIPS else boxes(SIZE, layout)
    image = GREY if colors == "grey" else PHOTO
    parts = [encoded(image.crop(box), quality=90, progressive=progressive) for box in places]
    photometric = 1 if colors == "grey" else 6
    assert_taken(jpeg_tiff(layout, parts, photometric))
    number = round(place * (len(parts) - 1))
    scan = parts[number].index(b"\xff\xda") + (10 if colors == "grey" else 14)
    for kept in (0, 2) if layout != TILES else (0,):
        closed = parts[number][: scan + kept].removesuffix(b"\xff") + b"\xff\xd9"
        assert_refused(jpeg_tiff(layout, [*parts[:number], closed, *parts[number + 1 :]], photometric))
        assert_refused(jpeg_tiff(layout, [*parts[:number], closed[:-2], *parts[number + 1 :]], photometric))


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("packing", [1, 8], ids=PACKINGS.get)
def test_pieces_that_are_not_there(layout, packing):
    """The directory names too few of them."""
    whole = list(pieces(PHOTO.split(), layout=layout, packing=packing))
    given = tags(SIZE, 2, 3, layout=layout, packing=packing)
    for count in (1, len(whole) - 1):
        assert_refused(tiff(given, *whole[:count], tiles=layout == TILES))


@pytest.mark.parametrize("depth", [1, 2, 4, 8], ids="{} bits".format)
@pytest.mark.parametrize("packing", PACK, ids=PACKINGS.get)
def test_a_palette_with_too_few_rows(depth, packing):
    given = tags(SIZE, 3, 1, depth, packing=packing, t320=(3, [0] * (3 << depth)))
    row = bytes(WIDTH * depth // 8)
    assert_taken(tiff(given, PACK[packing](row * HEIGHT)))
    short = tiff(given | {278: (4, [8])}, *[PACK[packing](row * 8)] * 3, PACK[packing](row * 7))
    assert_refused(short)


def test_a_big_tiff_with_too_few_rows():
    page = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 8, 262: 1, 273: 16, 277: 1, 278: HEIGHT}
    for order in "<>":
        for rows in (HEIGHT, HEIGHT - 1):
            content = zlib.compress(GREY.tobytes()[: WIDTH * rows])
            entries = page | {279: len(content)}
            data = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16 + len(content)) + content
            data += struct.pack(f"{order}Q", len(entries))
            data += b"".join(struct.pack(f"{order}HHQQ", tag, 16, 1, value) for tag, value in entries.items()) + bytes(8)
            (assert_taken if rows == HEIGHT else assert_refused)(data)
