"""The source of a TIFF."""

from PIL import Image

from luna_image_store.imaging.formats.exif import upright_or
from luna_image_store.imaging.formats.jpeg import JpegSource
from luna_image_store.imaging.formats.source import Source
from luna_image_store.imaging.formats.tiff.directory import Directory
from luna_image_store.imaging.formats.tiff.page import MAX_SAMPLES, OLD_JPEG, RGB, YCBCR, read_page, read_pieces
from luna_image_store.imaging.formats.tiff.samples import compose
from luna_image_store.imaging.formats.tiff.unpack import Unpacker

ORIENTATION, COLOR_MAP, EXTRA_SAMPLES, OLD_JPEG_START, PROFILE = 274, 320, 338, 513, 34675
MAX_PROFILE = 2**22  # bytes


class TiffSource(Source):
    """A TIFF: its first page."""

    format = "TIFF"

    def __init__(self, data: bytes) -> None:
        self._data, self._tags = data, Directory(data)
        self._page = read_page(self._tags)
        self.size = self._page.size
        self.orientation = upright_or(self._tags.integer(ORIENTATION, 1))
        self.profile = self._tags.content(PROFILE)[:MAX_PROFILE] or None

    @property
    def pixels(self) -> int:
        """Return the pixels of all pieces, which are unpacked whole however little of the last ones is seen."""
        layout = self._page.layout
        return max(super().pixels, layout.width * layout.rows)

    def decode(self) -> Image.Image:
        """Return the page."""
        page = self._page
        if page.compression == OLD_JPEG:
            return self._decode_old_jpeg()
        unpacker, count = Unpacker(self._data, self._tags, page), page.layout.count
        pieces = read_pieces(self._tags, page, len(self._data))
        planes = [unpacker.unpack(pieces[start : start + count]) for start in range(0, len(pieces), count)]
        bands = [self._arrange(band) for plane in planes for band in plane]
        photometric = RGB if page.photometric == YCBCR else page.photometric
        extra, color_map = self._tags.integers(EXTRA_SAMPLES, MAX_SAMPLES), self._tags.integers(COLOR_MAP, 3 << min(page.bits, 8))
        return compose(photometric, bands, extra, color_map)

    def _decode_old_jpeg(self) -> Image.Image:
        """Decode a JPEG that is whole within the file; one in parts is not taken."""
        jpeg = JpegSource(self._data[self._tags.integer(OLD_JPEG_START, len(self._data)) :])
        if jpeg.size != self.size:
            raise ValueError("a JPEG of another size")
        jpeg.count_scanned()
        return jpeg.decode_complete()

    def _arrange(self, column: Image.Image) -> Image.Image:
        """Lay pieces that are one below the other side by side, and cut off what they have beyond the page."""
        layout = self._page.layout
        if (layout.width, layout.rows) == self.size:
            return column
        band = Image.new(column.mode, self.size)
        for number in range(layout.count):
            top = number * layout.height
            piece = column.crop((0, top, layout.width, top + layout.height))
            band.paste(piece, (number % layout.across * layout.width, number // layout.across * layout.height))
        return band
