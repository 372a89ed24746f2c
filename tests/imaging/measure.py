"""Photographs made on the fly, references rendered the plain way, and the distance between two pictures."""

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
    """Make a picture like a photograph: soft shading, texture of all scales, edges in front of it."""
    noise, size = random.Random(seed), (width, height)
    picture = Image.new("RGB", size, (128, 128, 128))
    for octave in range(5):
        coarse = (max(2, 3 << octave), max(2, 2 << octave))
        layer = Image.frombytes("RGB", coarse, noise.randbytes(coarse[0] * coarse[1] * 3))
        picture = Image.blend(picture, layer.resize(size, Image.Resampling.BICUBIC), 0.6 / (octave + 1))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, r = noise.randrange(width), noise.randrange(height), noise.randrange(2, 4 + max(size) // 8)
        draw.ellipse((x - r, y - r, x + r, y + r), tuple(noise.randbytes(3)))
    picture = picture.filter(ImageFilter.GaussianBlur(0.7))
    if mode in ("LA", "PA", "RGBA"):
        picture.putalpha(Image.linear_gradient("L").resize(size))
    return picture.convert(mode)


def encoded(picture, kind="JPEG", **options):
    target = BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def decoded(data, kind="JPEG"):
    """Decode all of a picture, without any of the shortcuts of a preview."""
    picture = Image.open(BytesIO(data), formats=[kind])
    picture.load()
    return picture


def without_loss(picture, quality, tables):
    """Encode in place of the encoder of JPEGs, so that pictures leave the renderer as they are."""
    return encoded(picture, "PNG", compress_level=1)


def rendered(data, rendering=DEFAULT):
    """Render without loss and decode: the picture as stored, its previews by size, and what was stored."""
    stored = imaging.render(data, rendering, without_loss)
    sizes = {longest: _upright(part) for longest, part in stored.previews.items()}
    return _upright(stored.jpeg), sizes, stored


def previewed(jpeg, longest):
    """Make a preview without loss, and decode it."""
    return decoded(imaging.preview(jpeg, longest, DEFAULT, without_loss), "PNG")


def _upright(data):
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def shrunk(picture, longest):
    """Shrink in one step to the exact size."""
    ratio = min(Fraction(1), Fraction(longest, max(picture.size)))
    return picture.resize([max(1, round(side * ratio)) for side in picture.size], Image.Resampling.LANCZOS)


def psnr(one, other):
    """Measure how near two pictures are, in dB; a grey picture may stand for a coloured one that is grey."""
    one, other = _alike(one, other)
    squares = ImageStat.Stat(ImageChops.difference(one, other)).sum2
    mean = sum(squares) / len(squares) / (one.width * one.height)
    return 10 * math.log10(255**2 / mean) if mean else math.inf


def levels_apart(one, other):
    """Give the greatest difference of any channel of any pixel."""
    one, other = _alike(one, other)
    extrema = ImageChops.difference(one, other).getextrema()
    return max(high for _, high in ([extrema] if one.mode == "L" else extrema))


def _alike(one, other):
    assert one.size == other.size
    mode = "L" if one.mode == other.mode == "L" else "RGB"
    return one.convert(mode), other.convert(mode)


def assert_previews(previews, upright, least=40):
    """All four are there, and each is what one Lanczos step makes of the upright original."""
    assert tuple(previews) == PREVIEW_SIZES
    for longest, preview in previews.items():
        assert preview.mode in ("L", "RGB")
        assert psnr(preview, shrunk(upright, longest)) >= least, longest


def assert_refused(data):
    with pytest.raises(BadImage):
        imaging.render(data, DEFAULT)
