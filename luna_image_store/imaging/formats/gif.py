"""GIF: the first frame, on a transparent screen. Data after the first frame are not read."""

import struct
from io import BytesIO

from PIL import Image, ImageFile, ImagePalette

from luna_image_store.imaging.formats.source import Source

HEADER_LENGTH, DESCRIPTOR_LENGTH = 13, 9
EXTENSION, FRAME, TRAILER, CONTROL = 0x21, 0x2C, 0x3B, 0xF9
MAX_BLOCKS = 1_000_000
GREYS = bytes(level for grey in range(256) for level in (grey, grey, grey))  # the default palette


class FrameFile(ImageFile.ImageFile):
    """One frame: its blocks of LZW codes, without later bytes that Pillow could read as codes."""

    def __init__(self, blocks: bytes, size: tuple[int, int], bits: int, is_interlaced: bool, palette: bytes) -> None:
        self._parameters = size, bits, is_interlaced, palette
        super().__init__(BytesIO(blocks))

    def _open(self) -> None:
        self._size, bits, is_interlaced, palette = self._parameters
        self._mode = "P"
        self.palette = ImagePalette.raw("RGB", palette)
        self.tile = [ImageFile._Tile("gif", (0, 0, *self._size), 0, (bits, is_interlaced))]


class GifSource(Source):
    """A GIF."""

    format = "GIF"

    def __init__(self, data: bytes) -> None:
        self._data = data
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        self._palette, position = _read_palette(data, HEADER_LENGTH, flags)
        self._transparent_index: int | None = None
        self._read_frame(self._skip_extensions(position))
        left, top, right, bottom = self._box
        if left == right or top == bottom:
            raise ValueError("a frame without pixels")
        self.size = max(width, right), max(height, bottom)

    def decode(self) -> Image.Image:
        """Return the frame. If it does not cover the screen, the rest is transparent."""
        box = self._box
        frame = FrameFile(self._blocks, (box[2] - box[0], box[3] - box[1]), self._bits, self._is_interlaced, self._palette)
        frame.load()
        if self._transparent_index is not None:
            frame.info["transparency"] = self._transparent_index
        if box == (0, 0, *self.size):
            return frame
        screen = Image.new("RGBA", self.size)
        screen.paste(frame.convert("RGBA"), box)
        return screen

    def _skip_extensions(self, position: int) -> int:
        """Return the start of the first frame. Read its transparent index from the graphic control extension."""
        data = self._data
        for _ in range(MAX_BLOCKS):
            if data[position] == FRAME:
                return position + 1
            if data[position] == TRAILER:
                raise ValueError("no frame")
            if data[position] != EXTENSION:
                position += 1  # as other decoders do: some encoders write an extra zero
                continue
            if data[position + 1] == CONTROL and data[position + 2] == 4:
                self._transparent_index = data[position + 6] if data[position + 3] & 1 else None
            position = _skip_blocks(data, position + 2)
        raise ValueError("too many blocks")

    def _read_frame(self, position: int) -> None:
        left, top, width, height, flags = struct.unpack_from("<HHHHB", self._data, position)
        self._box = left, top, left + width, top + height
        self._is_interlaced = bool(flags & 0x40)
        palette, position = _read_palette(self._data, position + DESCRIPTOR_LENGTH, flags)
        self._palette = palette or self._palette or GREYS
        self._bits = self._data[position]
        self._blocks = self._data[position + 1 : _skip_blocks(self._data, position + 1)]


def _read_palette(data: bytes, position: int, flags: int) -> tuple[bytes, int]:
    """Return the palette that the flags declare, and the position after it."""
    length = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    return data[position : position + length], position + length


def _skip_blocks(data: bytes, position: int) -> int:
    """Return the position after a chain of blocks. The end of the file ends it too, as in other decoders."""
    for _ in range(MAX_BLOCKS):
        if position >= len(data):
            return len(data)
        length = data[position]
        position += 1 + length
        if not length:
            return position
    raise ValueError("too many blocks")
