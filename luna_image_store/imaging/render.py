"""Conversion of an image to a JPEG and its previews, without I/O.

The steps are: decode, shrink, convert (16 bits, color profile), flatten, orient, encode. A JPEG is stored unchanged. It is
decoded once, at the smallest scale that is enough for its largest preview. Any other image is decoded at full size and encoded
as a JPEG. Each preview is made from the next larger one.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.Image import Resampling

from luna_image_store.errors import BadImage, ServiceError
from luna_image_store.imaging.color import flatten, to_srgb
from luna_image_store.imaging.formats import open_source
from luna_image_store.imaging.formats.jpeg import JpegSource
from luna_image_store.imaging.limits import check_pixels, check_sides
from luna_image_store.imaging.pillow import configure_pillow

PREVIEW_SIZES = (160, 96, 64, 32)
TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
REDUCING_GAP = 2  # averaging reduces an image to at least this multiple of the target size, then the filter resizes it
# Quantization tables of previews at quality 50, for luma and chroma: equal for fine and coarse detail; see the page on previews.
PREVIEW_TABLES = ((40,) * 64, (90,) * 64)

Tables = tuple[tuple[int, ...], ...]
Encoder = Callable[[Image.Image, int, Tables | None], bytes]  # of an image, with a quality and quantization tables

logger = logging.getLogger(__name__)
configure_pillow()


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Settings of rendering: JPEG qualities from 1 to 100, a CSS color, a number of pixels."""

    jpeg_quality: int = 95
    preview_quality: int = 90
    background: str = "#ffffff"
    max_pixels: int = 75_000_000


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An image ready to be stored. `size` is the width and height in the header of the JPEG."""

    jpeg: bytes
    size: tuple[int, int]
    previews: Mapping[int, bytes]


def encode_jpeg(image: Image.Image, quality: int, tables: Tables | None) -> bytes:
    """Encode as `Image.save` does, without metadata. `tables` are quantization tables at quality 50, None means the standard."""
    return image.tobytes("jpeg", image.mode, *_encoder_options(image.mode, quality, tables))


def render(data: bytes, settings: RenderSettings, encode: Encoder = encode_jpeg) -> RenderedImage:
    """Return the JPEG to store and its four previews. Raise BadImage or TooManyPixels."""
    with _bad_image_on_error():
        source = open_source(data)
        check_pixels(source.pixels, settings.max_pixels)
        if isinstance(source, JpegSource):
            source.count_scanned_pixels()
            small = _shrink(source, PREVIEW_SIZES[0], settings, is_new=True)
            return RenderedImage(data, source.size, _previews(small, source.size, settings, encode))
        check_sides(source.size)
        upright = _orient(flatten(to_srgb(source.decode(), source.profile), settings.background), source.orientation)
        jpeg = encode(upright, settings.jpeg_quality, None)
        return RenderedImage(jpeg, upright.size, _previews(upright, source.size, settings, encode))


def preview(jpeg: bytes, longest: int, settings: RenderSettings, encode: Encoder = encode_jpeg) -> bytes:
    """Return one preview of a stored image. Its longest side has at most `longest` pixels. Raise BadImage."""
    with _bad_image_on_error():
        return encode(_shrink(JpegSource(jpeg), longest, settings), settings.preview_quality, PREVIEW_TABLES)


@dataclass(frozen=True, slots=True)
class Renderer:
    """The functions that render images: the two functions above, or replacements."""

    render: Callable[[bytes, RenderSettings], RenderedImage]
    preview: Callable[[bytes, int, RenderSettings], bytes]


RENDERER = Renderer(render, preview)


@contextmanager
def _bad_image_on_error() -> Iterator[None]:
    """Raise BadImage for any error of a decoder. The errors of Pillow have no common base class."""
    try:
        yield
    except ServiceError:
        raise
    except Exception as ex:
        logger.debug("image refused: %r", ex)
        raise BadImage from ex


def _fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale a size down so that its longest side is `longest`. Each side has at least one pixel."""
    ratio = min(1.0, longest / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _shrink(source: JpegSource, longest: int, settings: RenderSettings, is_new: bool = False) -> Image.Image:
    """Decode a JPEG at a reduced scale, and convert it to its final size, colors and orientation.

    A new JPEG is checked for missing pixels. It is resized with the bicubic filter, in half the time of Lanczos.
    """
    resampling, ratio = (Resampling.BICUBIC, 1.5) if is_new else (Resampling.LANCZOS, 2)
    image, box = source.decode_reduced(ratio * longest)
    if is_new:
        source.check_complete(image, ratio * longest)
    small = image.resize(_fit(source.size, longest), resampling, box=box, reducing_gap=REDUCING_GAP)
    return _orient(flatten(to_srgb(small, source.profile), settings.background), source.orientation)


def _previews(image: Image.Image, size: tuple[int, int], settings: RenderSettings, encode: Encoder) -> dict[int, bytes]:
    """Shrink an upright image step by step. `size` is the size of the original, before or after its rotation."""
    if (image.width > image.height) != (size[0] > size[1]):
        size = size[::-1]
    previews = {}
    for longest in PREVIEW_SIZES:
        if image.size != (target := _fit(size, longest)):
            image = image.resize(target, Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
        previews[longest] = encode(image, settings.preview_quality, PREVIEW_TABLES)
    return previews


def _orient(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSE_BY_ORIENTATION[orientation]) if orientation in TRANSPOSE_BY_ORIENTATION else image


@lru_cache
def _encoder_options(mode: str, quality: int, tables: Tables | None) -> tuple[Any, ...]:
    """Cache the parameters of Pillow's encoder. Computing them takes half as long as encoding a preview."""
    sample = Image.new(mode, (1, 1))
    sample.save(BytesIO(), "JPEG", quality=quality, subsampling="4:4:4", qtables=tables, comment=b"", xmp=b"", exif=b"")
    return sample.encoderconfig
