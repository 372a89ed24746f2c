"""Where Pillow is slow or wrong: run-length encoded BMPs, PPMs of unusual depths, broken profiles of PNGs, arithmetic JPEGs."""

from collections.abc import Iterator
from typing import IO, Any, cast

from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, PpmImagePlugin  # noqa: F401  # they register first

from luna_image_store.errors import BadImage

END_OF_LINE, END_OF_BITMAP, DELTA = 0, 1, 2
NIBBLES = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))
SAMPLES_AT_ONCE = 2**20
ARITHMETIC = (0xFFC9, 0xFFCA, 0xFFCB, 0xFFCD, 0xFFCE, 0xFFCF)  # start such a JPEG, which takes thirty times as long as others


class RunLengthDecoder(ImageFile.PyDecoder):
    """Decodes the RLE4 and RLE8 of BMP, by Microsoft's description of them."""

    _pulls_fd = True

    def decode(self, _: object) -> tuple[int, int]:
        """Decode all; what the runs leave out has the index 0. Raise ValueError where they break off."""
        self._data, self._at, self._is_rle4 = cast(IO[bytes], self.fd).read(), 0, bool(self.args[1])
        width, height = self.state.xsize, self.state.ysize
        pixels = bytearray(width * height)
        for start, run in self._runs(width, height):
            pixels[start : start + len(run)] = run
        self.set_as_raw(bytes(pixels), "L" if self.mode == "L" else "P", (0, self.args[-1]))
        return -1, 0

    def _runs(self, width: int, height: int) -> Iterator[tuple[int, bytes]]:
        """Give runs of pixels, each with the place of its first one. A row may end without an end of line."""
        x = y = 0
        while y + (x >= width) < height:
            count, value = self._take(2)
            if count == 0 and value == END_OF_LINE:
                x, y = 0, y + 1
            elif count == 0 and value == END_OF_BITMAP:
                return
            elif count == 0 and value == DELTA:
                right, down = self._take(2)
                x, y = x + right, y + down
            else:
                run = self._repeated(count, value) if count else self._literal(value)
                if x >= width:
                    x, y = 0, y + 1
                yield y * width + x, run[: width - x]
                x += len(run)

    def _repeated(self, count: int, value: int) -> bytes:
        return (bytes((value >> 4, value & 15)) * (count // 2 + 1))[:count] if self._is_rle4 else bytes((value,)) * count

    def _literal(self, count: int) -> bytes:
        size = (count + 1) // 2 if self._is_rle4 else count
        data = self._take(size + size % 2)[:size]
        return data.hex().encode().translate(NIBBLES)[:count] if self._is_rle4 else data

    def _take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise ValueError("the runs break off")
        self._at += size
        return data


class SamplesDecoder(ImageFile.PyDecoder):
    """Decodes the samples of a binary PGM or PPM, whose largest value may be any."""

    _pulls_fd = True

    def decode(self, _: object) -> tuple[int, int]:
        """Decode all, to 8 bits, or 16 where Pillow has them for a grey picture."""
        most, is_wide = self.args[-1], self.mode == "I"
        row = self.state.xsize * Image.getmodebands(self.mode)
        data = cast(IO[bytes], self.fd).read(row * self.state.ysize * (1 if most < 256 else 2))
        if most < 256:
            levels = bytes(min(255, round(value * 255 / most)) for value in range(256))
            self.set_as_raw(data.translate(levels), self.mode)
        else:
            self.set_as_raw(b"".join(_scaled(data, row, most, is_wide)), "I" if is_wide else self.mode)
        return -1, 0


def _scaled(data: bytes, row: int, most: int, is_wide: bool) -> Iterator[bytes]:
    """Scale samples of 16 bits, big-endian, some rows at a time."""
    scale = (65535 if is_wide else 255) / most
    step = 2 * row * max(1, SAMPLES_AT_ONCE // row)
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        samples = Image.frombytes("I;16B", (row, len(piece) // (2 * row)), piece)
        levels = samples.convert("I").point(lambda level: level * scale + 0.5)
        yield (levels if is_wide else levels.convert("L")).tobytes()


_read_profile = PngImagePlugin.PngStream.chunk_iCCP


def _read_profile_if_possible(stream: Any, position: int, length: int) -> bytes:
    """Read the colour profile of a PNG, or pass over it where it can't be read or is too large."""
    start = stream.fp.tell()
    try:
        return _read_profile(stream, position, length)
    except (ValueError, SyntaxError, IndexError):
        stream.fp.seek(start)
        return ImageFile._safe_read(stream.fp, length)


def _refuse(image: JpegImagePlugin.JpegImageFile, marker: int) -> None:
    raise BadImage


Image.register_decoder("bmp_rle", RunLengthDecoder)
Image.register_decoder("ppm", SamplesDecoder)
PngImagePlugin.PngStream.chunk_iCCP = _read_profile_if_possible  # type: ignore[method-assign,assignment]
JpegImagePlugin.MARKER |= dict.fromkeys(ARITHMETIC, ("", "", _refuse))  # type: ignore[arg-type]
