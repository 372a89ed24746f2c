"""Transparent parts of an image show the background, in every form of transparency."""

import pytest
from PIL import Image, ImageColor

from luna_image_store.imaging.render import RenderSettings

from .measure import assert_previews, encoded, max_difference, photo, rendered

GREYS, COLORS = ("#ffffff", "#000000", "#808080"), ("#ff0000", "#12ab9f")


def blended(image, background):
    """Flatten an image on a background, by arithmetic."""
    pixels = zip(*(plane.tobytes() for plane in image.convert("RGBA").split()), strict=True)
    ground = ImageColor.getrgb(background)
    rgb = (round((level * a + back * (255 - a)) / 255) for *rgb, a in pixels for level, back in zip(rgb, ground, strict=True))
    return Image.frombytes("RGB", image.size, bytes(rgb))


def with_transparent_color(mode):
    image = photo(90, 70, mode)
    image.info["transparency"] = image.getpixel((5, 5))
    return image


IMAGES = {
    "RGBA": photo(90, 70, "RGBA"),
    "LA": photo(90, 70, "LA"),
    "palette with one transparent entry": with_transparent_color("P"),
    "palette with alphas": photo(90, 70, "RGBA").quantize(),
    "transparent level": with_transparent_color("L"),
    "transparent color": with_transparent_color("RGB"),
    "fully transparent": Image.new("RGBA", (90, 70), (1, 2, 3, 0)),
}


@pytest.mark.parametrize("background", GREYS + COLORS)
@pytest.mark.parametrize("kind", IMAGES)
def test_png_is_flattened_on_background(kind, background):
    image = IMAGES[kind]
    options = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
    upright, previews, _ = rendered(encoded(image, "PNG", **options), RenderSettings(background=background))
    expected = blended(image, background)
    assert max_difference(upright, expected) <= 1
    assert_previews(previews, expected)
    assert upright.mode == ("L" if kind in ("LA", "transparent level") and background in GREYS else "RGB")


@pytest.mark.parametrize("background", GREYS + COLORS)
@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "TIFF"), ("LA", "TIFF"), ("P", "GIF")])
def test_other_formats_are_flattened_on_background(mode, kind, background):
    image = with_transparent_color("P") if mode == "P" else photo(90, 70, mode)
    upright = rendered(encoded(image, kind), RenderSettings(background=background))[0]
    assert max_difference(upright, blended(image, background)) <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_background_is_invisible_in_opaque_images(mode):
    image = photo(90, 70, mode)
    upright = rendered(encoded(image, "TIFF"), RenderSettings(background="#ff0000"))[0]
    assert max_difference(upright, image.convert("RGB")) <= 1
