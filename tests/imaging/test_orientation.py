"""Images with an orientation are rendered upright."""

import pytest
from PIL import Image

from luna_image_store.imaging.render import preview, render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .measure import DEFAULT, assert_previews, decoded, encoded, max_difference, photo, previewed, psnr, rendered, shrunk

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def rotated(image, orientation):
    return image.transpose(TRANSPOSES[orientation]) if orientation > 1 else image


def encode_rotated(image, orientation, kind, **options):
    """Encode a rotated image with the orientation in EXIF, as a camera does."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(rotated(image, orientation), kind, exif=exif, **options)


@pytest.mark.parametrize("size", [(250, 187), (187, 250), (400, 3), (3, 400)])
@pytest.mark.parametrize("orientation", TRANSPOSES)
def test_jpeg_has_upright_previews(orientation, size):
    image = photo(*size)
    jpeg = encode_rotated(image, orientation, "JPEG", quality=100, subsampling="4:4:4")
    _, previews, stored = rendered(jpeg)
    assert stored.jpeg == jpeg
    assert stored.size == rotated(image, orientation).size
    assert_previews(previews, image)
    for longest in (50, 220):
        assert psnr(previewed(jpeg, longest), shrunk(image, longest)) >= 40


@pytest.mark.parametrize("orientation", TRANSPOSES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"})],
    ids=["PNG", "TIFF", "TIFF LZW", "TIFF deflate"],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_converted_image_is_rotated_once(kind, options, orientation, mode):
    image = photo(200, 150, mode)
    upright, previews, stored = rendered(encode_rotated(image, orientation, kind, **options))
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image).convert("RGB") if mode == "RGBA" else image
    assert stored.size == image.size
    assert max_difference(upright, expected) <= 1
    assert_previews(previews, expected)


@pytest.mark.parametrize("orientation", TRANSPOSES)
def test_later_previews_of_converted_image_are_upright(orientation):
    image = photo()
    stored = render(encode_rotated(image, orientation, "TIFF"), DEFAULT)
    assert psnr(decoded(preview(stored.jpeg, 120, DEFAULT)), shrunk(image, 120)) >= 30


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_invalid_orientation_is_ignored(orientation):
    image, exif = photo(), Image.Exif()
    exif[ORIENTATION] = orientation
    for kind in ("PNG", "TIFF"):
        assert max_difference(rendered(encoded(image, kind, exif=exif))[0], image) == 0


@pytest.mark.parametrize("exif", [b"", b"junk", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_broken_exif_is_ignored(exif):
    image = photo()
    for kind in ("PNG", "JPEG"):
        assert_previews(rendered(encoded(image, kind, exif=exif))[1], image, 30)


def test_exif_has_precedence_over_xmp():
    image, exif = photo(), Image.Exif()
    exif[ORIENTATION] = 1
    assert_previews(rendered(encoded(image, xmp=XMP, exif=exif, quality=100, subsampling="4:4:4"))[1], image)
