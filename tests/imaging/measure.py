"""Generated photos, reference renderings, and measures of the difference between two images."""

import math
import random
from fractions import Fraction
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from luna_image_store.errors import BadImage
from luna_image_store.imaging import render as imaging
from luna_image_store.imaging.render import PREVIEW_SIZES, RenderSettings

DEFAULT = RenderSettings()


def photo(width=250, height=187, mode="RGB", seed=1):
    """Return an image like a photo: soft shading, texture of all scales, sharp edges."""
    noise, size = random.Random(seed), (width, height)
    image = Image.new("RGB", size, (128, 128, 128))
    for octave in range(5):
        coarse = (max(2, 3 << octave), max(2, 2 << octave))
        layer = Image.frombytes("RGB", coarse, noise.randbytes(coarse[0] * coarse[1] * 3))
        image = Image.blend(image, layer.resize(size, Image.Resampling.BICUBIC), 0.6 / (octave + 1))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = noise.randrange(width), noise.randrange(height), noise.randrange(2, 4 + max(size) // 8)
        draw.ellipse((x - r, y - r, x + r, y + r), tuple(noise.randbytes(3)))
    image = image.filter(ImageFilter.GaussianBlur(0.7))
    if mode in ("LA", "PA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image.convert(mode)


def encoded(image, kind="JPEG", **options):
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def decoded(data, kind="JPEG"):
    """Decode an image at full size."""
    image = Image.open(BytesIO(data), formats=[kind])
    image.load()
    return image


def encode_lossless(image, quality, tables):
    """Encode an image as PNG instead of JPEG, so that the renderer returns its exact pixels."""
    return encoded(image, "PNG", compress_level=1)


def rendered(data, rendering=DEFAULT):
    """Render without loss. Return the stored image and the previews by size, both decoded, and the RenderedImage."""
    stored = imaging.render(data, rendering, encode_lossless)
    sizes = {longest: _upright(part) for longest, part in stored.previews.items()}
    return _upright(stored.jpeg), sizes, stored


def previewed(jpeg, longest):
    """Render a preview without loss, and decode it."""
    return decoded(imaging.preview(jpeg, longest, DEFAULT, encode_lossless), "PNG")


def _upright(data):
    image = Image.open(BytesIO(data))
    image.load()
    return image


def shrunk(image, longest):
    """Shrink in one step to the exact size."""
    ratio = min(Fraction(1), Fraction(longest, max(image.size)))
    return image.resize([max(1, round(side * ratio)) for side in image.size], Image.Resampling.LANCZOS)


def psnr(one, other):
    """Return the peak signal-to-noise ratio of two images, in dB. Grey and color images can be compared."""
    one, other = _in_common_mode(one, other)
    squares = ImageStat.Stat(ImageChops.difference(one, other)).sum2
    mean = sum(squares) / len(squares) / (one.width * one.height)
    return 10 * math.log10(255**2 / mean) if mean else math.inf


def max_difference(one, other):
    """Return the maximum difference of any channel of any pixel."""
    one, other = _in_common_mode(one, other)
    extrema = ImageChops.difference(one, other).getextrema()
    return max(high for _, high in ([extrema] if one.mode == "L" else extrema))


def _in_common_mode(one, other):
    assert one.size == other.size
    mode = "L" if one.mode == other.mode == "L" else "RGB"
    return one.convert(mode), other.convert(mode)


def assert_previews(previews, upright, min_psnr=40):
    """Check that there are four previews, and that each is near a single Lanczos step from the upright original."""
    assert tuple(previews) == PREVIEW_SIZES
    for longest, preview in previews.items():
        assert preview.mode in ("L", "RGB")
        assert psnr(preview, shrunk(upright, longest)) >= min_psnr, longest


def assert_refused(data):
    with pytest.raises(BadImage):
        imaging.render(data, DEFAULT)
