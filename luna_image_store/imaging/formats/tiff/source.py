"""Decoding of a TIFF."""

from PIL import Image

from luna_image_store.imaging.formats.exif import valid_orientation
from luna_image_store.imaging.formats.jpeg import JpegSource
from luna_image_store.imaging.formats.source import Source
from luna_image_store.imaging.formats.tiff.directory import Directory
from luna_image_store.imaging.formats.tiff.page import OLD_JPEG, read_page, read_pieces
from luna_image_store.imaging.formats.tiff.samples import compose
from luna_image_store.imaging.formats.tiff.unpack import Unpacker
from luna_image_store.imaging.limits import Deadline

ORIENTATION, COLOR_MAP, OLD_JPEG_START, PROFILE = 274, 320, 513, 34675
MAX_PROFILE = 2**22  # bytes


class TiffSource(Source):
    """A TIFF: its first page."""

    format = "TIFF"

    def __init__(self, data: bytes) -> None:
        self._data, self._tags = data, Directory(data)
        self._page = read_page(self._tags)
        self.size = self._page.size
        self.orientation = valid_orientation(self._tags.integer(ORIENTATION, 1))
        self.profile = self._tags.content(PROFILE)[:MAX_PROFILE] or None

    @property
    def pixels(self) -> int:
        """Return the number of pixels of all pieces."""
        return self._page.pixels

    def decode(self) -> Image.Image:
        """Return the page."""
        page = self._page
        if page.compression == OLD_JPEG:
            return self._decode_old_jpeg()
        unpacker, count = Unpacker(self._data, self._tags, page), page.layout.count
        pieces = read_pieces(self._tags, page, len(self._data))[: count * page.used_samples]
        columns = [band for start in range(0, len(pieces), count) for band in unpacker.unpack(pieces[start : start + count])]
        deadline = Deadline(page.pixels)
        bands = [self._arrange(column, deadline) for column in columns]
        return compose(page, bands, self._tags.integers(COLOR_MAP, 3 << min(page.bits, 8)))

    def _decode_old_jpeg(self) -> Image.Image:
        """Decode a JPEG that is one part of the file. JPEGs in several parts are refused."""
        jpeg = JpegSource(self._data[self._tags.integer(OLD_JPEG_START, len(self._data)) :])
        if jpeg.size != self.size:
            raise ValueError("a JPEG of another size")
        jpeg.count_scanned_pixels()
        return jpeg.decode_complete()

    def _arrange(self, column: Image.Image, deadline: Deadline) -> Image.Image:
        """Arrange a column of pieces as in the layout, and crop them to the page."""
        layout = self._page.layout
        if (layout.width, layout.rows) == self.size:
            return column
        band = Image.new(column.mode, self.size)
        for number in range(layout.count):
            deadline.check()
            top = number * layout.height
            piece = column.crop((0, top, layout.width, top + layout.height))
            band.paste(piece, (number % layout.across * layout.width, number // layout.across * layout.height))
        return band
