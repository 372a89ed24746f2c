"""Opening pictures from strangers: what decoding one will cost is known, and bounded, before it is decoded.

A few kilobytes can ask for gigabytes, or keep Pillow's parsers, which are written in Python, busy for minutes.
"""

import time
from io import BytesIO

from PIL import Image, ImageFile, JpegImagePlugin, MpoImagePlugin, TiffImagePlugin  # noqa: F401  # importing MPO registers it

from luna_image_store.errors import BadImage, TooManyPixels

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM")
TIFF_STARTS, JPEG_SCAN = (b"II", b"MM"), b"\xff\xda"
ENDS = {"PNG": b"IEND\xaeB`\x82", "GIF": b"\0;"}
TILE_WIDTH_TAG, TILE_HEIGHT_TAG = 322, 323
WATCHED_SIZE = 2**20  # bytes; less can't keep Pillow's parsers busy for long
OPENING_SECONDS, DECODING_SECONDS = 2, 10  # of CPU time
PLAIN_PPM, MAX_COMMENTS = (b"P1", b"P2", b"P3"), 1000  # Pillow copies what follows each comment
MAX_SCANNED = 4_000_000_000  # pixels, each counted once per scan of a JPEG
MAX_RLE_PIXELS, MAX_RLE_WIDTH = 4_000_000, 2**16  # Pillow decodes a run-length encoded BMP in Python, a row at a time in memory

Image.preinit()  # with the two imported above, all decoders that are used; Pillow would load forty at the first TIFF
Image.MAX_IMAGE_PIXELS = None  # open_picture compares with IMAGES.MAX_PIXELS
JpegImagePlugin.JpegImageFile._read_dpi_from_exif = lambda _: None  # type: ignore[assignment,method-assign]  # it parses all EXIF, at any cost
TiffImagePlugin.READ_LIBTIFF = True  # Pillow itself reads 64 KB for each strip, which WatchedBytes would count


class WatchedBytes(BytesIO):
    """Bytes that stop a parser which spends too much time on them, or reads the same ones over and over.

    Pillow parses metadata in Python, without a limit: 60 MB of comments took it minutes, overlapping TIFF tags all memory.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = 4 * len(data) + 2**20
        self.allow(OPENING_SECONDS)

    def allow(self, seconds: float) -> None:
        """Set how much more CPU time may be spent."""
        self._until = time.thread_time() + seconds

    def read(self, size: int | None = -1) -> bytes:
        """Read like any file, or raise BadImage."""
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0 or time.thread_time() > self._until:
            raise BadImage
        return data


def open_picture(data: bytes, max_pixels: float) -> ImageFile.ImageFile:
    """Read a picture's header and check what decoding it will take; raise BadImage or TooManyPixels. Nothing is decoded yet."""
    if data[:2] in PLAIN_PPM and data.count(b"#") > MAX_COMMENTS:
        raise BadImage
    is_watched = len(data) > WATCHED_SIZE or data[:2] in TIFF_STARTS
    source = WatchedBytes(data) if is_watched else BytesIO(data)
    image = Image.open(source, formats=FORMATS)
    if isinstance(source, WatchedBytes):
        source.allow(DECODING_SECONDS)
    pixels = max(image.width * image.height, _tile_pixels(image))
    if pixels > max_pixels:
        raise TooManyPixels(pixels, max_pixels)
    _check_cost(image, data, pixels)
    return image


def _check_cost(image: ImageFile.ImageFile, data: bytes, pixels: int) -> None:
    """Refuse what takes far longer to decode than its pixels tell, and what Pillow would take though it is cut."""
    if isinstance(image, JpegImagePlugin.JpegImageFile) and pixels * _scans(image, data) > MAX_SCANNED:
        raise BadImage
    if image.tile and image.tile[0].codec_name == "bmp_rle":
        if pixels > MAX_RLE_PIXELS:
            raise TooManyPixels(pixels, MAX_RLE_PIXELS)
        if image.width > MAX_RLE_WIDTH:
            raise BadImage
    if ENDS.get(str(image.format), b"") not in data:
        raise BadImage


def _scans(image: JpegImagePlugin.JpegImageFile, data: bytes) -> int:
    """Count the scans of a JPEG. A sequential one whose first scan, just read, has all components can have no other."""
    header = JPEG_SCAN + bytes((0, 6 + 2 * image.layers, image.layers))
    end = image.fp.tell() - 2 * image.layers - 3 if image.fp else 0
    return 1 if "progressive" not in image.info and data.endswith(header, 0, end) else data.count(JPEG_SCAN)


def _tile_pixels(image: ImageFile.ImageFile) -> int:
    """Count the pixels of a tile of a TIFF, which is decoded whole, however little of it is seen."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    return int(image.tag_v2.get(TILE_WIDTH_TAG, 1)) * int(image.tag_v2.get(TILE_HEIGHT_TAG, 1))
