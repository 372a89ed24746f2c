"""Writers of TIFFs with one page, in every sample format, compression and layout of pieces."""

import struct
import sys
import zlib
from array import array

from PIL import Image

from .file_writers import lzw, pack_bits, tiff

PACK = {
    1: bytes,
    5: lambda data: lzw(data, 8, early=1, most_significant_first=True),
    8: zlib.compress,
    32773: pack_bits,
    32946: zlib.compress,
}
COMPRESSIONS = {1: "not packed", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "old deflate"}
ONE_STRIP, STRIPS, TILES = "one strip", "strips", "tiles"
ROWS, TILE = 5, 16  # rows of a strip; width and height of a tile


def boxes(size, layout):
    """Return the boxes of the pieces."""
    width, height = size
    if layout == TILES:
        return [(x, y, x + TILE, y + TILE) for y in range(0, height, TILE) for x in range(0, width, TILE)]
    rows = ROWS if layout == STRIPS else height
    return [(0, y, width, min(height, y + rows)) for y in range(0, height, rows)]


def sample_bytes(band, depth, order):
    if depth == 8:
        return band.tobytes()
    words = array("H", (level * 257 for level in band.tobytes()))
    if (sys.byteorder == "little") != (order == "<"):
        words.byteswap()
    return words.tobytes()


def interleaved(planes, width):
    return b"".join(b"".join(plane[start : start + width] for plane in planes) for start in range(0, len(planes[0]), width))


def differences(data, width, samples, depth, order):
    """Replace each sample by its difference from the sample of the previous pixel."""
    form = f"{order}{width * samples}{'B' if depth == 8 else 'H'}"
    rows = (struct.unpack_from(form, data, start) for start in range(0, len(data), struct.calcsize(form)))
    return b"".join(
        struct.pack(form, *((value - before) % 2**depth for before, value in zip((*[0] * samples, *row), row, strict=False)))
        for row in rows
    )


def pieces(bands, depth=8, order="<", planar=False, layout=ONE_STRIP, predictor=1, compression=1):
    """Yield the compressed pieces, plane by plane."""
    for group in ([band] for band in bands) if planar else [bands]:
        for box in boxes(bands[0].size, layout):
            planes = [sample_bytes(band.crop(box), depth, order) for band in group]
            data = interleaved(planes, depth // 8)
            if predictor == 2:
                data = differences(data, box[2] - box[0], len(group), depth, order)
            yield PACK[compression](data)


def tags(size, photometric, samples, depth=8, planar=False, layout=ONE_STRIP, predictor=1, compression=1, **more):
    page_tags = {
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        258: (3, [depth] * samples),
        259: (3, [compression]),
        262: (3, [photometric]),
    }
    page_tags |= {277: (3, [samples]), 284: (3, [2 if planar else 1]), 317: (3, [predictor])}
    page_tags |= {322: (3, [TILE]), 323: (3, [TILE])} if layout == TILES else {278: (4, [ROWS if layout == STRIPS else size[1]])}
    return page_tags | {int(tag[1:]): value for tag, value in more.items()}


def page(photometric, bands, depth=8, order="<", extra=(), layout=ONE_STRIP, planar=False, predictor=1, compression=1, **more):
    """Write a TIFF of bands of 8 bits, in samples of `depth` bits."""
    if extra:
        more["t338"] = (3, extra)
    page_tags = tags(bands[0].size, photometric, len(bands), depth, planar, layout, predictor, compression, **more)
    return tiff(page_tags, *pieces(bands, depth, order, planar, layout, predictor, compression), order=order, tiles=layout == TILES)


def on_white(image, alpha):
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
