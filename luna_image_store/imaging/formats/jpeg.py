"""JPEG: a header parser as lenient as libjpeg, a decoder at reduced scales, and a check for missing pixels."""

import re
from collections.abc import Iterator
from io import BytesIO

from PIL import Image, ImageChops, ImageFile, JpegImagePlugin

from luna_image_store.imaging.formats.exif import read_orientation
from luna_image_store.imaging.formats.source import Source
from luna_image_store.imaging.limits import MAX_SCANNED_PIXELS

SOI, EOI, SOS, RESTART_INTERVAL, APP1, APP2, PROGRESSIVE = 0xD8, 0xD9, 0xDA, 0xDD, 0xE1, 0xE2, 0xC2
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # TEM and restarts
FRAMES = {0xC0, 0xC1, PROGRESSIVE}  # all with Huffman coding: baseline, extended sequential, progressive
OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}  # lossless, hierarchical, arithmetic (takes thirty times as long)
MODES = {1: "L", 3: "RGB", 4: "CMYK"}
EXIF, ICC = b"Exif\0\0", b"ICC_PROFILE\0"
MAX_SEGMENTS = 10_000
SCALES = (8, 4, 2)  # factors by which libjpeg can shrink while it decodes
FILL_LEVELS = range(126, 131)  # libjpeg's grey for missing data, in any mode, after rounding
REFINEMENT_PASSES = 6  # cost of a refinement scan, relative to other scans
ALL_COEFFICIENTS = 2**64 - 1  # of a block, one bit each
NOISE = bytes((37 * index + 11) % 251 for index in range(256))  # entropy-coded data without 0xFF

Box = tuple[float, float, float, float]

find_marker = re.compile(rb"\xff([\x01-\xfe])", re.DOTALL).search
find_restarts = re.compile(rb"\xff[\xd0-\xd7]", re.DOTALL).findall
find_marker_in_scan = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])", re.DOTALL).search  # 0, TEM and restarts belong to a scan


def read_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment up to the header of the first scan. Raise ValueError without a scan."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        if not (found := find_marker(data, position)) or found[1][0] in (SOI, EOI):
            raise ValueError("no scan")
        marker, position = found[1][0], found.end()
        if marker in WITHOUT_LENGTH:
            continue
        start, position = position + 2, position + int.from_bytes(data[position : position + 2])
        if not start <= position <= len(data):
            raise ValueError("a segment is longer than the file")
        yield marker, start, position
        if marker == SOS:
            return
    raise ValueError("too many segments")


class JpegFile(JpegImagePlugin.JpegImageFile):
    """Pillow's plug-in, but its header parser skips the metadata that Pillow would parse."""

    def __init__(self, data: bytes, colors: str) -> None:
        self._data, self._colors = data, colors
        self.exif: list[bytes] = []
        self.profile_parts: dict[int, bytes] = {}
        self.profile_count = self.restart_interval = 0
        super().__init__(BytesIO(data))
        self.decodermaxblock = len(data)  # with data in pieces, libjpeg would read long padding repeatedly

    def _open(self) -> None:
        data = self._data
        for marker, start, end in read_segments(data):
            if marker == APP1 and data.startswith(EXIF, start):
                self.exif.append(data[start + len(EXIF) : end])
            elif marker == APP2 and data.startswith(ICC, start):
                self._add_profile_part(data[start + len(ICC) : end])
            elif marker in FRAMES:
                self._read_frame(marker, data[start:end])
            elif marker == RESTART_INTERVAL:
                self.restart_interval = int.from_bytes(data[start : start + 2])
            elif marker in OTHER_FRAMES:
                raise ValueError("arithmetic, lossless or hierarchical")
        self.scan, self.scan_components = end, data[start]
        raw = "CMYK;I" if self.mode == "CMYK" and not self._colors else self.mode  # Adobe inverts CMYK
        self.tile = [ImageFile._Tile("jpeg", (0, 0, *self.size), 0, (raw, self._colors))]

    def _read_frame(self, marker: int, frame: bytes) -> None:
        if len(frame) < 6 or frame[0] != 8 or frame[5] not in MODES:
            raise ValueError("not 8 bits, or not 1, 3 or 4 components")
        self.is_progressive = marker == PROGRESSIVE
        self._size = int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3])
        self._mode = MODES[frame[5]]
        self.components, sampling = frame[6 : 6 + 3 * frame[5] : 3], frame[7 : 7 + 3 * frame[5] : 3]
        across, down = (
            (max(factor >> 4 for factor in sampling), max(factor & 15 for factor in sampling)) if frame[5] > 1 else (1, 1)
        )
        self.mcu_size = 8 * across, 8 * down

    def _add_profile_part(self, part: bytes) -> None:
        if len(part) > 2:
            self.profile_count = self.profile_count or part[1]
            self.profile_parts.setdefault(part[0], part[2:])


class JpegSource(Source):
    """A JPEG. `colors` is the color space of its data as a Pillow mode, or "" if libjpeg detects it."""

    format = "JPEG"

    def __init__(self, data: bytes, colors: str = "") -> None:
        self._data, self._colors = data, colors
        self._file = JpegFile(data, colors)
        self._is_fully_refined = True
        self.size = self._file.size
        if self._file.exif:
            self.orientation = read_orientation(b"".join(self._file.exif))
        if self._file.profile_count:
            self.profile = self._join_profile()

    def count_scanned_pixels(self) -> int:
        """Return the number of pixels, counted once per scan. Raise ValueError for too many, or a component without a scan."""
        file = self._file
        if not file.is_progressive and file.scan_components == len(file.components):
            return self.pixels  # libjpeg stops after such a scan
        coefficients: dict[int, int] = {}
        passes = 0
        for header in (self._data[file.scan - 2 * file.scan_components - 4 : file.scan], *self._later_scans()):
            count = header[0]
            first, last, precision = header[1 + 2 * count : 4 + 2 * count]
            passes += REFINEMENT_PASSES if first and precision >> 4 else 1
            bits = 0 if precision & 15 else (2 << last) - (1 << first)  # coefficients that no later scan refines
            for component in header[1 : 1 + 2 * count : 2]:
                coefficients[component] = coefficients.get(component, 0) | bits
        if self.pixels * passes > MAX_SCANNED_PIXELS or not coefficients.keys() >= set(file.components):
            raise ValueError("too many scans, or a component without one")
        self._is_fully_refined = file.is_progressive and all(coefficients[item] == ALL_COEFFICIENTS for item in file.components)
        return self.pixels * passes

    def decode(self) -> Image.Image:
        """Return all pixels at full size."""
        return self.decode_reduced(max(self.size))[0]

    def decode_complete(self) -> Image.Image:
        """Return all pixels at full size. Raise ValueError if pixels are missing."""
        image = self.decode()
        self.check_complete(image, max(self.size))
        return image

    def decode_reduced(self, longest: float) -> tuple[Image.Image, Box]:
        """Decode at the smallest scale with at least `longest` pixels on the longest side. Return it, and the box of the image."""
        return self._decode(self._file, longest)

    def check_complete(self, image: Image.Image, longest: float) -> None:
        """Raise ValueError if the data end before the decoded pixels.

        Without data, libjpeg continues with grey. The check costs time only if the last pixel is grey, or if refinement scans
        may be missing: it decodes the image again with noise after each scan. A pixel that changes had no data.
        """
        if self._count_missing_restarts() > 0:
            raise ValueError("restart intervals are missing")
        last = image.getpixel((image.width - 1, image.height - 1))
        if not self._is_fully_refined:  # at a reduced scale, missing refinements may be invisible
            longest = max(self.size)
            image, _ = self._decode(JpegFile(self._data, self._colors), longest)
        elif not all(level in FILL_LEVELS for level in (last if isinstance(last, tuple) else (last,))):
            return
        noisy, _ = self._decode(JpegFile(self._add_noise(), self._colors), longest)
        if ImageChops.difference(image, noisy).getbbox(alpha_only=False):
            raise ValueError("pixels are missing")

    def _count_missing_restarts(self) -> int:
        """Count the missing restart markers of a sequential image of one scan. Without one, libjpeg invents pixels."""
        file = self._file
        if not file.restart_interval or file.is_progressive or file.scan_components != len(file.components):
            return 0
        mcus = -(-self.size[0] // file.mcu_size[0]) * -(-self.size[1] // file.mcu_size[1])
        end = next(self._markers(), (EOI, len(self._data)))[1]
        return -(-mcus // file.restart_interval) - 1 - len(find_restarts(self._data, file.scan, end))

    def _add_noise(self) -> bytes:
        parts, start, is_scan = [], 0, True
        for marker, position in self._markers():
            if is_scan:
                parts += [self._data[start : position - 2], NOISE]
                start = position - 2
            is_scan = marker == SOS
        return b"".join((*parts, self._data[start:]))

    def _decode(self, file: JpegFile, longest: float) -> tuple[Image.Image, Box]:
        width, height = self.size
        scale = next((scale for scale in SCALES if max(self.size) >= scale * longest), 1)
        drafted = file.draft(None, (max(1, width // scale), max(1, height // scale))) if scale > 1 else None
        file.load()
        return file, drafted[1] if drafted else (0, 0, width, height)

    def _join_profile(self) -> bytes | None:
        parts = [self._file.profile_parts.get(number + 1) for number in range(self._file.profile_count)]
        return None if None in parts else b"".join(filter(None, parts))

    def _later_scans(self) -> Iterator[bytes]:
        """Yield the headers of all scans but the first, up to the end of the image."""
        for marker, position in self._markers():
            if marker == SOS:
                yield self._data[position + 2 : position + int.from_bytes(self._data[position : position + 2])]

    def _markers(self) -> Iterator[tuple[int, int]]:
        """Yield the markers after the first scan, up to the end of the image, each with its end. Raise ValueError for too many."""
        position = self._file.scan
        for _ in range(MAX_SEGMENTS):
            if not (found := find_marker_in_scan(self._data, position)):
                return
            marker, position = found[1][0], found.end()
            if marker == SOI:
                raise ValueError("an image within a scan")
            yield marker, position
            if marker == EOI:
                return
            position += int.from_bytes(self._data[position : position + 2])
        raise ValueError("too many markers")
