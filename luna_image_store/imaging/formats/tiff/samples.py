"""Conversion of the bands of a page to an image: photometric interpretation, palette and alpha."""

from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageChops, ImageCms

from luna_image_store.imaging.formats.tiff.page import CIELAB, CMYK, COLORS, ICCLAB, PALETTE, WHITE_IS_ZERO, Page

LEVELS_OF_12_BITS = 255 / 4095
FLIP_SIGN = [level ^ 128 for level in range(256)]


def compose(page: Page, bands: Sequence[Image.Image], color_map: Sequence[int]) -> Image.Image:
    """Return an image from the bands of a page. Alpha of a CMYK image is in `info["alpha"]`."""
    colors = bands[: COLORS[page.photometric]]
    if page.photometric == PALETTE:
        image = _apply_palette(colors[0], page.bits, color_map)
    elif page.photometric in (CIELAB, ICCLAB):
        image = _from_lab(colors, is_signed=page.photometric == CIELAB)
    elif len(colors) > 1:
        image = Image.merge("CMYK" if page.photometric == CMYK else "RGB", colors)
    else:
        image = _to_grey(colors[0])
    if page.alpha is not None and page.alpha < len(bands):
        image = _add_alpha(image, bands[page.alpha], page.is_associated)
    return _invert(image) if page.photometric == WHITE_IS_ZERO else image


def _to_grey(band: Image.Image) -> Image.Image:
    if band.mode == "I;16":
        band = band.convert("I").point(lambda level: level * LEVELS_OF_12_BITS + 0.5)
    return band.convert("L")


def _invert(image: Image.Image) -> Image.Image:
    level, *alpha = image.split()
    return Image.merge(image.mode, [ImageChops.invert(level), *alpha])


def _apply_palette(indexes: Image.Image, bits: int, color_map: Sequence[int]) -> Image.Image:
    """Apply a color map of three words per index, or of bytes if no value is above 255, as libtiff does."""
    if len(color_map) != 3 << bits:
        raise ValueError("the color map has a wrong length")
    shift = 8 if max(color_map) > 255 else 0
    indexes = indexes if indexes.mode == "P" else Image.frombytes("P", indexes.size, indexes.tobytes())
    indexes.putpalette(bytes(value >> shift for value in color_map), "RGB;L")
    return indexes


def _from_lab(bands: Sequence[Image.Image], is_signed: bool) -> Image.Image:
    light, a, b = bands
    if is_signed:
        a, b = a.point(FLIP_SIGN), b.point(FLIP_SIGN)
    return _lab_transform().apply(Image.merge("LAB", (light, a, b)))


@lru_cache(1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("LAB", "sRGB"))
    return ImageCms.ImageCmsTransform(lab, srgb, "LAB", "RGB")


def _add_alpha(image: Image.Image, alpha: Image.Image, is_associated: bool) -> Image.Image:
    image = image.convert("RGB") if image.mode == "P" else image
    if is_associated:
        image = Image.merge(image.mode, [_divide(band, alpha) for band in image.split()])
    if image.mode == "CMYK":
        image.info["alpha"] = alpha
        return image
    return Image.merge(f"{image.mode}A", (*image.split(), alpha))


def _divide(band: Image.Image, alpha: Image.Image) -> Image.Image:
    """Divide a band by alpha, after it was multiplied by alpha."""
    return Image.merge("RGBa", (band, band, band, alpha)).convert("RGBA").getchannel("R")
