"""Opening pictures from strangers: what decoding one will cost is known, and bounded, before it is decoded.

A few kilobytes can ask for gigabytes, or keep Pillow's parsers, which are written in Python, busy for minutes.
"""

import os
import re
import time
from collections.abc import Iterator
from io import BytesIO

from PIL import Image, ImageFile, JpegImagePlugin, MpoImagePlugin, TiffImagePlugin  # noqa: F401  # importing MPO registers it

from luna_image_store.errors import BadImage, TooManyPixels
from luna_image_store.imaging.formats import decoders  # noqa: F401  # importing them registers them

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM")
MAX_SIDE = 65_500  # pixels that a JPEG can have
TIFF_STARTS = (b"II", b"MM")
ENDS = {"PNG": b"IEND\xaeB`\x82", "GIF": b"\0;"}
BITS_TAG, STRIP_LENGTHS_TAG, TILE_WIDTH_TAG, TILE_HEIGHT_TAG, TILE_LENGTHS_TAG, SAMPLE_FORMAT_TAG = 258, 279, 322, 323, 325, 339
TIFF_COMPRESSIONS = {None, "raw", "packbits", "tiff_ccitt", "group3", "group4", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"}
TIFF_COMPRESSIONS |= {"jpeg", "tiff_jpeg", "tiff_raw_16"}
UNSIGNED = {1, 4}  # formats of TIFF samples; 4 is unknown
WATCHED_SIZE = 2**20  # bytes; less can't keep Pillow's parsers busy for long
OPENING_SECONDS, DECODING_SECONDS = 2, 4  # of CPU time
PLAIN_PPM, MAX_COMMENTS = (b"P1", b"P2", b"P3"), 1000  # Pillow copies what follows each comment
MAX_SCANNED = 4_000_000_000  # pixels, each counted once per scan of a JPEG
SCAN, END_OF_IMAGE, MOST_MARKERS = 0xDA, 0xD9, 10_000  # of a JPEG
MAX_RLE_PIXELS = 4_000_000  # a run-length encoded BMP is decoded in Python

find_marker = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL).search  # in scans 0 and restarts follow 0xFF

Image.preinit()  # with the two imported above, all decoders that are used; Pillow would load forty at the first TIFF
Image.MAX_IMAGE_PIXELS = None  # open_picture compares with IMAGES.MAX_PIXELS
JpegImagePlugin.JpegImageFile._read_dpi_from_exif = lambda _: None  # type: ignore[assignment,method-assign]  # it parses all EXIF, at any cost
os.putenv("LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER", "3")  # of a strip; libtiff would take a hundred
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
    _check_tiff(image, data)
    return image


def _check_cost(image: ImageFile.ImageFile, data: bytes, pixels: int) -> None:
    """Refuse what takes far longer to decode than its pixels tell, or for nothing, and what Pillow would take though it is cut."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if pixels * _scans(image, data) > MAX_SCANNED:
            raise BadImage
    elif max(image.size) > MAX_SIDE:
        raise BadImage
    if image.tile and image.tile[0].codec_name == "bmp_rle" and pixels > MAX_RLE_PIXELS:
        raise TooManyPixels(pixels, MAX_RLE_PIXELS)
    if ENDS.get(str(image.format), b"") not in data:
        raise BadImage


def _scans(image: JpegImagePlugin.JpegImageFile, data: bytes) -> int:
    """Count the scans of a JPEG. A sequential one whose first scan, just read, has all components can have no other."""
    header = bytes((0xFF, SCAN, 0, 6 + 2 * image.layers, image.layers))
    end = image.fp.tell() - 2 * image.layers - 3 if image.fp else 0
    return 1 if "progressive" not in image.info and data.endswith(header, 0, end) else sum(mark == SCAN for mark in _markers(data))


def _markers(data: bytes) -> Iterator[int]:
    """List the markers of a JPEG up to its end, whatever follows; raise BadImage where they are too many."""
    position = 2
    for _ in range(MOST_MARKERS):
        if not (found := find_marker(data, position)) or found[1][0] == END_OF_IMAGE:
            return
        yield found[1][0]
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    raise BadImage


def _check_tiff(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuse a TIFF that is packed in a rare way, whose strips or tiles share bytes, or whose samples Pillow takes for others."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    lengths = sum(sum(tags.get(tag, ())) for tag in (STRIP_LENGTHS_TAG, TILE_LENGTHS_TAG))
    has_odd_samples = not UNSIGNED.issuperset(tags.get(SAMPLE_FORMAT_TAG, UNSIGNED)) or 32 in tags.get(BITS_TAG, ())
    if image.info.get("compression") not in TIFF_COMPRESSIONS or lengths > 2 * len(data) or has_odd_samples:
        raise BadImage


def _tile_pixels(image: ImageFile.ImageFile) -> int:
    """Count the pixels of a tile of a TIFF, which is decoded whole, however little of it is seen."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    return int(image.tag_v2.get(TILE_WIDTH_TAG, 1)) * int(image.tag_v2.get(TILE_HEIGHT_TAG, 1))
