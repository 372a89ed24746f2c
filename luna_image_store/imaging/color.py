"""Conversions of pixels: 16 bits to 8, color profiles to sRGB, transparency to a background."""

import logging
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms, ImageColor

CACHED_TRANSFORMS, MAX_CACHED_PROFILE = 16, 2**16  # the latter in bytes
MAX_TAGS = 100  # of a profile, as in lcms
PROCESSING_TAGS = {b"%s2%s%d" % (*pair, number) for pair in ((b"D", b"B"), (b"B", b"D")) for number in range(4)}
PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}

logger = logging.getLogger(__name__)
_srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image to 8 bits, and its colors from a profile to sRGB. Ignore a profile that cannot be used."""
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda level: level / 257 + 0.5).convert("L")
    if alpha := image.info.pop("alpha", None):
        image = to_srgb(image, profile).convert("RGB")
        image.putalpha(alpha)
        return image
    if not profile:
        return image
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if not image.mode.endswith("A"):
        return _apply_profile(image, profile)
    converted = _apply_profile(image.convert(image.mode[:-1]), profile)
    converted.putalpha(image.getchannel("A"))
    return converted


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert the colors of an image without alpha. Grey stays grey."""
    create_transform = _cached_transform if len(profile) <= MAX_CACHED_PROFILE else _transform
    try:
        if (transform := create_transform(profile, image.mode)) is None:
            return image
        converted = (transform.apply_in_place if image.mode == "RGB" else transform.apply)(image)
    except (ImageCms.PyCMSError, OSError, ValueError) as ex:
        logger.debug("color profile ignored: %r", ex)
        return image
    return converted.convert("L") if image.mode == "L" else converted


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Put an image on the background. Return RGB, or L if all colors are grey. Raise ValueError for mode F."""
    if image.mode == "F":
        raise ValueError("floating-point samples have no defined white level")
    if not image.has_transparency_data:
        return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
    color = ImageColor.getrgb(background)[:3]
    is_grey = image.mode in ("1", "L", "LA", "La") and len(set(color)) == 1
    layer = image.convert("LA" if is_grey else "RGBA")
    canvas = Image.new("L" if is_grey else "RGB", image.size, color[0] if is_grey else color)
    canvas.paste(layer, mask=layer)
    return canvas


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Create a transform from a profile to sRGB. Return None if the profile is not for this mode."""
    source = ImageCms.ImageCmsProfile(BytesIO(_without_processing_elements(profile)))
    if source.profile.xcolor_space.strip() != PROFILE_SPACES.get(mode):
        return None
    return ImageCms.ImageCmsTransform(source, _srgb, mode, "RGB")


def _without_processing_elements(profile: bytes) -> bytes:
    """Rename the tags of multi-processing elements, so that lcms uses the tables or the matrix of the profile.

    Thousands of elements may point to the same bytes: lcms would need minutes for a profile of some kilobytes.
    """
    count = min(int.from_bytes(profile[128:132]), MAX_TAGS)
    cleaned = bytearray(profile)
    for start in range(132, 132 + 12 * count, 12):
        if profile[start : start + 4] in PROCESSING_TAGS:
            cleaned[start : start + 4] = b"none"
    return bytes(cleaned)


_cached_transform = lru_cache(CACHED_TRANSFORMS)(_transform)  # cameras use few profiles; creating a transform takes 3 ms
