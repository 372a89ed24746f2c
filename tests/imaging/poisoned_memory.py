"""Render truncated files in memory that MALLOC_PERTURB_ fills; print a digest of each outcome as JSON."""

import hashlib
import json
import zlib

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import render

from .file_writers import chunk, frame, gif, tiff
from .measure import DEFAULT, encoded, photo

LENGTHS = 40  # number of lengths to which each file is truncated
SMALL = photo(72, 56)
FAX, GREY = SMALL.convert("1"), SMALL.convert("L")
STRIP = {278: 16}  # rows per strip, for several strips


def fax_page(height, **more):
    tags = {256: (4, [2048]), 257: (4, [height]), 258: (3, [1]), 259: (3, [4]), 262: (3, [0]), 277: (3, [1]), 278: (4, [height])}
    return tags | {int(tag[1:]): value for tag, value in more.items()}


def white_rows(count):
    """Encode white rows in group 4, and the end of the page."""
    bits = "1" * count + "000000000001" * 2
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8)


def jpeg_strip(width, height):
    return encoded(photo(width, height), quality=80)


def sources():
    """Yield files of all formats, in all compressions."""
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": "4:4:4"}):
        yield f"JPEG {options}", encoded(SMALL, **options)
    for mode in ("1", "L", "P", "RGB", "RGBA", "I;16"):
        yield f"PNG {mode}", encoded(photo(72, 56, "L").convert("I;16") if mode == "I;16" else photo(72, 56, mode), "PNG")
    for mode in ("1", "L", "P", "RGB"):
        yield f"BMP {mode}", encoded(photo(72, 56, mode), "BMP")
    for kind in ("PPM", "GIF"):
        yield kind, encoded(SMALL, kind)
    yield from tiffs()


def tiffs():
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        for mode in ("L", "RGB", "CMYK"):
            yield f"TIFF {compression} {mode}", encoded(photo(72, 56, mode), "TIFF", compression=compression, tiffinfo=STRIP)
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        yield f"TIFF {compression} with predictor", encoded(SMALL, "TIFF", compression=compression, tiffinfo=STRIP | {317: 2})
    for compression in ("tiff_ccitt", "group3", "group4"):
        yield f"TIFF {compression}", encoded(FAX, "TIFF", compression=compression, tiffinfo=STRIP)
        yield f"TIFF {compression} of one strip", encoded(FAX, "TIFF", compression=compression)
    yield "TIFF group 3 in two dimensions", encoded(FAX, "TIFF", compression="group3", tiffinfo={292: 1})


def long_files():
    """Yield TIFFs with more compressed data than rows. Each must be accepted."""
    tags = {256: (4, [256]), 257: (4, [64]), 258: (3, [8]), 259: (3, [8]), 262: (3, [1]), 277: (3, [1]), 278: (4, [64])}
    for level in (0, 9):
        strip = zlib.compress(bytes(range(256)) * 234, level)
        yield f"deflate of level {level}", tiff(tags, strip)
        yield f"deflate of level {level}, differences", tiff(tags | {317: (3, [2])}, strip)
        yield (
            f"deflate of level {level}, tiles",
            tiff({tag: value for tag, value in tags.items() if tag != 278} | {322: (3, [256]), 323: (3, [64])}, strip, tiles=True),
        )
        yield (
            f"deflate of level {level}, YCbCr",
            tiff(
                tags | {258: (3, [8] * 3), 262: (3, [6]), 277: (3, [3]), 530: (3, [1, 1])},
                zlib.compress(bytes(range(256)) * 234, level),
            ),
        )
        yield (
            f"deflate of level {level}, bits in reverse",
            tiff(tags | {266: (3, [2])}, bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip)),
        )


def short_files():
    """Yield files with a proper end but too few pixels. Each must be refused."""
    for rows in (1, 2, 100, 2046):  # libtiff fills the row at the end of the codes with white
        yield f"group 4, {rows} rows", tiff(fax_page(2048), white_rows(rows))
    yield "group 4, the second strip", tiff(fax_page(2048, t278=(4, [1024])), white_rows(1024), white_rows(9))
    yield (
        "group 4, tiles",
        tiff(
            {tag: value for tag, value in fax_page(64, t256=(4, [64]), t322=(4, [32]), t323=(4, [32])).items() if tag != 278},
            *(white_rows(rows) for rows in (32, 32, 7, 32)),
            tiles=True,
        ),
    )
    yield (
        "group 4, bits in reverse",
        tiff(fax_page(2048, t266=(3, [2])), bytes(int(f"{byte:08b}"[::-1], 2) for byte in white_rows(5))),
    )
    colors = {256: (4, [72]), 257: (4, [56]), 258: (3, [8] * 3), 259: (3, [7]), 262: (3, [6]), 277: (3, [3]), 278: (4, [56])}
    yield "a JPEG strip with too few rows", tiff(colors, jpeg_strip(72, 40))
    yield "a JPEG strip with too few columns", tiff(colors, jpeg_strip(64, 56))
    complete = jpeg_strip(72, 56)
    yield "a truncated JPEG strip with an end marker", tiff(colors, complete[: len(complete) // 2] + b"\xff\xd9")
    yield "a truncated JPEG with an end marker", complete[: len(complete) // 2] + b"\xff\xd9"
    png = encoded(SMALL, "PNG")
    yield "PNG", png[:33] + chunk(b"IDAT", bytes.fromhex("789c030000000001")) + png[-12:]
    yield "GIF", gif((72, 56), frame((0, 0, 72, 56), bytes(72 * 55)), palette=b"\1\2\3")


def digest(data):
    try:
        stored = render(data, DEFAULT)
    except BadImage:
        return "refused"
    return hashlib.sha256(b"".join((stored.jpeg, *stored.previews.values()))).hexdigest()


def truncations(data):
    return (data[: len(data) * part // LENGTHS] for part in range(1, LENGTHS + 1))


if __name__ == "__main__":
    outcomes = {
        f"{name}, cut {place}": digest(data) for name, source in sources() for place, data in enumerate(truncations(source))
    }
    print(json.dumps(outcomes | {name: digest(data) for name, data in (*long_files(), *short_files())}))
