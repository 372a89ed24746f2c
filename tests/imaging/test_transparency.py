"""What is clear in a picture shows the background, whatever form its transparency has."""

import pytest
from PIL import Image, ImageColor

from luna_image_store.imaging.render import RenderSettings

from .measure import assert_previews, encoded, levels_apart, photo, rendered

GREYS, COLOURS = ("#ffffff", "#000000", "#808080"), ("#ff0000", "#12ab9f")


def blended(picture, background):
    """Lay a picture on a background, by arithmetic."""
    pixels = zip(*(plane.tobytes() for plane in picture.convert("RGBA").split()), strict=True)
    ground = ImageColor.getrgb(background)
    rgb = (round((level * a + under * (255 - a)) / 255) for *rgb, a in pixels for level, under in zip(rgb, ground, strict=True))
    return Image.frombytes("RGB", picture.size, bytes(rgb))


def with_clear_colour(mode):
    picture = photo(90, 70, mode)
    picture.info["transparency"] = picture.getpixel((5, 5))
    return picture


PICTURES = {
    "RGBA": photo(90, 70, "RGBA"),
    "LA": photo(90, 70, "LA"),
    "palette with one clear entry": with_clear_colour("P"),
    "palette with alphas": photo(90, 70, "RGBA").quantize(),
    "clear level": with_clear_colour("L"),
    "clear colour": with_clear_colour("RGB"),
    "all clear": Image.new("RGBA", (90, 70), (1, 2, 3, 0)),
}


@pytest.mark.parametrize("background", GREYS + COLOURS)
@pytest.mark.parametrize("kind", PICTURES)
def test_png_on_the_background(kind, background):
    picture = PICTURES[kind]
    options = {"transparency": picture.info["transparency"]} if "transparency" in picture.info else {}
    upright, previews, _ = rendered(encoded(picture, "PNG", **options), RenderSettings(background=background))
    expected = blended(picture, background)
    assert levels_apart(upright, expected) <= 1
    assert_previews(previews, expected)
    assert upright.mode == ("L" if kind in ("LA", "clear level") and background in GREYS else "RGB")


@pytest.mark.parametrize("background", GREYS + COLOURS)
@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "TIFF"), ("LA", "TIFF"), ("P", "GIF")])
def test_other_formats_on_the_background(mode, kind, background):
    picture = with_clear_colour("P") if mode == "P" else photo(90, 70, mode)
    upright = rendered(encoded(picture, kind), RenderSettings(background=background))[0]
    assert levels_apart(upright, blended(picture, background)) <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_the_background_does_not_show_in_what_is_opaque(mode):
    picture = photo(90, 70, mode)
    upright = rendered(encoded(picture, "TIFF"), RenderSettings(background="#ff0000"))[0]
    assert levels_apart(upright, picture.convert("RGB")) <= 1
