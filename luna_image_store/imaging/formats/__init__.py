"""One module per format, with a header parser and a decoder. The first bytes of a file identify its format."""

from collections.abc import Callable

from luna_image_store.imaging.formats.bmp import BmpSource
from luna_image_store.imaging.formats.gif import GifSource
from luna_image_store.imaging.formats.jpeg import JpegSource
from luna_image_store.imaging.formats.png import SIGNATURE, PngSource
from luna_image_store.imaging.formats.ppm import PpmSource
from luna_image_store.imaging.formats.source import Source
from luna_image_store.imaging.formats.tiff.source import TiffSource

PPM_SIGNATURES = tuple(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \t\n\v\f\r#")
FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[bytes], Source]], ...] = (
    ((b"\xff\xd8",), JpegSource),
    ((SIGNATURE,), PngSource),
    ((b"GIF87a", b"GIF89a"), GifSource),
    ((b"BM",), BmpSource),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffSource),
    (PPM_SIGNATURES, PpmSource),
)


def open_source(data: bytes) -> Source:
    """Parse the header of an image without decoding pixels. Raise ValueError or another error if the header is broken."""
    for signatures, source in FORMATS:
        if data.startswith(signatures):
            return source(data)
    raise ValueError("not one of the six formats")
