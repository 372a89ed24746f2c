"""From the bytes of a picture to a JPEG and its previews. No I/O is here.

The steps are named as a photographer would name them: open, shrink, convert (16 bits, colour profile), flatten, orient, encode.
A JPEG is kept as it came and decoded once, at the smallest scale that serves its largest preview; anything else is decoded
in full and becomes one JPEG. Each preview is shrunk from the one above it.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import IO, Any, cast

import PIL
from PIL import Image, ImageChops, ImageCms, ImageColor, ImageFile, ImagePalette, TiffImagePlugin, features

from luna_image_store.errors import BadImage, ServiceError
from luna_image_store.imaging.limits import BITS_TAG, open_picture

PREVIEW_SIZES = (160, 96, 64, 32)
ORIENTATION_TAG = 0x0112
MAX_EXIF = 2**16  # bytes, the length of one segment of a JPEG; parsing takes memory by the square of it
PHOTOMETRIC_TAG, WHITE_IS_ZERO = 262, 0
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OLD_BMP_HEADER = 12  # bytes
LEAST_PLAIN = (12, 3)
KEPT_TRANSFORMS, MAX_KEPT_PROFILE = 16, 2**16  # the latter in bytes
REDUCING_GAP = 2  # decode and pre-shrink to no less than this many times the wanted size: see the architecture page
PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
KEY_SCALES: Mapping[object, float] = {"L;2": 85, "L;4": 17, "I;16B": 1 / 257, "RGB;16B": 1 / 256}  # from PNG samples to our levels
warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on odd metadata, which is not kept anyway

logger = logging.getLogger(__name__)
_srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """How pictures are rendered: JPEG qualities from 1 to 100, a CSS colour, a number of pixels."""

    jpeg_quality: int = 95
    preview_quality: int = 90
    background: str = "#ffffff"
    max_pixels: int = 75_000_000


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """A picture ready to be stored; `size` is the width and height of the JPEG as its header has them."""

    jpeg: bytes
    size: tuple[int, int]
    previews: Mapping[int, bytes]


def pillow_problem(allow_plain: bool) -> str | None:
    """Say what is wrong with the Pillow that is loaded, if anything."""
    if ".post" not in PIL.__version__:
        if not allow_plain:
            return f"plain Pillow {PIL.__version__} is loaded: install Pillow-SIMD in its place, or set IMAGES.ALLOW_PLAIN_PILLOW"
        if tuple(int(part) for part in PIL.__version__.split(".")[:2]) < LEAST_PLAIN:
            return f"plain Pillow {PIL.__version__} is loaded: IMAGES.ALLOW_PLAIN_PILLOW wants 12.3 or later"
    missing = [feature for feature in ("jpg", "zlib", "libtiff", "littlecms2") if not features.check(feature)]
    if missing:
        return f"Pillow {PIL.__version__} was built without {', '.join(missing)}; build it with their headers installed"
    return None


def render(data: bytes, rendering: RenderSettings) -> RenderedImage:
    """Make the JPEG to store and its four previews, or raise BadImage or TooManyPixels."""
    with _decoding():
        image = open_picture(data, rendering.max_pixels)
        size = image.size
        if image.format in ("JPEG", "MPO"):
            small = _shrink(image, PREVIEW_SIZES[0], rendering)
            return RenderedImage(data, size, _previews(small, size, rendering))
        _load(image)
        upright = _orient(_flatten(_convert(image), rendering.background), _orientation(image))
        jpeg = _encode(upright, rendering.jpeg_quality, subsampling="4:4:4")
        return RenderedImage(jpeg, upright.size, _previews(upright, size, rendering))


def preview(jpeg: bytes, longest: int, rendering: RenderSettings) -> bytes:
    """Make one preview of a stored picture, its longest side at most `longest` pixels."""
    with _decoding():
        return _encode(_shrink(open_picture(jpeg, math.inf), longest, rendering), rendering.preview_quality)


@dataclass(frozen=True, slots=True)
class Renderer:
    """What makes pictures: the two functions above, or what stands in for them."""

    render: Callable[[bytes, RenderSettings], RenderedImage]
    preview: Callable[[bytes, int, RenderSettings], bytes]


RENDERER = Renderer(render, preview)


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into BadImage; Pillow has no common base for it."""
    try:
        yield
    except ServiceError:
        raise
    except Exception as ex:
        logger.debug("picture refused: %r", ex)
        raise BadImage from ex


def _fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale a size so that its longest side is `longest`; never up, never below one pixel."""
    ratio = min(1.0, longest / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _shrink(image: Image.Image, longest: int, rendering: RenderSettings) -> Image.Image:
    """Decode a JPEG at a reduced scale and bring it to its final size, colours and orientation."""
    target = _fit(image.size, longest)
    drafted = image.draft(None, (target[0] * REDUCING_GAP, target[1] * REDUCING_GAP))
    box = drafted[1] if drafted else (0, 0, *image.size)
    small = image.resize(target, Image.Resampling.LANCZOS, box=box, reducing_gap=REDUCING_GAP)
    small.info = image.info
    return _orient(_flatten(_convert(small), rendering.background), _orientation(image))


def _previews(image: Image.Image, size: tuple[int, int], rendering: RenderSettings) -> dict[int, bytes]:
    """Shrink an upright picture step by step; `size` is that of the original, perhaps lying on its side."""
    if (image.width > image.height) != (size[0] > size[1]):
        size = size[::-1]
    previews = {}
    for longest in PREVIEW_SIZES:
        if image.size != (target := _fit(size, longest)):
            image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
        previews[longest] = _encode(image, rendering.preview_quality)
    return previews


def _convert(image: Image.Image) -> Image.Image:
    """Bring 16 bits to 8, and colours with an embedded profile to sRGB."""
    if image.mode.startswith("I"):
        scale = 255 / 4095 if _tag(image, BITS_TAG) == (12,) else 1 / 257
        levels = image.convert("I").point(lambda level: level * scale + 0.5).convert("L")
        image = ImageChops.invert(levels) if _tag(image, PHOTOMETRIC_TAG) == WHITE_IS_ZERO else levels
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    opaque = image.convert(image.mode[:-1]) if image.mode.endswith("A") else image
    make = _kept_transform if len(profile) <= MAX_KEPT_PROFILE else _transform
    try:
        if (transform := make(profile, opaque.mode)) is None:
            return image
        converted = (transform.apply_in_place if opaque.mode == "RGB" else transform.apply)(opaque)
    except (ImageCms.PyCMSError, OSError, ValueError) as ex:
        logger.debug("colour profile ignored: %r", ex)
        return image
    if opaque.mode == "L":
        converted = converted.convert("L")
    if image.mode != opaque.mode:
        converted.putalpha(image.getchannel("A"))
    return converted


def _tag(image: Image.Image, tag: int) -> object:
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Make what turns the colours of a profile into sRGB; None where it is a profile of another mode's colours."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    if source.profile.xcolor_space.strip() != PROFILE_SPACES.get(mode):
        return None
    return ImageCms.ImageCmsTransform(source, _srgb, mode, "RGB")


_kept_transform = lru_cache(KEPT_TRANSFORMS)(_transform)  # cameras have few profiles, and a transform takes 3 ms to make


def _load(image: ImageFile.ImageFile) -> None:
    """Decode a picture in full. The alpha of a BMP is often left unset: then nothing is meant to be seen through."""
    _prepare(image)
    image.load()
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image.putalpha(255)


def _prepare(image: ImageFile.ImageFile) -> None:
    """Bring the transparent colour of a PNG to 8 bits, as Pillow brings the pixels; give a BMP its palette back."""
    tile, key = image.tile[0], image.info.get("transparency")
    if image.format == "BMP" and image.mode in ("1", "L"):
        _give_palette_back(image)
    elif tile.codec_name == "zip" and key is not None and (scale := KEY_SCALES.get(tile.args)):
        levels = [int(level * scale) for level in (key if isinstance(key, tuple) else (key + 0.5 / scale,))]
        image.info["transparency"] = tuple(levels) if isinstance(key, tuple) else levels[0]


def _give_palette_back(image: ImageFile.ImageFile) -> None:
    """Let the pixels of a BMP of 4 or 8 bits be indices again, where Pillow took a grey palette for none."""
    bits = _bits_of_bmp(cast(IO[bytes], image.fp))
    if (image.mode, bits) in (("1", 4), ("1", 8), ("L", 4)):
        greys = (0, 255) if image.mode == "1" else range(16)
        image.palette = ImagePalette.raw("RGB", bytes(level for grey in greys for level in (grey, grey, grey)))
        image._mode = "P"
        tile = image.tile[0]
        image.tile = [tile._replace(args=("P;4" if bits == 4 else "P", *cast(tuple[Any, ...], tile.args)[1:]))]


def _bits_of_bmp(file: IO[bytes]) -> int:
    file.seek(14)
    header = file.read(16)
    return header[10 if header[0] == OLD_BMP_HEADER else 14]


def _flatten(image: Image.Image, background: str) -> Image.Image:
    """Lay a picture of any mode on the background; the result is RGB, or L where all is grey."""
    if image.mode == "F":
        raise BadImage  # floating point has no agreed white
    if not image.has_transparency_data:
        return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
    colour = ImageColor.getrgb(background)[:3]
    is_grey = image.mode in ("1", "L", "LA", "La") and len(set(colour)) == 1
    layer = image.convert("LA" if is_grey else "RGBA")
    canvas = Image.new("L" if is_grey else "RGB", image.size, colour[0] if is_grey else colour)
    canvas.paste(layer, mask=layer)
    return canvas


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8; what can't be read is upright. A loaded TIFF has been turned already."""
    if len(image.info.get("exif", b"")) > MAX_EXIF:
        return 1
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception as ex:  # broken EXIF raises a dozen kinds of errors
        logger.debug("EXIF ignored: %r", ex)
        return 1


def _orient(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _encode(image: Image.Image, quality: int, subsampling: str = "4:2:0") -> bytes:
    return image.tobytes("jpeg", image.mode, *_encoder_options(image.mode, quality, subsampling))


@lru_cache
def _encoder_options(mode: str, quality: int, subsampling: str) -> tuple[Any, ...]:
    """Let Pillow work out once what its encoder must be told: to do that for each preview takes it half as long as to encode."""
    sample = Image.new(mode, (1, 1))
    sample.save(BytesIO(), "JPEG", quality=quality, subsampling=subsampling, comment=b"", xmp=b"", exif=b"")
    return sample.encoderconfig
