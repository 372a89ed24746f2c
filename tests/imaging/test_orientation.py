"""Pictures taken with the camera held another way come out upright, whatever says so."""

import pytest
from PIL import Image

from luna_image_store.imaging.render import preview, render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .measure import DEFAULT, assert_previews, decoded, encoded, levels_apart, photo, previewed, psnr, rendered, shrunk

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def lying(picture, orientation):
    return picture.transpose(TRANSPOSES[orientation]) if orientation > 1 else picture


def taken(picture, orientation, kind, **options):
    """Encode a picture as a camera does that was held another way."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(lying(picture, orientation), kind, exif=exif, **options)


@pytest.mark.parametrize("size", [(250, 187), (187, 250), (400, 3), (3, 400)])
@pytest.mark.parametrize("orientation", TRANSPOSES)
def test_a_jpeg_has_upright_previews(orientation, size):
    picture = photo(*size)
    jpeg = taken(picture, orientation, "JPEG", quality=100, subsampling="4:4:4")
    _, previews, stored = rendered(jpeg)
    assert stored.jpeg == jpeg
    assert stored.size == lying(picture, orientation).size
    assert_previews(previews, picture)
    for longest in (50, 220):
        assert psnr(previewed(jpeg, longest), shrunk(picture, longest)) >= 40


@pytest.mark.parametrize("orientation", TRANSPOSES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"})],
    ids=["PNG", "TIFF", "TIFF LZW", "TIFF deflate"],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_what_is_converted_is_turned_once(kind, options, orientation, mode):
    picture = photo(200, 150, mode)
    upright, previews, stored = rendered(taken(picture, orientation, kind, **options))
    white = Image.new("RGBA", picture.size, "white")
    expected = Image.alpha_composite(white, picture).convert("RGB") if mode == "RGBA" else picture
    assert stored.size == picture.size
    assert levels_apart(upright, expected) <= 1
    assert_previews(previews, expected)


@pytest.mark.parametrize("orientation", TRANSPOSES)
def test_a_converted_picture_stays_upright_in_previews_made_later(orientation):
    picture = photo()
    stored = render(taken(picture, orientation, "TIFF"), DEFAULT)
    assert psnr(decoded(preview(stored.jpeg, 120, DEFAULT)), shrunk(picture, 120)) >= 30


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(orientation):
    picture, exif = photo(), Image.Exif()
    exif[ORIENTATION] = orientation
    for kind in ("PNG", "TIFF"):
        assert levels_apart(rendered(encoded(picture, kind, exif=exif))[0], picture) == 0


@pytest.mark.parametrize("exif", [b"", b"junk", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_broken_exif_is_upright(exif):
    picture = photo()
    for kind in ("PNG", "JPEG"):
        assert_previews(rendered(encoded(picture, kind, exif=exif))[1], picture, 30)


def test_exif_goes_before_xmp():
    picture, exif = photo(), Image.Exif()
    exif[ORIENTATION] = 1
    assert_previews(rendered(encoded(picture, xmp=XMP, exif=exif, quality=100, subsampling="4:4:4"))[1], picture)
