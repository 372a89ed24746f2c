"""Broken, missing or unusual tags of TIFF and BigTIFF, in both byte orders."""

import struct

import pytest

from luna_image_store.imaging.render import render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .file_writers import change_tag, tiff
from .measure import DEFAULT, max_difference, photo, rendered
from .profiles import SRGB, SRGB_CURVE, matrix_profile
from .tiff_page import COMPRESSIONS, ONE_STRIP, PACK, STRIPS, TILES, page, pieces, tags

SIZE = WIDTH, HEIGHT = 48, 32
PHOTO = photo(*SIZE)
LENGTHS = {ONE_STRIP: 279, STRIPS: 279, TILES: 325}
TAG = 50_000  # a private tag that replaces the missing tag
METADATA = {
    "profile": 34675,
    "XMP": 700,
    "EXIF": 34665,
    "GPS": 34853,
    "IPTC": 33723,
    "Photoshop": 34377,
    "software": 305,
    "subfiles": 330,
}
ERRORS = {
    "beyond the file": {"value": 10**9},
    "longer than any file": {"count": 2**32 - 1},
    "of type 0": {"kind": 0},
    "of an unknown type": {"kind": 200},
    "of text": {"kind": 2},
    "of fractions": {"kind": 5},
    "of floating point": {"kind": 12},
    "of no values": {"count": 0},
    "at the directory itself": {"value": None},
}


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize("error", ERRORS)
def test_broken_metadata_does_not_change_image(name, error):
    data = page(2, PHOTO.split(), **{f"t{METADATA[name]}": (7, b"x" * 100)})
    changes = dict(ERRORS[error])
    if "value" in changes and changes["value"] is None:
        changes["value"] = struct.unpack_from("<I", data, 4)[0]
    assert max_difference(rendered(change_tag(data, METADATA[name], **changes))[0], PHOTO) == 0


ODD = {
    "orientation of 0": {274: (3, [0])},
    "orientation of 9": {274: (3, [9])},
    "orientation of 65,536 + 6": {274: (4, [65_542])},
    "orientation in bytes of no type": {274: (7, b"\6")},
    "one depth for all samples": {258: (3, [8])},
    "alpha without a sample": {338: (3, [2])},
    "a color map": {320: (3, [1] * 768)},
    "a predictor without compression": {317: (3, [2])},
    "the format of each sample": {339: (3, [1, 1, 1])},
    "an unknown order of bits": {266: (3, [0])},
    "a resolution of no fraction": {282: (3, [1]), 283: (4, [1])},
    "the kind of a thumbnail": {254: (4, [1])},
    "sizes in bytes": {256: (1, [WIDTH]), 257: (1, [HEIGHT])},
    "the maximum of rows per strip": {278: (4, [2**32 - 1])},
    "tags without meaning": {tag: (3, [1, 2, 3]) for tag in range(60_000, 60_300)},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_odd_tags_do_not_change_image(name, order):
    data = page(2, PHOTO.split(), order=order, **{f"t{tag}": value for tag, value in ODD[name].items()})
    assert max_difference(rendered(data)[0], PHOTO) == 0


@pytest.mark.parametrize("tag", [259, 262, 278, 284], ids=["compression", "colors", "rows per strip", "planes"])
def test_missing_tags_have_defaults(tag):
    assert max_difference(rendered(change_tag(page(2, PHOTO.split()), tag, number=TAG))[0], PHOTO) == 0


def test_directory_may_be_unsorted():
    data = bytearray(page(2, PHOTO.split()))
    start = struct.unpack_from("<I", data, 4)[0] + 2
    end = start + 12 * struct.unpack_from("<H", data, start - 2)[0]
    data[start:end] = b"".join(bytes(data[entry : entry + 12]) for entry in range(end - 12, start - 1, -12))
    assert max_difference(rendered(bytes(data))[0], PHOTO) == 0


PAGES = {
    "at itself": None,
    "in the pixels": 8,
    "in the header": 0,
    "beyond the file": 2**32 - 8,
    "at an odd place": 4097,
}


@pytest.mark.parametrize("compression", [1, 8], ids=COMPRESSIONS.get)
@pytest.mark.parametrize("name", PAGES)
def test_broken_next_page_does_not_change_image(name, compression):
    data = bytearray(page(2, PHOTO.split(), compression=compression))
    start = struct.unpack_from("<I", data, 4)[0]
    following = start if PAGES[name] is None else PAGES[name]
    struct.pack_into("<I", data, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], following)
    assert max_difference(rendered(bytes(data))[0], PHOTO) == 0


def replaced(data, tag, new):
    """Replace the lengths of all pieces."""
    count, value = lengths_entry(data, tag)
    changed = bytearray(data)
    if count == 1:
        return change_tag(data, tag, value=new[0])
    struct.pack_into(f"<{count}I", changed, value, *new)
    return bytes(changed)


def lengths_entry(data, tag):
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        number, _, count, value = struct.unpack_from("<HHII", data, entry)
        if number == tag:
            return count, value
    raise AssertionError(tag)


@pytest.mark.parametrize("compression", PACK, ids=COMPRESSIONS.get)
@pytest.mark.parametrize("layout", [ONE_STRIP, STRIPS, TILES])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("error", ["too large", "beyond any file", "zero", "missing"])
def test_wrong_piece_lengths_are_corrected(compression, layout, planar, error):
    data, tag = page(2, PHOTO.split(), layout=layout, planar=planar, compression=compression), LENGTHS[layout]
    if error == "missing":
        wrong = change_tag(data, tag, number=TAG)
    else:
        count = lengths_entry(data, tag)[0]
        wrong = replaced(data, tag, [{"too large": len(data), "beyond any file": 2**32 - 1, "zero": 0}[error]] * count)
    assert max_difference(rendered(wrong)[0], PHOTO) == 0


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("compression", PACK, ids=COMPRESSIONS.get)
def test_extra_pieces_are_ignored(compression, layout):
    all_pieces = list(pieces(PHOTO.split(), layout=layout, compression=compression))
    data = tiff(tags(SIZE, 2, 3, layout=layout, compression=compression), *all_pieces, *all_pieces[:2], tiles=layout == TILES)
    assert max_difference(rendered(data)[0], PHOTO) == 0


ORIENTATIONS = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I"), "SBYTE": (6, "b"), "SSHORT": (8, "h"), "SLONG": (9, "i")}


def write_bigtiff(order, values, content, directory_first=False):
    """Write a BigTIFF; values are (type, form, number) by tag."""
    length = 8 + 20 * (len(values) + 2) + 8
    values = values | {273: (16, "Q", 16 + length if directory_first else 16), 279: (16, "Q", len(content))}
    entries = b"".join(
        struct.pack(f"{order}HHQ", tag, kind, 1) + struct.pack(order + form, value).ljust(8, b"\0")
        for tag, (kind, form, value) in sorted(values.items())
    )
    directory = struct.pack(f"{order}Q", len(values)) + entries + bytes(8)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16 if directory_first else 16 + len(content))
    return head + (directory + content if directory_first else content + directory)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("compression", PACK, ids=COMPRESSIONS.get)
@pytest.mark.parametrize("directory_first", [False, True], ids=["directory last", "directory first"])
@pytest.mark.parametrize("kind", ["BYTE", "SHORT", "SLONG"])
def test_bigtiff_orientation_is_used(order, compression, directory_first, kind):
    number, form = ORIENTATIONS[kind]
    for orientation in (3, 6):
        rotated = PHOTO.transpose(TRANSPOSES[orientation])
        values = {256: (4, "I", rotated.width), 257: (16, "Q", rotated.height), 258: (3, "H", 8), 259: (3, "H", compression)}
        values |= {262: (3, "H", 2), 277: (3, "H", 3), 278: (4, "I", rotated.height), ORIENTATION: (number, form, orientation)}
        data = write_bigtiff(order, values, PACK[compression](rotated.tobytes()), directory_first)
        assert max_difference(rendered(data)[0], PHOTO) == 0


@pytest.mark.parametrize("kind", ORIENTATIONS)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_orientation_of_any_type_is_used(kind, order):
    number, form = ORIENTATIONS[kind]
    rotated = PHOTO.transpose(TRANSPOSES[6])
    data = bytearray(page(2, rotated.split(), order=order, t274=(3, [6])))
    entry = data.index(struct.pack(f"{order}HHI", 274, 3, 1))
    struct.pack_into(f"{order}HHI", data, entry, 274, number, 1)
    data[entry + 8 : entry + 12] = struct.pack(order + form, 6).ljust(4, b"\0")
    assert max_difference(rendered(bytes(data))[0], PHOTO) == 0


def test_orientation_in_xmp_or_exif_is_ignored():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    directory = struct.pack("<HHHII", 1, ORIENTATION, 3, 1, 6) + bytes(4)
    data = page(2, PHOTO.split(), t700=(1, list(xmp)), t34665=(4, [0]))
    data = change_tag(data + bytes(len(data) % 2), 34665, value=len(data) + len(data) % 2) + directory
    assert max_difference(rendered(data)[0], PHOTO) == 0


def test_profile_tag_of_any_byte_type_is_used():
    profile = matrix_profile([(green, blue, red) for red, green, blue in SRGB], SRGB_CURVE)
    one, other = (page(2, PHOTO.split(), compression=8, t34675=(kind, profile)) for kind in (1, 7))
    plain = page(2, PHOTO.split(), compression=8)
    assert render(one, DEFAULT) == render(other, DEFAULT) != render(plain, DEFAULT)
