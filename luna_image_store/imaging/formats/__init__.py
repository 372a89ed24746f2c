"""One module per format: from the bytes of a file to its header, and on to its pixels. A format is known by how the bytes begin."""

from collections.abc import Callable

from luna_image_store.imaging.formats.bmp import BmpSource
from luna_image_store.imaging.formats.gif import GifSource
from luna_image_store.imaging.formats.jpeg import JpegSource
from luna_image_store.imaging.formats.png import SIGNATURE, PngSource
from luna_image_store.imaging.formats.ppm import PpmSource
from luna_image_store.imaging.formats.source import Source
from luna_image_store.imaging.formats.tiff.source import TiffSource

PPM_STARTS = tuple(b"P%d%c" % (kind, blank) for kind in range(1, 7) for blank in b" \t\n\v\f\r#")
FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[bytes], Source]], ...] = (
    ((b"\xff\xd8",), JpegSource),
    ((SIGNATURE,), PngSource),
    ((b"GIF87a", b"GIF89a"), GifSource),
    ((b"BM",), BmpSource),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffSource),
    (PPM_STARTS, PpmSource),
)


def open_source(data: bytes) -> Source:
    """Read the header of an image; raise ValueError or another error where it is broken. Nothing is decoded."""
    for starts, source in FORMATS:
        if data.startswith(starts):
            return source(data)
    raise ValueError("not one of the six formats")
