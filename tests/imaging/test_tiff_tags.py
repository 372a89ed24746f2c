"""Tags of a TIFF that are broken, missing or odd, beside the ones that make the pixels; classic and big, in both byte orders."""

import struct

import pytest

from luna_image_store.imaging.render import render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .made import change_tag, tiff
from .measure import DEFAULT, levels_apart, photo, rendered
from .profiles import SRGB, SRGB_CURVE, matrix_profile
from .tiff_page import ONE_STRIP, PACK, PACKINGS, STRIPS, TILES, page, pieces, tags

SIZE = WIDTH, HEIGHT = 48, 32
PHOTO = photo(*SIZE)
LENGTHS = {ONE_STRIP: 279, STRIPS: 279, TILES: 325}
TAG = 50_000  # private, in place of a tag that is missing
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
FAULTS = {
    "beyond the file": {"value": 10**9},
    "longer than any file": {"count": 2**32 - 1},
    "of a type that is none": {"kind": 0},
    "of an unknown type": {"kind": 200},
    "of text": {"kind": 2},
    "of fractions": {"kind": 5},
    "of floating point": {"kind": 12},
    "of no values": {"count": 0},
    "at the directory itself": {"value": None},
}


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize("fault", FAULTS)
def test_broken_metadata_changes_nothing(name, fault):
    data = page(2, PHOTO.split(), **{f"t{METADATA[name]}": (7, b"x" * 100)})
    changes = dict(FAULTS[fault])
    if "value" in changes and changes["value"] is None:
        changes["value"] = struct.unpack_from("<I", data, 4)[0]
    assert levels_apart(rendered(change_tag(data, METADATA[name], **changes))[0], PHOTO) == 0


ODD = {
    "orientation of 0": {274: (3, [0])},
    "orientation of 9": {274: (3, [9])},
    "orientation of 65,536 + 6": {274: (4, [65_542])},
    "orientation in bytes of no type": {274: (7, b"\6")},
    "one depth for all samples": {258: (3, [8])},
    "alpha without a sample": {338: (3, [2])},
    "a color map": {320: (3, [1] * 768)},
    "differences, which are not packed": {317: (3, [2])},
    "the format of each sample": {339: (3, [1, 1, 1])},
    "an unknown order of bits": {266: (3, [0])},
    "a resolution of no fraction": {282: (3, [1]), 283: (4, [1])},
    "the kind of a thumbnail": {254: (4, [1])},
    "sizes in bytes": {256: (1, [WIDTH]), 257: (1, [HEIGHT])},
    "rows without number": {278: (4, [2**32 - 1])},
    "tags without meaning": {tag: (3, [1, 2, 3]) for tag in range(60_000, 60_300)},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_odd_tags_change_nothing(name, order):
    data = page(2, PHOTO.split(), order=order, **{f"t{tag}": value for tag, value in ODD[name].items()})
    assert levels_apart(rendered(data)[0], PHOTO) == 0


@pytest.mark.parametrize("tag", [259, 262, 278, 284], ids=["packing", "colors", "rows per strip", "planes"])
def test_tags_that_have_a_default_may_be_missing(tag):
    assert levels_apart(rendered(change_tag(page(2, PHOTO.split()), tag, number=TAG))[0], PHOTO) == 0


def test_a_directory_in_any_order():
    data = bytearray(page(2, PHOTO.split()))
    start = struct.unpack_from("<I", data, 4)[0] + 2
    end = start + 12 * struct.unpack_from("<H", data, start - 2)[0]
    data[start:end] = b"".join(bytes(data[entry : entry + 12]) for entry in range(end - 12, start - 1, -12))
    assert levels_apart(rendered(bytes(data))[0], PHOTO) == 0


PAGES = {
    "at itself": None,
    "in the pixels": 8,
    "in the header": 0,
    "beyond the file": 2**32 - 8,
    "at an odd place": 4097,
}


@pytest.mark.parametrize("packing", [1, 8], ids=PACKINGS.get)
@pytest.mark.parametrize("name", PAGES)
def test_a_further_page_that_is_broken_changes_nothing(name, packing):
    data = bytearray(page(2, PHOTO.split(), packing=packing))
    start = struct.unpack_from("<I", data, 4)[0]
    following = start if PAGES[name] is None else PAGES[name]
    struct.pack_into("<I", data, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], following)
    assert levels_apart(rendered(bytes(data))[0], PHOTO) == 0


def replaced(data, tag, new):
    """Replace all values of the lengths of pieces."""
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


@pytest.mark.parametrize("packing", PACK, ids=PACKINGS.get)
@pytest.mark.parametrize("layout", [ONE_STRIP, STRIPS, TILES])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("fault", ["too large", "beyond any file", "zero", "missing"])
def test_wrong_lengths_of_pieces_are_corrected(packing, layout, planar, fault):
    data, tag = page(2, PHOTO.split(), layout=layout, planar=planar, packing=packing), LENGTHS[layout]
    if fault == "missing":
        wrong = change_tag(data, tag, number=TAG)
    else:
        count = lengths_entry(data, tag)[0]
        wrong = replaced(data, tag, [{"too large": len(data), "beyond any file": 2**32 - 1, "zero": 0}[fault]] * count)
    assert levels_apart(rendered(wrong)[0], PHOTO) == 0


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("packing", PACK, ids=PACKINGS.get)
def test_more_pieces_than_there_can_be(packing, layout):
    given = list(pieces(PHOTO.split(), layout=layout, packing=packing))
    data = tiff(tags(SIZE, 2, 3, layout=layout, packing=packing), *given, *given[:2], tiles=layout == TILES)
    assert levels_apart(rendered(data)[0], PHOTO) == 0


ORIENTATIONS = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I"), "SBYTE": (6, "b"), "SSHORT": (8, "h"), "SLONG": (9, "i")}


def big(order, values, content, directory_first=False):
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
@pytest.mark.parametrize("packing", PACK, ids=PACKINGS.get)
@pytest.mark.parametrize("directory_first", [False, True], ids=["directory last", "directory first"])
@pytest.mark.parametrize("kind", ["BYTE", "SHORT", "SLONG"])
def test_big_tiffs_of_any_orientation(order, packing, directory_first, kind):
    number, form = ORIENTATIONS[kind]
    for orientation in (3, 6):
        lying = PHOTO.transpose(TRANSPOSES[orientation])
        values = {256: (4, "I", lying.width), 257: (16, "Q", lying.height), 258: (3, "H", 8), 259: (3, "H", packing)}
        values |= {262: (3, "H", 2), 277: (3, "H", 3), 278: (4, "I", lying.height), ORIENTATION: (number, form, orientation)}
        data = big(order, values, PACK[packing](lying.tobytes()), directory_first)
        assert levels_apart(rendered(data)[0], PHOTO) == 0


@pytest.mark.parametrize("kind", ORIENTATIONS)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_the_orientation_may_be_of_any_type(kind, order):
    number, form = ORIENTATIONS[kind]
    lying = PHOTO.transpose(TRANSPOSES[6])
    data = bytearray(page(2, lying.split(), order=order, t274=(3, [6])))
    entry = data.index(struct.pack(f"{order}HHI", 274, 3, 1))
    struct.pack_into(f"{order}HHI", data, entry, 274, number, 1)
    data[entry + 8 : entry + 12] = struct.pack(order + form, 6).ljust(4, b"\0")
    assert levels_apart(rendered(bytes(data))[0], PHOTO) == 0


def test_orientation_in_xmp_or_in_exif_of_a_tiff_turns_nothing():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    directory = struct.pack("<HHHII", 1, ORIENTATION, 3, 1, 6) + bytes(4)
    data = page(2, PHOTO.split(), t700=(1, list(xmp)), t34665=(4, [0]))
    data = change_tag(data + bytes(len(data) % 2), 34665, value=len(data) + len(data) % 2) + directory
    assert levels_apart(rendered(data)[0], PHOTO) == 0


def test_a_profile_in_a_tag_of_any_type_of_bytes():
    profile = matrix_profile([(green, blue, red) for red, green, blue in SRGB], SRGB_CURVE)
    one, other = (page(2, PHOTO.split(), packing=8, t34675=(kind, profile)) for kind in (1, 7))
    plain = page(2, PHOTO.split(), packing=8)
    assert render(one, DEFAULT) == render(other, DEFAULT) != render(plain, DEFAULT)
