"""A TIFF with a truncated piece is refused, in every compression and layout. Nothing is logged."""

import struct
import zlib

import pytest

from luna_image_store.imaging.render import render

from .file_writers import change_tag, tiff
from .measure import DEFAULT, assert_refused, encoded, photo
from .tiff_page import COMPRESSIONS, ONE_STRIP, PACK, STRIPS, TILES, boxes, pieces, tags

pytestmark = pytest.mark.usefixtures("nothing_logged")

SIZE = WIDTH, HEIGHT = 48, 32
PHOTO = photo(*SIZE)
GREY, FAX = PHOTO.convert("L"), PHOTO.convert("1")
LAYOUTS = [ONE_STRIP, STRIPS, TILES]
BANDS = {"grey": (1, GREY.split()), "RGB": (2, PHOTO.split()), "inks": (5, PHOTO.convert("CMYK").split())}
FAXES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}
FAX_NAMES = {2: "run lengths", 3: "group 3", 4: "group 4"}


def assert_accepted(data):
    assert render(data, DEFAULT).size == SIZE


def shortened(all_pieces, place, fewer_bytes):
    """Remove the last bytes of the piece at a relative place from 0 to 1."""
    changed, number = list(all_pieces), round(place * (len(all_pieces) - 1))
    changed[number] = changed[number][:-fewer_bytes]
    return changed


@pytest.mark.parametrize("compression", [compression for compression in PACK if compression != 1], ids=COMPRESSIONS.get)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("colors", BANDS)
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("predictor", [1, 2], ids=["levels", "differences"])
def test_compressed_piece_with_too_few_bytes_is_refused(colors, layout, compression, planar, predictor):
    photometric, bands = BANDS[colors]
    if predictor == 2 and compression == 32773:
        predictor = 1
    page_tags = tags(SIZE, photometric, len(bands), planar=planar, layout=layout, predictor=predictor, compression=compression)
    raw = list(pieces(bands, planar=planar, layout=layout, predictor=predictor))
    assert_accepted(tiff(page_tags, *map(PACK[compression], raw), tiles=layout == TILES))
    for place in (0, 0.5, 1):
        for fewer in (1, len(raw[-1]) // 2, len(raw[-1]) - 1):
            assert_refused(tiff(page_tags, *map(PACK[compression], shortened(raw, place, fewer)), tiles=layout == TILES))


@pytest.mark.parametrize("compression", [compression for compression in PACK if compression != 1], ids=COMPRESSIONS.get)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_truncated_compressed_piece_is_refused(layout, compression):
    page_tags = tags(SIZE, 2, 3, layout=layout, compression=compression)
    complete = list(pieces(PHOTO.split(), layout=layout, compression=compression))
    for place in (0, 0.5, 1):
        for fewer in (9, len(complete[-1]) // 2, len(complete[-1]) - 1):
            assert_refused(tiff(page_tags, *shortened(complete, place, fewer), tiles=layout == TILES))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
def test_piece_beyond_end_of_file_is_refused(layout, planar):
    """The pieces are uncompressed. The last piece is at the end of the file, which is truncated."""
    bands = PHOTO.split()
    raw = list(pieces(bands, planar=planar, layout=layout))
    page_tags = tags(SIZE, 2, 3, planar=planar, layout=layout)
    data = tiff(page_tags, *raw, tiles=layout == TILES)
    offsets_tag = 324 if layout == TILES else 273
    if len(raw) == 1:
        moved = change_tag(data, offsets_tag, value=len(data)) + raw[0]
    else:
        offsets = struct.pack(f"<{len(raw)}I", *(8 + sum(map(len, raw[:number])) for number in range(len(raw))))
        assert data.count(offsets) == 1
        moved = data.replace(offsets, offsets[:-4] + struct.pack("<I", len(data))) + raw[-1]
    assert_accepted(moved)
    for fewer in (1, len(raw[-1]) // 2, len(raw[-1])):
        assert_refused(moved[:-fewer])


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
def test_uncompressed_piece_with_short_length_is_refused(layout, place):
    raw = list(pieces(PHOTO.split(), layout=layout))
    page_tags = tags(SIZE, 2, 3, layout=layout)
    for fewer in (1, 100):
        assert_refused(tiff(page_tags, *shortened(raw, place, fewer), tiles=layout == TILES))


def fax_piece(image, compression):
    """Encode an image with fax codes as one piece. White is zero."""
    data = encoded(image, "TIFF", compression=FAXES[compression], tiffinfo={262: 0}, strip_size=2**20)
    start = struct.unpack_from("<I", data, 4)[0]
    entries = {}
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        tag, _, _, entries[tag] = struct.unpack_from("<HHII", data, at)
    return data[entries[273] : entries[273] + entries[279]]


def fax(compression, layout, fax_pieces):
    return tiff(
        tags(SIZE, 1, 1, layout=layout, compression=compression) | {258: (3, [1]), 317: (3, [1])},
        *fax_pieces,
        tiles=layout == TILES,
    )


@pytest.mark.parametrize("compression", FAXES, ids=FAX_NAMES.get)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fewer", [2, 4])
def test_fax_piece_with_missing_rows_is_refused(compression, layout, place, fewer):
    images = [FAX.crop(box) for box in boxes(SIZE, layout)]
    assert_accepted(fax(compression, layout, [fax_piece(image, compression) for image in images]))
    number = round(place * (len(images) - 1))
    rows = images[number].height - fewer
    if rows > 0:
        images[number] = images[number].crop((0, 0, images[number].width, rows))
        assert_refused(fax(compression, layout, [fax_piece(image, compression) for image in images]))


@pytest.mark.parametrize("compression", FAXES, ids=FAX_NAMES.get)
@pytest.mark.parametrize("place", [0, 0.5], ids=["first", "middle"])
def test_fax_piece_with_one_missing_row_is_refused(request, compression, place):
    if compression != 3:
        request.applymarker(
            pytest.mark.xfail(
                strict=True, reason="libtiff fills the row at the end of the fax codes with white, so it may be missing"
            )
        )
    images = [FAX.crop(box) for box in boxes(SIZE, STRIPS)]
    number = round(place * (len(images) - 1))
    images[number] = images[number].crop((0, 0, WIDTH, images[number].height - 1))
    assert_refused(fax(compression, STRIPS, [fax_piece(image, compression) for image in images]))


def jpeg_tiff(layout, parts, photometric):
    page_tags = tags(SIZE, photometric, 1 if photometric == 1 else 3, layout=layout, compression=7)
    del page_tags[317]
    return tiff(page_tags | ({278: (4, [16])} if layout == STRIPS else {}), *parts, tiles=layout == TILES)


@pytest.mark.parametrize("colors", ["grey", "YCbCr"])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
def test_truncated_jpeg_in_tiff_is_refused(colors, progressive, layout, place):
    places = [(0, y, WIDTH, y + 16) for y in range(0, HEIGHT, 16)] if layout == STRIPS else boxes(SIZE, layout)
    image = GREY if colors == "grey" else PHOTO
    parts = [encoded(image.crop(box), quality=90, progressive=progressive) for box in places]
    photometric = 1 if colors == "grey" else 6
    assert_accepted(jpeg_tiff(layout, parts, photometric))
    number = round(place * (len(parts) - 1))
    scan = parts[number].index(b"\xff\xda") + (10 if colors == "grey" else 14)
    for length in (0, 2) if layout != TILES else (0,):
        closed = parts[number][: scan + length].removesuffix(b"\xff") + b"\xff\xd9"
        assert_refused(jpeg_tiff(layout, [*parts[:number], closed, *parts[number + 1 :]], photometric))
        assert_refused(jpeg_tiff(layout, [*parts[:number], closed[:-2], *parts[number + 1 :]], photometric))


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("compression", [1, 8], ids=COMPRESSIONS.get)
def test_missing_pieces_are_refused(layout, compression):
    """The directory has too few entries."""
    complete = list(pieces(PHOTO.split(), layout=layout, compression=compression))
    page_tags = tags(SIZE, 2, 3, layout=layout, compression=compression)
    for count in (1, len(complete) - 1):
        assert_refused(tiff(page_tags, *complete[:count], tiles=layout == TILES))


@pytest.mark.parametrize("depth", [1, 2, 4, 8], ids="{} bits".format)
@pytest.mark.parametrize("compression", PACK, ids=COMPRESSIONS.get)
def test_palette_tiff_with_missing_rows_is_refused(depth, compression):
    page_tags = tags(SIZE, 3, 1, depth, compression=compression, t320=(3, [0] * (3 << depth)))
    row = bytes(WIDTH * depth // 8)
    assert_accepted(tiff(page_tags, PACK[compression](row * HEIGHT)))
    short = tiff(page_tags | {278: (4, [8])}, *[PACK[compression](row * 8)] * 3, PACK[compression](row * 7))
    assert_refused(short)


def test_bigtiff_with_missing_rows_is_refused():
    page = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 8, 262: 1, 273: 16, 277: 1, 278: HEIGHT}
    for order in "<>":
        for rows in (HEIGHT, HEIGHT - 1):
            content = zlib.compress(GREY.tobytes()[: WIDTH * rows])
            entries = page | {279: len(content)}
            data = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16 + len(content)) + content
            data += struct.pack(f"{order}Q", len(entries))
            data += b"".join(struct.pack(f"{order}HHQQ", tag, 16, 1, value) for tag, value in entries.items()) + bytes(8)
            (assert_accepted if rows == HEIGHT else assert_refused)(data)
