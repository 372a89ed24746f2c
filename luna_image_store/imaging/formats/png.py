"""PNG: the decoder receives only the chunks that make the pixels, so other chunks cost little and cause no errors."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO

from PIL import Image, ImageFile, PngImagePlugin

from luna_image_store.imaging.formats.exif import read_orientation
from luna_image_store.imaging.formats.source import Source

SIGNATURE, END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
MAX_CHUNKS = 200_000
MAX_UNPACKED = 2**20  # bytes of a profile or of a text with EXIF
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by color type
PALETTE = 3
KEY_LENGTHS = {0: 2, 2: 6}  # bytes of the transparent color, by color type
KEY_SCALES: Mapping[object, float] = {"L;2": 85, "L;4": 17, "I;16B": 1 / 257, "RGB;16B": 1 / 256}  # from samples to 8-bit levels
USED_CHUNKS = {b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"tEXt", b"zTXt"}
EXIF_TEXTS = (b"Raw profile type exif\0", b"Raw profile type APP1\0")  # ImageMagick stores EXIF in these texts, in hexadecimal
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # first x and y, and their steps, in the passes of Adam7

Chunk = tuple[bytes, memoryview, bool]


class PngSource(Source):
    """A PNG: the default image if it is animated."""

    format = "PNG"

    def __init__(self, data: bytes) -> None:
        self._pixels: list[memoryview] = []
        self._others: dict[bytes, bytes] = {}
        chunks = _read_chunks(data)
        self._read_header(next(chunks, None))
        for name, content, is_intact in chunks:
            if name == b"IDAT":
                self._pixels.append(content)
            elif is_intact and not (name in (b"tRNS", b"iCCP") and self._pixels):
                self._store(name, content)
        if not self._pixels or END not in data or (self._color_type == PALETTE and b"PLTE" not in self._others):
            raise ValueError("no pixels, no palette or no end")
        if b"iCCP" in self._others:
            unpacked, is_complete = _unpack_after_name(self._others[b"iCCP"])
            self.profile = unpacked if is_complete else None
        self.orientation = read_orientation(self._read_exif().removeprefix(b"Exif\0\0"))

    def _store(self, name: bytes, content: memoryview) -> None:
        """Store the first chunk of each used type. Texts are used only if they contain EXIF."""
        if name in (b"tEXt", b"zTXt") and bytes(content[:22]) not in EXIF_TEXTS:
            return
        if name in USED_CHUNKS:
            self._others.setdefault(name, bytes(content))

    def _read_exif(self) -> bytes:
        return self._others.get(b"eXIf") or _exif_of_text(self._others.get(b"tEXt", b"")[22:] or self._unpack_text())

    def _unpack_text(self) -> bytes:
        return _unpack_after_name(self._others.get(b"zTXt", b""))[0]

    def _read_header(self, chunk: Chunk | None) -> None:
        if not chunk or chunk[0] != b"IHDR" or len(chunk[1]) != 13 or not chunk[2] or chunk[1][9] not in SAMPLES:
            raise ValueError("the header is broken")
        self._header = bytes(chunk[1])
        width, height, self._depth, self._color_type, _, _, self._interlace = struct.unpack(">IIBBBBB", self._header)
        self.size = width, height

    def decode(self) -> Image.Image:
        """Return all pixels."""
        image = PngImagePlugin.PngImageFile(BytesIO(b"".join(self._minimal_file())))
        _scale_key(image)
        image.load()
        last_row = image.crop((0, image.height - 1, image.width, image.height))
        if (self._interlace or not any(last_row.tobytes())) and not self._is_complete():
            raise ValueError("rows are missing")
        return image

    def _minimal_file(self) -> Iterator[bytes | memoryview]:
        """Yield a file with only the chunks that make the pixels. Pillow does not check the CRC of pixels."""
        yield SIGNATURE
        yield _write_chunk(b"IHDR", self._header)
        if self._color_type == PALETTE:
            yield _write_chunk(b"PLTE", self._others[b"PLTE"][:768])
        key = self._others.get(b"tRNS")
        if key and (self._color_type == PALETTE or len(key) == KEY_LENGTHS.get(self._color_type)):
            yield _write_chunk(b"tRNS", key[:256])
        yield struct.pack(">I4s", sum(map(len, self._pixels)), b"IDAT")
        yield from self._pixels
        yield bytes(4)
        yield _write_chunk(b"IEND", b"")

    def _is_complete(self) -> bool:
        """Return whether the data contain all rows. Pillow accepts fewer if the stream ends properly."""
        left, unpacker = self._inflated_size(), zlib.decompressobj()
        for content in self._pixels:
            packed: bytes | memoryview = content
            while packed and left > 0 and not unpacker.eof:
                left -= len(unpacker.decompress(packed, MAX_UNPACKED))
                packed = unpacker.unconsumed_tail
        return left <= 0

    def _inflated_size(self) -> int:
        bits = self._depth * SAMPLES[self._color_type]
        passes = PASSES if self._interlace else ((0, 0, 1, 1),)
        sizes = [(_steps(self.size[0], x, dx), _steps(self.size[1], y, dy)) for x, y, dx, dy in passes]
        return sum(height * (1 + (width * bits + 7) // 8) for width, height in sizes if width)


def _steps(length: int, start: int, step: int) -> int:
    return max(0, (length - start + step - 1) // step)


def _read_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield name and content of each chunk, and whether its CRC is right. The CRC of pixels is not checked."""
    position, view = len(SIGNATURE), memoryview(data)
    for _ in range(MAX_CHUNKS):
        length, name = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data) or name == b"IEND":
            return
        yield name, view[position + 8 : end], name == b"IDAT" or data[end : end + 4] == _crc(view[position + 4 : end])
        position = end + 4
    raise ValueError("too many chunks")


def _crc(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(4)


def _write_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + _crc(name + content)


def _unpack_after_name(content: bytes) -> tuple[bytes, bool]:
    """Inflate the data after a name and a method, up to MAX_UNPACKED bytes. Return too whether they are complete."""
    _, _, packed = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    if packed[:1] != b"\0":
        return b"", False
    try:
        unpacked = unpacker.decompress(packed[1:], MAX_UNPACKED)
    except zlib.error:
        return b"", False
    return unpacked, unpacker.eof


def _exif_of_text(text: bytes) -> bytes:
    """Return EXIF from a text: an empty line, a line with a name, a line with a length, lines of hexadecimal digits."""
    digits = b"".join(text[: 2 * MAX_UNPACKED].split(b"\n")[3:])
    try:
        return bytes.fromhex(digits[: len(digits) & ~1].decode("ascii"))
    except ValueError:
        return b""


def _scale_key(image: ImageFile.ImageFile) -> None:
    """Scale the transparent color of a PNG to 8 bits, as Pillow scales the pixels."""
    key, raw_mode = image.info.get("transparency"), image.tile[0].args
    if key is not None and (scale := KEY_SCALES.get(raw_mode)):
        levels = [int(level * scale) for level in (key if isinstance(key, tuple) else (key + 0.5 / scale,))]
        image.info["transparency"] = tuple(levels) if isinstance(key, tuple) else levels[0]
