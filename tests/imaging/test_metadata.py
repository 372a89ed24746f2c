"""Metadata of the source are not in the rendered JPEGs."""

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from luna_image_store.imaging.render import preview, render
from tests.sample_images import ORIENTATION

from .measure import DEFAULT, decoded, encoded, photo
from .profiles import DISPLAY_P3, SRGB_CURVE, matrix_profile

SECRET = b"secret metadata"
ALLOWED_MARKERS = {0xD8, 0xE0, 0xDB, 0xC0, 0xC4, 0xDA}


def sources():
    image, exif = photo(), Image.Exif()
    exif[ORIENTATION], exif[0x010E], exif[0x013B] = 6, SECRET.decode(), SECRET.decode()
    exif.get_ifd(0x8825)[1] = SECRET.decode()
    profile = matrix_profile(DISPLAY_P3, SRGB_CURVE) + SECRET
    metadata = {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700], tags[270], tags[33723] = SECRET, SECRET.decode(), SECRET
    yield "JPEG", encoded(image, comment=SECRET, xmp=SECRET, **metadata)
    yield "MPO", encoded(image, "MPO", save_all=True, append_images=[image], comment=SECRET, **metadata)
    yield "PNG", encoded(image, "PNG", pnginfo=text, **metadata)
    yield "TIFF", encoded(image, "TIFF", tiffinfo=tags, icc_profile=profile)
    yield "GIF", encoded(image, "GIF", comment=SECRET)
    yield "PPM", encoded(image, "PPM").replace(b"P6\n", b"P6\n#" + SECRET + b"\n", 1)
    yield "BMP", encoded(image, "BMP") + SECRET
    yield "grey JPEG", encoded(image.convert("L"), comment=SECRET, xmp=SECRET, exif=exif)


def markers(jpeg):
    """Return the markers of a JPEG up to its first scan."""
    place = 2
    found = [jpeg[1]]
    while found[-1] != 0xDA:
        found.append(jpeg[place + 1])
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return found


@pytest.mark.parametrize(("name", "source"), list(sources()), ids=lambda value: value if isinstance(value, str) else "")
def test_metadata_of_the_source_is_removed(name, source):
    assert SECRET in source
    stored = render(source, DEFAULT)
    jpegs = [*stored.previews.values(), preview(source if stored.jpeg == source else stored.jpeg, 500, DEFAULT)]
    for jpeg in [*jpegs, *[stored.jpeg] * (stored.jpeg != source)]:
        assert SECRET not in jpeg
        assert set(markers(jpeg)) <= ALLOWED_MARKERS
        assert jpeg.endswith(b"\xff\xd9")
        image = decoded(jpeg)
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert image.info["jfif_density"] == (1, 1)
