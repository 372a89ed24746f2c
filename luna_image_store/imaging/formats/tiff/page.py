"""The description of a page in the directory: its samples and its pieces. A piece is a strip or a tile."""

from bisect import bisect_right
from dataclasses import dataclass

from luna_image_store.imaging.formats.tiff.directory import Directory

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR = 277, 278, 279, 284
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING = 322, 323, 324, 325, 338, 339, 530
UNCOMPRESSED, OLD_JPEG = 1, 6
ASSOCIATED, UNASSOCIATED = 1, 2  # kinds of alpha
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLORS = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    CMYK: 4,
    YCBCR: 3,
    CIELAB: 3,
    ICCLAB: 3,
}  # samples, by photometric interpretation
UNSIGNED = {1, 4}  # sample formats; 4 is undefined
MAX_SAMPLES, MAX_PIECES, MIN_TILE = 6, 500_000, 8  # in TIFF 6.0, sides of tiles have 16 pixels or more
MAX_OVERLAP = 2**24  # bytes that the pieces may have in addition to twice the length of the file

Piece = tuple[int, int]  # offset and length in bytes


@dataclass(frozen=True)
class Layout:
    """The layout of the pieces of a plane: the size of each in pixels, and the number of pieces across and down.

    `rows` is the sum of the rows of all pieces. The last strip may have fewer rows than the others.
    """

    width: int
    height: int
    across: int
    down: int
    rows: int

    @property
    def count(self) -> int:
        """Return the number of pieces."""
        return self.across * self.down

    def rows_of(self, piece: int) -> int:
        """Return the number of rows of a piece."""
        return min(self.height, self.rows - piece * self.height)


@dataclass(frozen=True)
class Page:
    """A page with supported samples.

    `planes` is 1 if the samples of a pixel are stored together. `alpha` is the index of the alpha sample. If alpha is
    associated, the colors are multiplied by it.
    """

    size: tuple[int, int]
    compression: int
    photometric: int
    bits: int
    samples: int
    planes: int
    alpha: int | None
    is_associated: bool
    subsampling: tuple[int, int]
    layout: Layout

    @property
    def pixels(self) -> int:
        """Return the number of pixels of all pieces. Pieces at the edges are unpacked completely."""
        return max(self.size[0] * self.size[1], self.layout.width * self.layout.rows)

    @property
    def used_samples(self) -> int:
        """Return the number of used samples: the colors, and all samples up to alpha."""
        return COLORS[self.photometric] if self.alpha is None else self.alpha + 1

    @property
    def samples_in_piece(self) -> int:
        """Return the number of samples of a pixel in one piece."""
        return 1 if self.planes > 1 else self.samples

    def packed_rows(self, rows: int) -> tuple[int, int]:
        """Return the bytes per row and the number of rows of an unpacked piece with `rows` rows of pixels."""
        if self.photometric == YCBCR:
            across, down = self.subsampling
            return -(-self.layout.width // across) * (across * down + 2), -(-rows // down)
        return -(-self.layout.width * self.samples_in_piece * self.bits // 8), rows


def read_page(tags: Directory) -> Page:
    """Read the description of a page. Raise ValueError if it is broken, or its samples have no defined white level."""
    size = tags.integer(WIDTH, 0), tags.integer(LENGTH, 0)
    compression, samples = tags.integer(COMPRESSION, UNCOMPRESSED), tags.integer(SAMPLES, 1)
    photometric = YCBCR if compression == OLD_JPEG else tags.integer(PHOTOMETRIC, RGB if samples > 2 else WHITE_IS_ZERO)
    samples = COLORS[YCBCR] if compression == OLD_JPEG else samples
    bits = set(tags.integers(BITS, min(samples, MAX_SAMPLES)) or (1,))
    if min(size) < 1 or len(bits) > 1 or not UNSIGNED.issuperset(tags.integers(SAMPLE_FORMAT, MAX_SAMPLES)):
        raise ValueError("the samples have no defined white level")
    planes = samples if tags.integer(PLANAR, 1) == 2 else 1
    subsampling = (*tags.integers(SUBSAMPLING, 2), 2, 2)[:2]
    layout = _read_layout(tags, size)
    kinds = dict(enumerate(tags.integers(EXTRA_SAMPLES, MAX_SAMPLES), COLORS.get(photometric, 0)))
    alpha = next((place for place, kind in kinds.items() if kind in (ASSOCIATED, UNASSOCIATED) and place < samples), None)
    page = Page(
        size,
        compression,
        photometric,
        bits.pop(),
        samples,
        planes,
        alpha,
        alpha is not None and kinds[alpha] == ASSOCIATED,
        (subsampling[0], subsampling[1]),
        layout,
    )
    _check_samples(page)
    return page


def _check_samples(page: Page) -> None:
    if not 0 < COLORS.get(page.photometric, 0) <= page.samples <= MAX_SAMPLES:
        raise ValueError("no colors, or too many samples")
    depths: tuple[int, ...] = (8, 16) if page.samples > 1 else (1, 2, 4, 8, 12, 16)
    if page.photometric == PALETTE:
        depths = depths[: depths.index(8) + 1]
    if page.photometric == YCBCR:
        depths = (8,)
        if page.samples != 3 or not {1, 2, 4}.issuperset(page.subsampling):
            raise ValueError("subsampling that is not 1, 2 or 4")
    if page.bits not in depths:
        raise ValueError("unsupported bits per sample for these colors")


def _read_layout(tags: Directory, size: tuple[int, int]) -> Layout:
    width, height = size
    if TILE_WIDTH in tags:
        tile_width, tile_height = tags.integer(TILE_WIDTH, 0), tags.integer(TILE_LENGTH, 0)
        if min(tile_width, tile_height) < MIN_TILE:
            raise ValueError("tiles that are too small")
        across, down = -(-width // tile_width), -(-height // tile_height)
        return Layout(tile_width, tile_height, across, down, tile_height * across * down)
    rows = min(tags.integer(ROWS_PER_STRIP, height), height)
    if rows < 1:
        raise ValueError("a strip without rows")
    return Layout(width, rows, 1, -(-height // rows), height)


def read_pieces(tags: Directory, page: Page, length: int) -> tuple[Piece, ...]:
    """Return the pieces in a file of `length` bytes. Correct wrong or missing lengths as libtiff does."""
    count = page.layout.count * page.planes
    if count > MAX_PIECES:
        raise ValueError("too many strips or tiles")
    offsets = tags.integers(TILE_OFFSETS if TILE_OFFSETS in tags else STRIP_OFFSETS, count)
    lengths = tags.integers(TILE_COUNTS if TILE_COUNTS in tags else STRIP_COUNTS, count)
    if page.compression == UNCOMPRESSED:
        lengths = _uncompressed_lengths(page, count, lengths)
    elif not any(lengths):
        ends = [*sorted(offsets), length]
        lengths = tuple(ends[bisect_right(ends, offset, hi=len(offsets))] - offset for offset in offsets)
    else:
        lengths = tuple(min(declared, length - offset) for offset, declared in zip(offsets, lengths, strict=False))
    pieces = tuple(zip(offsets, lengths, strict=False))
    if len(pieces) < count or any(size < 1 or offset + size > length for offset, size in pieces):
        raise ValueError("a strip or a tile is not in the file")
    if sum(lengths) > 2 * length + MAX_OVERLAP:
        raise ValueError("strips or tiles overlap")
    return pieces


def _uncompressed_lengths(page: Page, count: int, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Compute the lengths of uncompressed pieces. Raise ValueError if one of several pieces has a shorter declared length."""
    sizes = (page.packed_rows(page.layout.rows_of(piece % page.layout.count)) for piece in range(count))
    required_lengths = tuple(row * rows for row, rows in sizes)
    if count > 1 and any(0 < declared < required for declared, required in zip(lengths, required_lengths, strict=False)):
        raise ValueError("a strip or a tile is too short")
    return required_lengths
