"""Decompression of the pieces of a plane to bands. A band is an image of one sample, all pieces one below the other.

Uncompressed pieces are copied, and zlib inflates deflate. libtiff decompresses the others, in a file with a new directory. libtiff
reads rows of bytes without a meaning, except if it must undo a predictor.

A piece that ends early must raise an error, because libtiff leaves missing rows as they were in memory. For LZW and PackBits,
libtiff reports an error. For deflate it does not always, so it receives inflated data in stored blocks. For fax see `_unpack_fax`.
"""

import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate

from PIL import Image, ImageChops, ImageFile, TiffImagePlugin  # noqa: F401  # else Pillow would import forty plug-ins to find the one to save with

from luna_image_store.imaging.formats.jpeg import JpegSource
from luna_image_store.imaging.formats.tiff.directory import BIG_HEADER_LENGTH, Directory, Value, write_tiff
from luna_image_store.imaging.formats.tiff.page import (
    BITS,
    BLACK_IS_ZERO,
    CMYK,
    COMPRESSION,
    LENGTH,
    PALETTE,
    PHOTOMETRIC,
    RGB,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    SUBSAMPLING,
    UNCOMPRESSED,
    WHITE_IS_ZERO,
    WIDTH,
    YCBCR,
    Page,
    Piece,
)
from luna_image_store.imaging.limits import MAX_SCANNED_PIXELS, Deadline

FILL_ORDER, FAX_OPTIONS, PREDICTOR, JPEG_TABLES, COEFFICIENTS, REFERENCE_LEVELS = 266, 292, 317, 347, 529, 532
JPEG, HORIZONTAL_DIFFERENCES, END_OF_JPEG, MAX_PADDING = 7, 2, b"\xff\xd9", 32  # the last in pixels
LZW, PACK_BITS, DEFLATES = 5, 32773, {8, 32946}
BYTE_COMPRESSIONS = {UNCOMPRESSED, LZW, PACK_BITS, *DEFLATES}
FAX_COMPRESSIONS = {2: "tiff_ccitt", 3: "group3", 4: "group4", 32771: "tiff_raw_16"}  # and their names in Pillow
JPEG_COLORS = {WHITE_IS_ZERO: "L", BLACK_IS_ZERO: "L", RGB: "RGB", CMYK: "CMYK", YCBCR: "YCbCr"}
PACKED = {1: ("1", "1"), 2: ("L", "L;2"), 4: ("L", "L;4"), 8: ("L", "L"), 12: ("I;16", "I;12")}  # modes by bits
PACKED_INDEXES = {1: ("P", "P;1"), 2: ("P", "P;2"), 4: ("P", "P;4"), 8: ("L", "L")}
# Modes in which Pillow unpacks pixels with a predictor, and the resulting bits and samples, by bits and samples.
PREDICTOR_MODES = {
    (8, 1): ("L", "L", 8, 1),
    (8, 2): ("LA", "LA", 8, 2),
    (8, 3): ("RGB", "RGB", 8, 3),
    (8, 4): ("RGBX", "RGBX", 8, 4),
    (16, 1): ("LA", "LA", 16, 1),
    (16, 2): ("RGBX", "RGBX", 16, 2),
    (16, 3): ("RGB", "RGB;16N", 8, 3),
    (16, 4): ("RGBX", "RGBX;16N", 8, 4),
}
BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
BIG_ENDIAN = ">"
NATIVE = "<" if sys.byteorder == "little" else BIG_ENDIAN

Pieces = list[Piece] | tuple[Piece, ...]
Bands = list[Image.Image]


class UnpackedFile(ImageFile.ImageFile):
    """The pixels that libtiff unpacks from a file, in a mode and a raw mode of Pillow."""

    def __init__(self, tiff: bytes, size: tuple[int, int], mode: str, raw_mode: str) -> None:
        self._parameters = size, mode, raw_mode
        super().__init__(BytesIO(tiff))
        self.decodermaxblock = len(tiff)  # libtiff needs all of it at once

    def _open(self) -> None:
        self._size, self._mode, raw_mode = self._parameters
        self.tile = [ImageFile._Tile("libtiff", (0, 0, *self._size), 0, (raw_mode, "raw", 0, 0))]


class Unpacker:
    """Unpacks pieces of a page."""

    def __init__(self, data: bytes, tags: Directory, page: Page) -> None:
        self._data, self._tags, self._page = data, tags, page
        self._deadline, self._scanned = Deadline(page.pixels), 0
        self._is_bit_reversed = tags.integer(FILL_ORDER, 1) == 2

    def unpack(self, pieces: Pieces) -> Bands:
        """Return the bands of the pieces of one plane."""
        page = self._page
        if page.compression == JPEG:
            return self._decode_jpegs(pieces)
        if page.compression in FAX_COMPRESSIONS and (page.bits, page.samples) == (1, 1):
            return self._to_bands(self._unpack_fax(pieces), 1, 1)
        if page.compression not in BYTE_COMPRESSIONS:
            raise ValueError("unsupported compression")
        if page.photometric == YCBCR:
            self._unpack_bytes(pieces)  # raises an error if pieces end early; with colors, libtiff does not
            return self._unpack_colors(pieces)
        if self._tags.integer(PREDICTOR, 1) != 1 and page.compression not in (UNCOMPRESSED, PACK_BITS):
            return self._unpack_differences(pieces)
        return self._to_bands(self._unpack_bytes(pieces), page.bits, page.samples_in_piece, self._tags.order)

    def _unpack_bytes(self, pieces: Pieces) -> bytes:
        """Return the rows of the pieces, with any predictor."""
        page = self._page
        if page.compression in DEFLATES:
            return b"".join(self._inflate(pieces))
        if page.compression == UNCOMPRESSED and not self._is_bit_reversed:
            return b"".join(self._data[offset : offset + length] for offset, length in pieces)
        width, rows = page.packed_rows(page.layout.rows)
        _, strip = page.packed_rows(page.layout.height)
        return self._load(pieces, (width, rows), strip, (8, 1), "L", "L").tobytes()  # for libtiff each byte is a pixel

    def _inflate(self, pieces: Pieces) -> Iterator[bytes]:
        """Yield the rows of each piece. Raise ValueError if rows are missing."""
        page = self._page
        for number, (offset, length) in enumerate(pieces):
            width, rows = page.packed_rows(page.layout.rows_of(number))
            packed = self._data[offset : offset + length]
            inflated = zlib.decompressobj().decompress(
                packed.translate(BITS_REVERSED) if self._is_bit_reversed else packed, width * rows
            )
            if len(inflated) < width * rows:
                raise ValueError("rows are missing")
            yield inflated

    def _unpack_differences(self, pieces: Pieces) -> Bands:
        page, depth = self._page, (self._page.bits, self._page.samples_in_piece)
        if self._tags.integer(PREDICTOR, 1) == HORIZONTAL_DIFFERENCES and page.bits == 8 and depth not in PREDICTOR_MODES:
            return [_accumulate(band) for band in self._to_bands(self._unpack_bytes(pieces), *depth)]
        if self._tags.integer(PREDICTOR, 1) != HORIZONTAL_DIFFERENCES or depth not in PREDICTOR_MODES:
            raise ValueError("unsupported predictor")
        mode, raw_mode, bits, samples = PREDICTOR_MODES[depth]
        size = page.layout.width, page.layout.rows
        image = self._load(pieces, size, page.layout.height, depth, mode, raw_mode, {PREDICTOR: (HORIZONTAL_DIFFERENCES,)})
        return self._to_bands(image.tobytes(), bits, samples, NATIVE)

    def _unpack_colors(self, pieces: Pieces) -> Bands:
        """Return red, green and blue of pixels with perhaps subsampled colors."""
        page, tags = self._page, self._tags
        more: dict[int, Value] = {PHOTOMETRIC: (YCBCR,), SUBSAMPLING: page.subsampling}
        more |= {tag: tags.raw(tag) for tag in (COEFFICIENTS, REFERENCE_LEVELS) if tag in tags}
        more[PREDICTOR] = (tags.integer(PREDICTOR, 1),)
        size = page.layout.width, page.layout.rows
        return list(self._load(pieces, size, page.layout.height, (8, 3), "RGB", "RGBX", more).split())

    def _unpack_fax(self, pieces: Pieces) -> bytes:
        """Return rows of bits. Raise ValueError if fax codes end early.

        libtiff reports no error, and leaves missing rows as they were in memory, with data of other requests. So a filler precedes
        each piece, and is unpacked to the same memory. Rows that are equal after a white and a black filler are from the file.
        """
        white, black = (self._unpack_fax_after(pieces, filler) for filler in (255, 0))
        if white != black:
            raise ValueError("rows are missing")
        return white

    def _unpack_fax_after(self, pieces: Pieces, level: int) -> bytes:
        layout = self._page.layout
        filler = self._pack_filler(level)
        filled = [part for piece in pieces for part in ((len(self._data), len(filler)), piece)]
        height = layout.rows + layout.height * len(pieces)
        options: dict[int, Value] = {FAX_OPTIONS: self._tags.integers(FAX_OPTIONS, 1)} if FAX_OPTIONS in self._tags else {}
        image = self._load(filled, (layout.width, height), layout.height, (1, 1), "1", "1", options, filler)
        rows, step = image.tobytes(), -(-layout.width // 8) * layout.height
        return b"".join(rows[start : start + step] for start in range(step, len(rows), 2 * step))

    def _pack_filler(self, level: int) -> bytes:
        """Encode a piece of one color with the compression of the page."""
        layout, target = self._page.layout, BytesIO()
        options = {FAX_OPTIONS: self._tags.integer(FAX_OPTIONS, 0), FILL_ORDER: self._tags.integer(FILL_ORDER, 1)}
        image = Image.new("1", (layout.width, layout.height), level)
        strip_size = -(-layout.width // 8) * layout.height
        image.save(target, "TIFF", compression=FAX_COMPRESSIONS[self._page.compression], tiffinfo=options, strip_size=strip_size)
        tags = Directory(target.getvalue())
        start = tags.integer(STRIP_OFFSETS, 0)
        return target.getvalue()[start : start + tags.integer(STRIP_COUNTS, 0)]

    def _load(
        self,
        pieces: Pieces,
        size: tuple[int, int],
        strip: int,
        depth: tuple[int, int],
        mode: str,
        raw_mode: str,
        more: dict[int, Value] | None = None,
        appendix: bytes = b"",
    ) -> Image.Image:
        """Unpack pieces of `strip` rows with libtiff. `depth` is the bits per sample and the samples per pixel."""
        bits, samples = depth
        content, fill_order = self._data, self._tags.integer(FILL_ORDER, 1)
        if self._page.compression in DEFLATES:
            stored = [zlib.compress(data, 0) for data in self._inflate(pieces)]
            content, fill_order = b"".join(stored), 1
            pieces = list(zip(accumulate(map(len, stored), initial=0), map(len, stored), strict=False))
        tags: dict[int, Value] = {
            WIDTH: size[:1],
            LENGTH: size[1:],
            BITS: (bits,) * samples,
            COMPRESSION: (self._page.compression,),
            PHOTOMETRIC: (BLACK_IS_ZERO,),
            FILL_ORDER: (fill_order,),
            STRIP_OFFSETS: tuple(BIG_HEADER_LENGTH + offset for offset, _ in pieces),
            SAMPLES: (samples,),
            ROWS_PER_STRIP: (strip,),
            STRIP_COUNTS: tuple(length for _, length in pieces),
        }
        image = UnpackedFile(write_tiff(self._tags.order, tags | (more or {}), content, appendix), size, mode, raw_mode)
        image.load()
        return image

    def _to_bands(self, rows: bytes, bits: int, samples: int, order: str = BIG_ENDIAN) -> Bands:
        """Split rows into bands of 8 bits or fewer. Of 16-bit words, the high byte is used."""
        size = self._page.layout.width, self._page.layout.rows
        if samples == 1 and bits < 16:
            mode, raw_mode = (PACKED_INDEXES if self._page.photometric == PALETTE else PACKED)[bits]
            return [Image.frombytes(mode, size, rows, "raw", raw_mode)]
        width = bits // 8
        high = 0 if order == BIG_ENDIAN else width - 1
        used = range(min(samples, self._page.used_samples))
        return [Image.frombytes("L", size, rows[width * sample + high :: width * samples]) for sample in used]

    def _decode_jpegs(self, pieces: Pieces) -> Bands:
        """Decode pieces that are JPEGs. Their tables may be in the directory."""
        page, layout = self._page, self._page.layout
        colors = "L" if page.planes > 1 else JPEG_COLORS.get(page.photometric)
        if colors is None or page.bits != 8:
            raise ValueError("unsupported colors or depth of a JPEG")
        column = Image.new("RGB" if colors == "YCbCr" else colors, (layout.width, layout.rows))
        for number, piece in enumerate(pieces):
            self._deadline.check()
            jpeg, rows = JpegSource(self._read_jpeg(piece), colors), layout.rows_of(number)
            self._scanned += jpeg.count_scanned_pixels()
            width, height = jpeg.size
            is_fitting = layout.width <= width < layout.width + MAX_PADDING and rows <= height < layout.height + MAX_PADDING
            if not is_fitting or self._scanned > MAX_SCANNED_PIXELS:
                raise ValueError("a JPEG of another size, or too many scans")
            image = jpeg.decode_complete()
            if image.mode != column.mode:
                raise ValueError("a JPEG of other colors")
            column.paste(image.crop((0, 0, layout.width, rows)), (0, number * layout.height))
        return list(column.split())

    def _read_jpeg(self, piece: Piece) -> bytes:
        data = self._data[piece[0] : sum(piece)]
        tables = self._tags.content(JPEG_TABLES)
        return tables.removesuffix(END_OF_JPEG) + data[2:] if tables else data


def _accumulate(band: Image.Image) -> Image.Image:
    """Undo differences: add to each pixel the pixels before it in its row, twice as many in each round."""
    step = 1
    while step < band.width:
        shifted = Image.new("L", band.size)
        shifted.paste(band, (step, 0))
        band = ImageChops.add_modulo(band, shifted)
        step *= 2
    return band
