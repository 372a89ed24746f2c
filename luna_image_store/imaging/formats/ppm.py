"""PBM, PGM and PPM of any depth, binary or plain text."""

import re
from collections.abc import Iterator

from PIL import Image

from luna_image_store.imaging.formats.source import Source
from luna_image_store.imaging.limits import Deadline

BITMAP_TEXT, BITMAP = b"P1", b"P4"
TEXTS = (b"P1", b"P2", b"P3")
BANDS = {b"P3": 3, b"P6": 3}
MAX_COMMENTS = 10_000
PIECE_LENGTH = 2**18  # bytes of text, or samples, that are processed at once
WHITESPACE = b" \t\n\v\f\r"
BLACK_ON_WHITE = bytes.maketrans(b"01", b"\xff\0")

match_number = re.compile(rb"(?:[ \t\n\v\f\r]++|#[^\n\r]*+[\n\r])++([0-9]{1,10})(?![0-9])").match
drop_comments = re.compile(rb"#[^\n\r]*+").sub


class PpmSource(Source):
    """A PBM, PGM or PPM: the first image in the file."""

    format = "PPM"

    def __init__(self, data: bytes) -> None:
        self._data, self._kind = data, data[:2]
        is_bitmap = self._kind in (BITMAP_TEXT, BITMAP)
        numbers, self._start = _read_numbers(data, 2 if is_bitmap else 3)
        self.size = numbers[0], numbers[1]
        self._max = 1 if is_bitmap else numbers[2]
        if not 0 < self._max < 2**16:
            raise ValueError("the largest value is not from 1 to 65535")

    def decode(self) -> Image.Image:
        """Return all pixels, in 8 bits or 1 bit."""
        if self._kind == BITMAP:
            return Image.frombytes("1", self.size, self._data[self._start :], "raw", "1;I")
        bands = BANDS.get(self._kind, 1)
        levels = self._read(self.pixels * bands)
        return Image.frombytes("RGB" if bands == 3 else "L", self.size, levels)

    def _read(self, count: int) -> bytes:
        if self._kind in TEXTS:
            if self._data.count(b"#") > MAX_COMMENTS:
                raise ValueError("too many comments")
            text = drop_comments(b"", self._data[self._start :])
            return _read_bits(text, count) if self._kind == BITMAP_TEXT else self._read_text(text, count)
        data = self._data[self._start : self._start + count * (1 if self._max < 256 else 2)]
        if self._max < 256:
            return data if self._max == 255 else data.translate(self._levels().ljust(256, b"\xff"))
        return b"".join(_scale_words(data, 255 / self._max))

    def _read_text(self, text: bytes, count: int) -> bytes:
        levels, result, deadline = self._levels(), bytearray(), Deadline()
        for piece in _split(text):
            deadline.check()
            result += bytes(map(levels.__getitem__, map(int, piece[: count - len(result)])))
            if len(result) >= count:
                break
        return bytes(result[:count])

    def _levels(self) -> bytes:
        return bytes(round(value * 255 / self._max) for value in range(self._max + 1))


def _read_numbers(data: bytes, count: int) -> tuple[list[int], int]:
    """Return the numbers of the header, and the start of the pixels."""
    numbers, position = [], 2
    for _ in range(count):
        if not (found := match_number(data, position)):
            raise ValueError("a number is missing in the header")
        numbers.append(int(found[1]))
        position = found.end()
    return numbers, position + 1


def _read_bits(text: bytes, count: int) -> bytes:
    bits = text.translate(None, WHITESPACE)[:count]
    if bits.strip(b"01"):
        raise ValueError("a bit that is not 0 or 1")
    return bits.translate(BLACK_ON_WHITE)


def _split(text: bytes) -> Iterator[list[bytes]]:
    """Split a text at whitespace, a piece at a time."""
    rest = b""
    for start in range(0, len(text), PIECE_LENGTH):
        *words, rest = (rest + text[start : start + PIECE_LENGTH] + b"|").split()
        rest = rest[:-1]
        if b"-" in text[start : start + PIECE_LENGTH] or len(rest) > PIECE_LENGTH:
            raise ValueError("a number is negative or too long")
        yield words
    yield rest.split()


def _scale_words(data: bytes, scale: float) -> Iterator[bytes]:
    """Scale big-endian 16-bit samples to 8 bits, a piece at a time."""
    for start in range(0, len(data) - 1, 2 * PIECE_LENGTH):
        piece = data[start : start + 2 * PIECE_LENGTH]
        words = Image.frombytes("I;16B", (len(piece) // 2, 1), piece)
        yield words.convert("I").point(lambda level: level * scale + 0.5).convert("L").tobytes()
