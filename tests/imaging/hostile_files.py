"""Render one hostile file in a new process: `python -m tests.imaging.hostile_files NAME` prints outcome, seconds and MB.

Seconds are CPU time. MB are the peak memory of the process; before rendering they are about 40 and twice the size of the file.
"""

import json
import resource
import struct
import sys
import time
import zlib
from pathlib import Path
from random import Random

from luna_image_store.errors import BadImage, TooManyPixels
from luna_image_store.imaging import render as imaging

from .file_writers import chunk, frame, gif, tiff
from .measure import DEFAULT, encoded, photo
from .profiles import DISPLAY_P3, SRGB_CURVE, profile, xyz

MIB = 2**20
SMALL = photo(64, 48)
JPEG, PNG = encoded(SMALL), encoded(SMALL, "PNG")
GIF = gif((64, 48), frame((0, 0, 64, 48), bytes(64 * 48)), palette=b"\1\2\3")
PAGE = {258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1])}


def after(head, extra, data, size):
    """Repeat `extra` up to a size, and insert it after the first `head` bytes of a file."""
    return data[:head] + extra * (size // len(extra)) + data[head:]


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def overlapping_exif(count, size):
    """Return EXIF in which all tags share the bytes of their value."""
    tags = b"".join(struct.pack("<HHII", tag, 7, size, 8) for tag in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + tags.ljust(size, b"\0")


def jpeg_with_exif(exif):
    """Split EXIF into segments. Leave out JFIF, because Pillow would not read EXIF while opening with it."""
    pieces = (segment(0xE1, b"Exif\0\0" + exif[start : start + 65000]) for start in range(0, len(exif), 65000))
    return JPEG[:2] + b"".join(pieces) + JPEG[20:]


def rle_bmp(width, height, codes):
    """Return a run-length encoded BMP with a black palette."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(codes), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(codes), 0, 0, 1078) + head + bytes(1024) + codes


def scans(side, count, frame=0xC2):
    """Return a JPEG with many scans of a few bytes that change nothing. It is progressive if the frame marker says so."""
    runs = -(-(((side + 7) // 8) ** 2) // 16384)
    bits = "000000000000000" * runs
    coded = int(bits + "1" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8))
    tables = segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    scan = segment(0xDA, b"\1\1\0\1\x3f\0") + coded
    return b"\xff\xd8" + tables + segment(frame, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0") + scan * count + b"\xff\xd9"


def refining_scans(side, count):
    """Return a progressive JPEG with scans that refine coefficients of 0."""
    data = scans(side, 1)
    scan = data[data.index(b"\xff\xda") : -2]
    return data[:-2] + scan.replace(b"\1\x3f\0", b"\1\x3f\x10", 1) * count + data[-2:]


def endless_profile(count):
    """Return a profile with a tag of many processing elements that share the same bytes."""
    curve = b"curf" + bytes(4) + struct.pack(">HH", 1, 0) + b"parf" + bytes(8) + struct.pack(">4f", 1.1, 1, 0, 0)
    element = b"cvst" + bytes(4) + struct.pack(">HH", 3, 3) + struct.pack(">II", 36, len(curve)) * 3 + curve
    head = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, count)
    elements = head + struct.pack(">II", 16 + 8 * count, len(element)) * count + element
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, zip(*DISPLAY_P3, strict=True)), strict=True))
    return profile(b"RGB ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), SRGB_CURVE) | {b"D2B0": elements})


def png_rows(side, *pieces):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return PNG[:8] + header + b"".join(chunk(b"IDAT", piece) for piece in pieces) + PNG[-12:]


def zeros(count):
    """Return `count` zeros in compressed form."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(count // MIB)) + packer.flush()


def sized(width, height, **more):
    return PAGE | {256: (4, [width]), 257: (4, [height])} | {int(tag[1:]): value for tag, value in more.items()}


def overlapping_tags(count, size):
    """Return a TIFF in which all tags share the bytes of their value."""
    data = bytearray(tiff(sized(16, 16) | {tag: (7, bytes(8)) for tag in range(1000, 1000 + count)}, bytes(256)))
    directory = struct.unpack_from("<I", data, 4)[0] + 2
    for entry in range(directory, directory + 12 * (count + 8), 12):
        if struct.unpack_from("<H", data, entry)[0] >= 1000:
            struct.pack_into("<II", data, entry + 4, size, 8)
    return bytes(data).ljust(8 + size, b"\0")


def looping_tiff():
    """Return a TIFF with a page that is its own next page."""
    data = tiff(sized(16, 16), bytes(256))
    return data[:-4] + data[4:8]


def tiff_without_pixels():
    """Return a TIFF with a strip beyond the end of the file."""
    data = tiff(sized(16, 16), bytes(256))
    entry = struct.pack("<HHI", 273, 4, 1)
    return data.replace(entry + struct.pack("<I", 8), entry + struct.pack("<I", 10**9))


def tiff_of_shared_strips():
    """Return a TIFF of 8000 strips that share the same bytes."""
    row = zlib.compress(bytes(8000))
    data = tiff(sized(8000, 8000, t259=(3, [8]), t278=(4, [1])), *[b""] * 7999, row)
    return data.replace(struct.pack("<8000I", *[0] * 7999, len(row)), struct.pack("<8000I", *[len(row)] * 8000))


def raw_profile(exif):
    """Write EXIF as ImageMagick stores it in a text."""
    return b"\nexif\n%8d\n" % (len(exif) + 6) + (b"Exif\0\0" + exif).hex().encode() + b"\n"


def random_bytes(count):
    return Random(1).randbytes(count)


def changed_bmp(offset, form, *values):
    data = bytearray(encoded(SMALL, "BMP"))
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


def png_of_size(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + PNG[33:]


def jpeg_of_size(width, height):
    data = bytearray(JPEG)
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


ACCEPTED, REFUSED, TOO_LARGE = "accepted", "BadImage", "TooManyPixels"
CASES = {
    "a GIF of 10,000 frames": (ACCEPTED, lambda: GIF[:-1] + frame((0, 0, 64, 48), bytes(64 * 48)) * 10_000 + b";"),
    "a TIFF of 1000 pages": (
        ACCEPTED,
        lambda: encoded(SMALL, "TIFF", save_all=True, append_images=[SMALL] * 999),
    ),
    "a TIFF that loops": (ACCEPTED, looping_tiff),
    "a JPEG of too many pixels": (TOO_LARGE, lambda: jpeg_of_size(65500, 65500)),
    "a PNG of too many pixels": (TOO_LARGE, lambda: png_of_size(2**31 - 1, 2**31 - 1)),
    "a PNG that is too wide": (TOO_LARGE, lambda: png_of_size(2**31 - 1, 1)),
    "a PNG of no width": (REFUSED, lambda: png_of_size(0, 1)),
    "a PNG with endless pixels": (ACCEPTED, lambda: PNG[:33] + chunk(b"IDAT", zeros(500 * MIB)) + PNG[-12:]),
    "a PNG with a text bomb": (ACCEPTED, lambda: PNG[:33] + chunk(b"zTXt", b"a\0\0" + zeros(500 * MIB)) + PNG[33:]),
    "a PNG with an international text bomb": (
        ACCEPTED,
        lambda: PNG[:33] + chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(500 * MIB)) + PNG[33:],
    ),
    "a PNG with many text bombs": (ACCEPTED, lambda: after(33, chunk(b"zTXt", b"a\0\0" + zeros(MIB)), PNG, 4 * MIB)),
    "a PNG with a profile bomb": (ACCEPTED, lambda: PNG[:33] + chunk(b"iCCP", b"a\0\0" + zeros(500 * MIB)) + PNG[33:]),
    "a PNG with many profiles": (ACCEPTED, lambda: after(33, chunk(b"iCCP", b"a\0\0" + zeros(MIB)), PNG, 32 * MIB)),
    "a PNG with many chunks": (REFUSED, lambda: after(33, chunk(b"abCd", b""), PNG, 60 * MIB)),
    "a PNG with many texts": (REFUSED, lambda: after(33, chunk(b"tEXt", b"a\0b"), PNG, 60 * MIB)),
    "a PNG with many chunks at its end": (REFUSED, lambda: after(len(PNG) - 12, chunk(b"abCd", b""), PNG, 60 * MIB)),
    "a PNG with many empty pieces": (REFUSED, lambda: after(PNG.index(b"IDAT") - 4, chunk(b"IDAT", b""), PNG, 60 * MIB)),
    "a JPEG with many comments": (REFUSED, lambda: after(2, segment(0xFE, b""), JPEG, 60 * MIB)),
    "a JPEG with much padding": (ACCEPTED, lambda: after(2, b"\xff", JPEG, 60 * MIB)),
    "a JPEG with many pieces of EXIF": (REFUSED, lambda: after(2, segment(0xE1, b"Exif\0\0x"), JPEG, 8 * MIB)),
    "a JPEG with much EXIF": (ACCEPTED, lambda: after(2, segment(0xE1, b"Exif\0\0" + bytes(65000)), JPEG, 60 * MIB)),
    "a JPEG with many tables": (REFUSED, lambda: after(2, segment(0xDB, b"\0" + b"\1" * 64), JPEG, 60 * MIB)),
    "a large JPEG with many scans": (REFUSED, lambda: scans(8000, 3000)),
    "a JPEG with many scans": (REFUSED, lambda: scans(2500, 20_000)),
    "a sequential JPEG with many scans": (REFUSED, lambda: scans(8000, 3000, frame=0xC0)),
    "a JPEG with overlapping EXIF": (ACCEPTED, lambda: jpeg_with_exif(overlapping_exif(20_000, 250_000))),
    "a PNG with overlapping EXIF": (ACCEPTED, lambda: PNG[:33] + chunk(b"eXIf", overlapping_exif(20_000, 250_000)) + PNG[33:]),
    "a run-length encoded BMP of empty rows": (TOO_LARGE, lambda: rle_bmp(7500, 10_000, b"\1\1\0\0" * 10_000 + b"\0\1")),
    "a run-length encoded BMP of one delta": (REFUSED, lambda: rle_bmp(4_000_000, 1, b"\1\0\0\2\0\0\0\2\0\2\xff\xff\0\1")),
    "a TIFF with overlapping tags": (ACCEPTED, lambda: overlapping_tags(4000, MIB)),
    "a small TIFF with overlapping tags": (ACCEPTED, lambda: overlapping_tags(10_000, MIB // 4)),
    "a TIFF of huge tiles": (
        TOO_LARGE,
        lambda: tiff(sized(16, 16, t259=(3, [8]), t322=(4, [30_000]), t323=(4, [30_000])), zeros(500 * MIB), tiles=True),
    ),
    "a TIFF of endless tiles": (
        TOO_LARGE,
        lambda: tiff(sized(16, 16, t322=(4, [2**32 - 16]), t323=(4, [2**32 - 16])), bytes(256), tiles=True),
    ),
    "a TIFF of a huge strip": (REFUSED, lambda: tiff(sized(16, 16, t278=(4, [2**32 - 1])), bytes(1))),
    "a TIFF with a strip bomb": (ACCEPTED, lambda: tiff(sized(16, 16, t259=(3, [8]), t278=(4, [2**32 - 1])), zeros(500 * MIB))),
    "a TIFF with a strip beyond its end": (REFUSED, tiff_without_pixels),
    "a TIFF of too many pixels": (TOO_LARGE, lambda: tiff(sized(2**31, 2**31), bytes(256))),
    "a TIFF of many samples": (REFUSED, lambda: tiff(sized(16, 16, t277=(3, [65535])), bytes(256))),
    "a GIF with a frame outside of its screen": (
        TOO_LARGE,
        lambda: gif((1, 1), frame((60_000, 60_000, 1, 1), b"\0"), palette=b"\1"),
    ),
    "a GIF with a frame larger than its screen": (
        ACCEPTED,
        lambda: gif((1, 1), frame((0, 0, 64, 48), bytes(64 * 48)), palette=b"\1"),
    ),
    "a GIF of too many pixels": (TOO_LARGE, lambda: gif((65535, 65535), frame((0, 0, 1, 1), b"\0"), palette=b"\1")),
    "a GIF with a disposed frame": (
        TOO_LARGE,
        lambda: gif(
            (16, 16), b"!\xf9\4\x08\0\0\0\0", b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\2\x4c\1\0", palette=b"\1"
        ),
    ),
    "a PNG with overlapping EXIF in a text": (
        ACCEPTED,
        lambda: PNG[:33] + chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(overlapping_exif(400, MIB))) + PNG[33:],
    ),
    "a PNG with overlapping EXIF in a compressed text": (
        ACCEPTED,
        lambda: (
            PNG[:33]
            + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(overlapping_exif(400, MIB))))
            + PNG[33:]
        ),
    ),
    "a JPEG with a long EXIF directory": (ACCEPTED, lambda: jpeg_with_exif(overlapping_exif(65535, MIB))),
    "a TIFF with a long directory": (
        ACCEPTED,
        lambda: tiff(sized(16, 16) | {tag: (3, [1]) for tag in range(1000, 60_000)}, bytes(256)),
    ),
    "a TIFF of many small tiles": (
        ACCEPTED,
        lambda: tiff(sized(4000, 4000, t322=(3, [16]), t323=(3, [16])), *[bytes(256)] * 62_500, tiles=True),
    ),
    "a TIFF of very many tiles": (REFUSED, lambda: tiff(sized(8000, 8000, t322=(3, [1]), t323=(3, [1])), bytes(1), tiles=True)),
    "a TIFF of many small JPEGs": (
        REFUSED,
        lambda: tiff(
            sized(2400, 2400, t259=(3, [7]), t322=(3, [16]), t323=(3, [16])), *[encoded(photo(16, 16, "L"))] * 22_500, tiles=True
        ),
    ),
    "a fax of many short strips": (
        ACCEPTED,
        lambda: tiff(sized(64, 60_000, t258=(3, [1]), t259=(3, [4]), t262=(3, [0]), t278=(3, [1])), *[b"\x80"] * 60_000),
    ),
    "a JPEG with scans after bytes that look like a segment": (
        REFUSED,
        lambda: (lambda data: data[: len(data) // 2] + b"\xff\x01\xff\xff" + data[len(data) // 2 :])(scans(8000, 300)),
    ),
    "a JPEG of refinement scans": (REFUSED, lambda: refining_scans(8000, 59)),
    "a profile of many elements": (ACCEPTED, lambda: encoded(SMALL, "PNG", icc_profile=endless_profile(5000))),
    "a PNG with many pieces after its pixels": (
        REFUSED,
        lambda: png_rows(100, zlib.compress(b"\0" + bytes(300)), *[bytes(300)] * 40_000),
    ),
    "a TIFF of tiles of a pixel": (
        REFUSED,
        lambda: tiff(sized(300, 300, t322=(3, [1]), t323=(3, [1])), *[b"\0"] * 90_000, tiles=True),
    ),
    "a TIFF of narrow tiles": (
        REFUSED,
        lambda: tiff(
            sized(100, 60_000, t259=(3, [8]), t322=(3, [1]), t323=(4, [60_000])), *[zlib.compress(bytes(60_000))] * 100, tiles=True
        ),
    ),
    "a TIFF with a JPEG larger than its page": (
        REFUSED,
        lambda: tiff(sized(64, 48, t259=(3, [7]), t278=(4, [48])), jpeg_of_size(15_000, 15_000)),
    ),
    "a TIFF of planes of many JPEGs": (
        REFUSED,
        lambda: tiff(
            sized(64, 48_000, t258=(3, [8] * 4), t259=(3, [7]), t262=(3, [5]), t277=(3, [4]), t278=(4, [8]), t284=(3, [2])),
            *[encoded(photo(64, 8, "L"))] * 24_000,
        ),
    ),
    "a GIF with a long comment": (
        ACCEPTED,
        lambda: GIF[:781] + b"!\xfe" + (b"\xff" + bytes(255)) * (8 * MIB // 256) + b"\0" + GIF[781:],
    ),
    "a GIF with many comments": (REFUSED, lambda: after(781, b"!\xfe\1x\0", GIF, 60 * MIB)),
    "a GIF with much junk": (REFUSED, lambda: after(781, b"\1", GIF, 60 * MIB)),
    "a BMP of too many pixels": (TOO_LARGE, lambda: changed_bmp(18, "<ii", 2**31 - 1, 2**31 - 1)),
    "a BMP of negative width": (TOO_LARGE, lambda: changed_bmp(18, "<i", -64)),
    "a BMP of the most negative height": (TOO_LARGE, lambda: changed_bmp(22, "<i", -(2**31))),
    "a BMP with a huge palette": (ACCEPTED, lambda: changed_bmp(28, "<H16xI", 8, 2**32 - 1)),
    "a BMP of no height": (REFUSED, lambda: changed_bmp(22, "<i", 0)),
    "a PPM with a long comment": (ACCEPTED, lambda: after(4, b"x", b"P6 #\n2 2 255 " + bytes(12), 60 * MIB)),
    "a PPM with much space": (ACCEPTED, lambda: after(3, b" ", b"P6 2 2 255 " + bytes(12), 60 * MIB)),
    "a PPM with a long number": (REFUSED, lambda: after(3, b"1", b"P6 2 2 255 " + bytes(12), 60 * MIB)),
    "a PPM of too many pixels": (TOO_LARGE, lambda: b"P6 999999999 999999999 255 "),
    "a PPM of negative size": (REFUSED, lambda: b"P6 -5 -5 255 " + bytes(75)),
    "a plain PPM with many comments": (REFUSED, lambda: after(11, b"#x\n", b"P3 2 2 255 " + b"1 " * 12, 4 * MIB)),
    "a plain PPM with a long number": (REFUSED, lambda: b"P3 2 2 255 " + b"1" * 60 * MIB),
    "a plain PPM that ends early": (REFUSED, lambda: b"P3 8000 8000 255 " + b"1 " * 20 * MIB),
    "a PPM of 16 bits": (ACCEPTED, lambda: b"P6 3000 3000 65535 " + bytes(54_000_000)),
    "a PPM of an odd depth": (ACCEPTED, lambda: b"P6 4400 4400 254 " + bytes(58_080_000)),
    "a PPM of an odd depth of two bytes": (ACCEPTED, lambda: b"P6 3000 3000 1023 " + bytes(54_000_000)),
    "a run-length encoded BMP of short runs": (ACCEPTED, lambda: rle_bmp(2000, 2000, b"\1\5" * 4_000_000 + b"\0\1")),
    "a run-length encoded BMP of too many short runs": (REFUSED, lambda: rle_bmp(2000, 2000, b"\1\5\0\2\0\0" * 10_000_000)),
    "a PNG that is too high for a JPEG": (REFUSED, lambda: png_of_size(1, 70_000_000)),
    "a GIF that is too wide for a JPEG": (REFUSED, lambda: gif((65535, 1144), frame((0, 0, 1, 1), b"\0"), palette=b"\1")),
    "an arithmetic JPEG": (REFUSED, lambda: JPEG.replace(b"\xff\xc0", b"\xff\xc9")),
    "a progressive JPEG with much trailing data": (
        ACCEPTED,
        lambda: encoded(photo(3000, 2000), progressive=True) + random_bytes(60 * MIB),
    ),
    "a TIFF of JPEG with many scans": (ACCEPTED, lambda: tiff(sized(640, 640, t259=(3, [7]), t278=(4, [640])), scans(640, 50))),
    "a TIFF of strips that share bytes": (ACCEPTED, tiff_of_shared_strips),
    "a TIFF with an unsupported compression": (REFUSED, lambda: encoded(SMALL, "TIFF", compression="lzma")),
}


def measure(name):
    data = CASES[name][1]()
    start = time.process_time()
    try:
        outcome = imaging.render(data, DEFAULT) and ACCEPTED
    except (BadImage, TooManyPixels) as ex:
        outcome = type(ex).__name__
    peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]  # of this process only, unlike ru_maxrss
    return [outcome, round(time.process_time() - start, 2), int(peak) // 1024]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (4096 * MIB, 4096 * MIB))
    print(json.dumps(measure(sys.argv[1])))
