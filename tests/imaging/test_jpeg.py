"""Every kind of JPEG: previews from a reduced scale match previews from full size."""

import struct

import pytest
from PIL import Image, ImageChops

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import render

from .measure import (
    DEFAULT,
    assert_previews,
    decoded,
    encode_lossless,
    encoded,
    max_difference,
    photo,
    previewed,
    psnr,
    rendered,
    shrunk,
)

PHOTO = photo(777, 583)
OTHER = ImageChops.invert(PHOTO)
CMYK = Image.merge("CMYK", (*PHOTO.split(), Image.linear_gradient("L").resize(PHOTO.size).point(lambda k: k // 3)))


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg, marker, body):
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


def ycck():
    """Encode as Adobe does: inverted, with cyan, magenta and yellow as YCbCr."""
    *inks, black = CMYK.split()
    planes = [ImageChops.invert(plane) for plane in Image.merge("RGB", inks).convert("YCbCr").split()]
    data = bytearray(encoded(Image.merge("CMYK", (*planes, black)), quality=95))
    assert data[data.index(b"Adobe") + 11] == 0
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def with_thumbnail():
    """Encode with a thumbnail of another image in the EXIF."""
    thumbnail = encoded(OTHER.resize((160, 120)))
    directory = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 44, 0x0202, 4, 1, len(thumbnail), 0)
    return encoded(PHOTO, exif=b"Exif\0\0II*\0" + struct.pack("<IHI", 8, 0, 14) + directory + thumbnail)


KINDS = {
    "baseline": lambda: encoded(PHOTO),
    "progressive": lambda: encoded(PHOTO, progressive=True),
    "optimized": lambda: encoded(PHOTO, optimize=True),
    "grey": lambda: encoded(PHOTO.convert("L")),
    "progressive grey": lambda: encoded(PHOTO.convert("L"), progressive=True),
    "4:4:4": lambda: encoded(PHOTO, subsampling="4:4:4"),
    "4:2:2": lambda: encoded(PHOTO, subsampling="4:2:2"),
    "4:2:0": lambda: encoded(PHOTO, subsampling="4:2:0"),
    "RGB without YCbCr": lambda: encoded(PHOTO, keep_rgb=True),
    "restart markers": lambda: encoded(PHOTO, restart_marker_blocks=7),
    "progressive with restart markers": lambda: encoded(PHOTO, restart_marker_rows=1, progressive=True),
    "CMYK": lambda: encoded(CMYK),
    "progressive CMYK": lambda: encoded(CMYK, progressive=True),
    "YCCK": ycck,
    "MPO": lambda: encoded(PHOTO, "MPO", save_all=True, append_images=[OTHER]),
    "trailing data": lambda: encoded(PHOTO) + b"trailing" * 100,
    "trailing image": lambda: encoded(PHOTO) + encoded(OTHER),
    "thumbnail": with_thumbnail,
    "low quality": lambda: encoded(PHOTO, quality=5),
    "comments and unknown segments": lambda: with_segment(with_segment(encoded(PHOTO), 0xFE, b"\xff\xd9"), 0xE9, b"\xff\xd8\xff"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_previews_match_full_decode(kind):
    jpeg = KINDS[kind]()
    reference = decoded(jpeg)
    reference = reference if reference.mode == "L" else reference.convert("RGB")
    _, previews, stored = rendered(jpeg)
    assert stored.jpeg == jpeg
    assert stored.size == PHOTO.size
    assert {image.mode for image in previews.values()} == {reference.mode}
    assert_previews(previews, reference)
    for longest in (1, 2, 8, 33, 161, 250, 400, 776, 777, 2048):
        result = previewed(jpeg, longest)
        assert psnr(result, shrunk(reference, longest)) >= (40 if longest >= 8 else 30), longest


@pytest.mark.parametrize("kind", ["CMYK", "YCCK"])
def test_cmyk_is_not_inverted(kind):
    assert_previews(rendered(KINDS[kind]())[1], CMYK.convert("RGB"), 33)


SIZES = [
    (1, 1),
    (7, 5),
    (8, 8),
    (9, 17),
    (17, 33),
    (65, 47),
    (161, 97),
    (319, 203),
    (321, 241),
    (641, 363),
    (643, 1283),
    (1001, 999),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{"subsampling": "4:2:0"}, {"subsampling": "4:4:4"}, {"progressive": True}], ids=str)
def test_padding_of_incomplete_blocks_is_invisible(size, options):
    """The padding of the last blocks must be invisible: an image of one color keeps this color."""
    plain = Image.new("RGB", size, (250, 120, 230))
    jpeg = encoded(plain, quality=100, **options)
    for image in rendered(jpeg)[1].values():
        assert max_difference(image, plain.resize(image.size)) <= 3
    for longest in range(1, 2 * max(size), 1 + max(size) // 9):
        image = previewed(jpeg, longest)
        assert max_difference(image, plain.resize(image.size)) <= 3


@pytest.mark.parametrize("size", [(161, 97), (319, 203), (641, 363), (1001, 999)])
def test_incomplete_blocks_do_not_shift_image(size):
    image = photo(*size)
    jpeg = encoded(image, quality=95, subsampling="4:4:4")
    assert_previews(rendered(jpeg)[1], decoded(jpeg))


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF"),
        (0xE1, b"Exif\0\0junk"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0junk"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1\2first of two"),
        (0xE2, b"ICC_PROFILE\0\1\1junk"),
        (0xE2, b"MPF\0junk"),
        (0xED, b"Photoshop 3.0\0008BIM"),
        (0xED, b"Photoshop 3.0\0008BIM\3\xed\0\0\0\0\0\0"),
    ],
    ids=str,
)
def test_broken_metadata_does_not_change_image(marker, body):
    jpeg = encoded(PHOTO)
    stored = render(with_segment(jpeg, marker, body), DEFAULT, encode_lossless)
    assert_previews({size: decoded(result, "PNG") for size, result in stored.previews.items()}, decoded(jpeg))


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_jpeg_is_refused(kind):
    if "trailing" not in kind and kind != "MPO":
        jpeg = KINDS[kind]()
        for length in (len(jpeg) // 2, len(jpeg) * 9 // 10, len(jpeg) - 200):
            with pytest.raises(BadImage):
                render(jpeg[:length], DEFAULT)
