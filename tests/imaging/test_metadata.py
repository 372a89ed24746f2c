"""Nothing of what a source says about itself is in what is made of it."""

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from luna_image_store.imaging.render import preview, render
from tests.sample_images import ORIENTATION

from .measure import DEFAULT, decoded, encoded, photo
from .profiles import DISPLAY_P3, SRGB_CURVE, matrix_profile

SECRET = b"told to nobody"
ALLOWED = {0xD8, 0xE0, 0xDB, 0xC0, 0xC4, 0xDA}


def sources():
    picture, exif = photo(), Image.Exif()
    exif[ORIENTATION], exif[0x010E], exif[0x013B] = 6, SECRET.decode(), SECRET.decode()
    exif.get_ifd(0x8825)[1] = SECRET.decode()
    profile = matrix_profile(DISPLAY_P3, SRGB_CURVE) + SECRET
    told = {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700], tags[270], tags[33723] = SECRET, SECRET.decode(), SECRET
    yield "JPEG", encoded(picture, comment=SECRET, xmp=SECRET, **told)
    yield "MPO", encoded(picture, "MPO", save_all=True, append_images=[picture], comment=SECRET, **told)
    yield "PNG", encoded(picture, "PNG", pnginfo=text, **told)
    yield "TIFF", encoded(picture, "TIFF", tiffinfo=tags, icc_profile=profile)
    yield "GIF", encoded(picture, "GIF", comment=SECRET)
    yield "PPM", encoded(picture, "PPM").replace(b"P6\n", b"P6\n#" + SECRET + b"\n", 1)
    yield "BMP", encoded(picture, "BMP") + SECRET
    yield "grey JPEG", encoded(picture.convert("L"), comment=SECRET, xmp=SECRET, exif=exif)


def markers(jpeg):
    """Give the markers of a JPEG up to its pixels."""
    place = 2
    found = [jpeg[1]]
    while found[-1] != 0xDA:
        found.append(jpeg[place + 1])
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return found


@pytest.mark.parametrize(("name", "source"), list(sources()), ids=lambda value: value if isinstance(value, str) else "")
def test_nothing_is_told(name, source):
    assert SECRET in source
    stored = render(source, DEFAULT)
    made = [*stored.previews.values(), preview(source if stored.jpeg == source else stored.jpeg, 500, DEFAULT)]
    for jpeg in [*made, *[stored.jpeg] * (stored.jpeg != source)]:
        assert SECRET not in jpeg
        assert set(markers(jpeg)) <= ALLOWED
        assert jpeg.endswith(b"\xff\xd9")
        picture = decoded(jpeg)
        assert picture.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert picture.info["jfif_density"] == (1, 1)
