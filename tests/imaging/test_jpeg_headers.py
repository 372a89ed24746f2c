"""Headers of JPEGs: orientation of any type and position, profiles in several parts, broken segments."""

import itertools
import struct

import pytest
from PIL import Image

from luna_image_store.imaging.render import preview, render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .file_writers import segment
from .measure import DEFAULT, decoded, encoded, photo, psnr
from .profiles import SRGB, SRGB_CURVE, matrix_profile

PHOTO = photo(64, 48)
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "4:4:4": {"subsampling": "4:4:4"},
}
SWAPPED_COLORS = matrix_profile([(green, blue, red) for red, green, blue in SRGB], SRGB_CURVE)  # its red is the green of sRGB
INTEGERS = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I"), "SBYTE": (6, "b"), "SSHORT": (8, "h"), "SLONG": (9, "i")}
IMAGES = {"RGB": PHOTO, "grey": PHOTO.convert("L"), "inks": PHOTO.convert("CMYK")}


def rotated(image, orientation):
    return image.transpose(TRANSPOSES[orientation]) if orientation > 1 else image


def exif(orientation, kind="SHORT", order=">", before=(), padding=0, start=8):
    """Write EXIF with other tags before the orientation, its directory at `start`, and padding after it."""
    number, form = INTEGERS[kind]
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, 0) for tag in before]
    entries.append(struct.pack(f"{order}HHI", ORIENTATION, number, 1) + struct.pack(order + form, orientation).ljust(4, b"\0"))
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", start)
    return head.ljust(start, b"\0") + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4 + padding)


def app1(*parts):
    return b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)


def split(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def positions(jpeg):
    """Yield the positions before the first scan at which a segment may be."""
    place = 2
    while jpeg[place + 1] != 0xDA:
        yield place
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    yield place


def at_all_positions(jpeg, segments):
    return [jpeg[:place] + segments + jpeg[place:] for place in positions(jpeg)]


def assert_upright(data, expected=PHOTO):
    stored = render(data, DEFAULT)
    assert stored.jpeg == data
    assert psnr(decoded(stored.previews[64]), expected) > 25
    assert psnr(decoded(preview(data, 64, DEFAULT)), expected) > 25


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("colors", IMAGES)
@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 8])
def test_orientation_is_used_in_every_kind_of_jpeg(colors, orientation, options):
    image = IMAGES[colors]
    jpeg = encoded(rotated(image, orientation), quality=95, **options)
    assert_upright(jpeg[:2] + app1(exif(orientation)) + jpeg[2:], image)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("kind", INTEGERS)
def test_orientation_of_any_type_and_position_is_used(kind, order):
    for orientation in (3, 6, 8):
        jpeg = encoded(rotated(PHOTO, orientation), quality=95)
        for data in at_all_positions(jpeg, app1(exif(orientation, kind, order))):
            assert_upright(data)


LONG_EXIF = {
    "in two segments": split(exif(6, padding=65_000), 65_500),
    "in four segments": split(exif(6, padding=200_000), 65_000),
    "in many short segments": split(exif(6, padding=2000), 10),
    "with the directory in the second segment": split(exif(6, start=65_000, padding=3000), 60_000),
    "with the tag across two segments": split(exif(6, padding=100), 15),
    "with other tags before it": [exif(6, before=range(0x100, 0x110))],
    "after an empty segment": [b"", exif(6)],
}


@pytest.mark.parametrize("name", LONG_EXIF)
def test_orientation_in_long_exif_is_used(name):
    jpeg = encoded(rotated(PHOTO, 6), quality=95)
    for data in at_all_positions(jpeg, app1(*LONG_EXIF[name])):
        assert_upright(data)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
NO_ORIENTATION = {
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "XMP and EXIF without orientation": app1(exif(1)) + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "extended XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + XMP),
    "EXIF of 0": app1(exif(0)),
    "EXIF of 9": app1(exif(9)),
    "EXIF of -6": app1(exif(-6, "SSHORT")),
    "EXIF of a strange type": app1(exif(6).replace(struct.pack(">HH", ORIENTATION, 3), struct.pack(">HH", ORIENTATION, 5))),
    "EXIF with a truncated directory": app1(exif(6)[:15]),
    "EXIF with a directory beyond its end": app1(b"MM\0*" + struct.pack(">I", 10**6)),
    "EXIF with its header as directory": app1(b"MM\0*" + struct.pack(">I", 0)),
    "EXIF in another segment": segment(0xE3, b"Exif\0\0" + exif(6)),
    "a comment": segment(0xFE, b"Exif\0\0" + exif(6)),
}


@pytest.mark.parametrize("name", NO_ORIENTATION)
def test_invalid_orientation_does_not_rotate_image(name):
    jpeg = encoded(PHOTO, quality=95)
    expected = render(jpeg, DEFAULT).previews
    for data in at_all_positions(jpeg, NO_ORIENTATION[name]):
        assert render(data, DEFAULT).previews == expected


def profile_parts(count, numbers=None):
    size = len(SWAPPED_COLORS) // count
    parts = [SWAPPED_COLORS[number * size : (number + 1) * size if number < count - 1 else None] for number in range(count)]
    return [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + parts[number - 1]) for number in numbers or range(1, count + 1)
    ]


COMPLETE_PROFILES = {
    "in one part": profile_parts(1),
    "twice": profile_parts(1) * 2,
    "in three parts": profile_parts(3),
    **{f"in three parts, {order}": profile_parts(3, order) for order in itertools.permutations((1, 2, 3))},
    "in parts, one of them twice": profile_parts(3, (1, 2, 2, 3, 1)),
    "in parts between other segments": [
        piece
        for part in profile_parts(4)
        for piece in (part, segment(0xFE, b"x"), segment(0xE2, b"MPF\0"), segment(0xEE, b"Adobe"))
    ],
    "after a segment without a number": [segment(0xE2, b"ICC_PROFILE\0"), segment(0xE2, b"ICC_PROFILE\0\1"), *profile_parts(1)],
    "in as many parts as there can be": profile_parts(255),
}


@pytest.mark.parametrize("name", COMPLETE_PROFILES)
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_profile_at_any_position_is_used(name, progressive):
    jpeg = encoded(Image.new("RGB", (64, 48), "red"), quality=95, progressive=progressive)
    for data in at_all_positions(jpeg, b"".join(COMPLETE_PROFILES[name])):
        for result in (render(data, DEFAULT).previews[64], preview(data, 64, DEFAULT)):
            red, green, _ = decoded(result).getpixel((30, 20))
            assert green > 200 > 100 > red


@pytest.mark.parametrize("numbers", [(1,), (2, 3), (1, 3), (1, 2), (1, 1, 2)], ids=str)
def test_incomplete_profile_is_ignored(numbers):
    jpeg = encoded(PHOTO, quality=95)
    data = jpeg[:20] + b"".join(profile_parts(3, numbers)) + jpeg[20:]
    assert render(data, DEFAULT).previews == render(jpeg, DEFAULT).previews


def mpf(entries, announced, first_length=1000, order="<"):
    index = struct.pack(f"{order}LLLHH", 0x20030000, first_length, 0, 0, 0) * entries
    head = struct.pack(f"{order}HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(f"{order}HHII", 0xB001, 4, 1, announced)
    tags = head + struct.pack(f"{order}HHII", 0xB002, 7, len(index), 50) + bytes(4)
    return b"MPF\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 3) + tags + index


BROKEN = {
    **{f"JFIF of {length} bytes": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"[:length]) for length in range(0, 14, 2)},
    **{f"Adobe of {length} bytes": segment(0xEE, b"Adobe\0d\0\0\0\0\1"[:length]) for length in (0, 3, 5, 6, 8, 11)},
    **{
        f"Photoshop of {length} bytes": segment(0xED, (b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\xff\xff\xff\xff")[:length])
        for length in (13, 14, 18, 20, 22, 26)
    },
    **{f"EXIF of {length} bytes": app1(exif(6)[:length]) for length in (0, 2, 4, 8, 10)},
    "a thumbnail of JFIF that is larger than its segment": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\xff\xff"),
    "an MPF index of too many images": segment(0xE2, mpf(2, 3)),
    "an MPF index of no images": segment(0xE2, mpf(0, 2)),
    "a big-endian MPF index of far too many images": segment(0xE2, mpf(1, 2**32 - 1, order=">")),
    "an MPF index of images beyond the file": segment(0xE2, mpf(2, 2, 2**32 - 1)),
    "an MPF index that is truncated": segment(0xE2, mpf(2, 2)[:20]),
    "zeros between segments": bytes(100),
    "all bytes but markers between segments": bytes(range(255)) * 3,
    "0xFF 0x00 between segments": b"\xff\0" * 20,
    "fill bytes": b"\xff" * 7,
    "TEM and restarts": b"\xff\1\xff\xd3",
    "a define-lines marker": segment(0xDC, b"\0\x30"),
    "empty segments": b"".join(segment(0xE0 + number, b"") for number in range(16)) + segment(0xFE, b""),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("colors", IMAGES)
def test_broken_segments_do_not_change_image(name, colors):
    jpeg = encoded(IMAGES[colors], quality=95)
    expected = render(jpeg, DEFAULT).previews
    for data in at_all_positions(jpeg, BROKEN[name]):
        stored = render(data, DEFAULT)
        assert stored.jpeg == data
        assert stored.previews == expected
