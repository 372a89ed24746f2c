"""BMP: palettes, run lengths, bit fields and profiles that Pillow reads differently or not at all."""

import struct
from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from typing import Any, cast

from PIL import BmpImagePlugin, Image, ImagePalette

from luna_image_store.errors import TooManyPixels
from luna_image_store.imaging.formats.bmp_run_lengths import decode_run_lengths
from luna_image_store.imaging.formats.source import Source

FILE_HEADER, CORE_HEADER, INFO_HEADER, V3_HEADER, V5_HEADER = 14, 12, 40, 56, 124  # lengths in bytes
EMBEDDED = b"DEBM"  # the color space of a V5 header with a profile in the file
RLE8, RLE4, BIT_FIELDS, ALPHA_BIT_FIELDS = 1, 2, 3, 6
BYTE_MASKS = {0xFF << shift: shift // 8 for shift in (0, 8, 16, 24)}  # values are the offset of the byte
MAX_RLE_PIXELS = 4_000_000  # the decoder is written in Python
GREYS: dict[tuple[str, int], Iterable[int]] = {("1", 4): (0, 255), ("1", 8): (0, 255), ("L", 4): range(16)}


class BmpFile(BmpImagePlugin.BmpImageFile):
    """Pillow's plug-in, but pixels of 4 or 8 bits stay indexes. Pillow would ignore a palette of greys."""

    def __init__(self, data: bytes, bits: int) -> None:
        self._bits = bits
        super().__init__(BytesIO(_correct_colors(data, bits)))

    def _open(self) -> None:
        super()._open()
        if greys := GREYS.get((self.mode, self._bits)):
            self.palette = ImagePalette.raw("RGB", bytes(level for grey in greys for level in (grey, grey, grey)))
            self._mode = "P"
            tile = self.tile[0]
            self.tile = [tile._replace(args=("P;4" if self._bits == 4 else "P", *cast(tuple[Any, ...], tile.args)[1:]))]


class BmpSource(Source):
    """A BMP."""

    format = "BMP"

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pixel_offset = int.from_bytes(data[10:14], "little")
        header = self._header = data[FILE_HEADER : FILE_HEADER + int.from_bytes(data[14:18], "little")]
        if len(header) == CORE_HEADER:
            self._bits, self._compression = struct.unpack_from("<10xH", header)[0], 0
        else:
            self._bits, self._compression = struct.unpack_from("<14xHI", header)
        self._masks = self._read_masks()
        if self._masks:
            width, height = struct.unpack_from("<4xii", header)
            self.size, self._is_bottom_up = (width, abs(height)), height > 0
        else:
            self._file = BmpFile(data, self._bits)
            self.size = self._file.size
        if self._compression in (RLE8, RLE4) and self.pixels > MAX_RLE_PIXELS:
            raise TooManyPixels(self.pixels, MAX_RLE_PIXELS)
        self.profile = self._read_profile()

    def decode(self) -> Image.Image:
        """Return all pixels. Many writers leave alpha unset: if it is 0 everywhere, the image is opaque."""
        if self._compression in (RLE8, RLE4):
            image = self._decode_runs()
        elif self._masks:
            image = self._decode_fields()
        else:
            self._file.load()
            image = self._file
        if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
            image.putalpha(255)
        return image

    def _read_masks(self) -> tuple[int, ...]:
        """Return the masks of red, green, blue and perhaps alpha, or () if Pillow needs none or refuses the file."""
        if self._compression not in (BIT_FIELDS, ALPHA_BIT_FIELDS) or self._bits not in (16, 32):
            return ()
        count = 4 if len(self._header) >= V3_HEADER or self._compression == ALPHA_BIT_FIELDS else 3
        masks = struct.unpack_from(f"<{count}I", self._data, FILE_HEADER + INFO_HEADER)
        masks = masks if masks[-1] else masks[:3]
        return masks if self._bits == 16 or all(mask in BYTE_MASKS for mask in masks) else ()

    def _decode_runs(self) -> Image.Image:
        indexes = decode_run_lengths(self._data[self._file.tile[0].offset :], self.size, self._compression == RLE4)
        image = Image.frombytes(self._file.mode, self.size, indexes, "raw", self._file.mode, 0, -1)
        image.palette = self._file.palette
        image.load()
        return image

    def _decode_fields(self) -> Image.Image:
        """Return pixels of 16 bits, with a mask for each channel, or of 32 bits, with a byte for each channel."""
        if not all(self._masks):
            raise ValueError("bit fields without a mask")
        width, height = self.size
        stride, direction = (width * self._bits // 8 + 3) & ~3, -1 if self._is_bottom_up else 1
        rows = self._data[self._pixel_offset : self._pixel_offset + stride * height]
        if self._bits == 16:
            words = Image.frombytes("I;16", self.size, rows, "raw", "I;16", stride, direction).convert("I")
            channels = [words.point(_levels_of_words(mask), "L") for mask in self._masks]
        else:
            planes = (rows[BYTE_MASKS[mask] :: 4] for mask in self._masks)
            channels = [Image.frombytes("L", self.size, plane, "raw", "L", 0, direction) for plane in planes]
        return Image.merge("RGBA" if len(channels) == 4 else "RGB", channels)

    def _read_profile(self) -> bytes | None:
        if len(self._header) < V5_HEADER or self._header[56:60] != EMBEDDED:
            return None
        start, length = struct.unpack_from("<112xII", self._header)
        return self._data[FILE_HEADER + start : FILE_HEADER + start + length] or None


def _correct_colors(data: bytes, bits: int) -> bytes:
    """Set the palette size to its default if it is larger than the number of possible indexes."""
    field = slice(FILE_HEADER + 32, FILE_HEADER + 36)
    has_field = bits <= 8 and int.from_bytes(data[14:18], "little") >= INFO_HEADER
    return (
        data[: field.start] + bytes(4) + data[field.stop :]
        if has_field and int.from_bytes(data[field], "little") > 1 << bits
        else data
    )


@lru_cache(8)
def _levels_of_words(mask: int) -> list[int]:
    """Return the level from 0 to 255 of each 16-bit word."""
    mask &= 0xFFFF
    lowest = mask & -mask or 1
    return [(word & mask) // lowest * 255 // (mask // lowest or 1) for word in range(2**16)]
