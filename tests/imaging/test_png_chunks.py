"""PNGs of every color type with broken chunks or missing rows, and with EXIF in every position."""

import struct
import zlib

import pytest

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .file_writers import adam7, chunk, packed
from .measure import DEFAULT, max_difference, photo, rendered
from .profiles import DISPLAY_P3, SRGB_CURVE, matrix_profile

pytestmark = pytest.mark.usefixtures("nothing_logged")

SIZE = WIDTH, HEIGHT = 24, 20
SOURCE = photo(*SIZE, "RGBA")
SIGNATURE, END = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
PALETTE = chunk(b"PLTE", bytes((7 * value) % 256 for value in range(768)))
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = {
    "grey of 1 bit": (0, 1),
    "grey of 8 bits": (0, 8),
    "grey of 16 bits": (0, 16),
    "RGB": (2, 8),
    "RGB of 16 bits": (2, 16),
    "palette of 2 bits": (3, 2),
    "palette": (3, 8),
    "grey and alpha": (4, 8),
    "RGBA": (6, 8),
}


def header(kind, size=SIZE, interlaced=False):
    color, depth = KINDS[kind]
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, interlaced))


def rows(kind, interlaced=False):
    """Return the rows. No row is black."""
    color, depth = KINDS[kind]
    bits = SAMPLES[color] * depth

    def pixel(x, y):
        return (x * 2654435761 + y * 40503 * 65537 + 1) % (1 << bits) | 1

    if interlaced:
        return [b"\0" + row for row in adam7(*SIZE, pixel, bits)]
    return [b"\0" + packed([pixel(x, y) for x in range(WIDTH)], bits) for y in range(HEIGHT)]


def write_png(kind, before=b"", after=b"", interlaced=False, data=None, middle=None):
    data = zlib.compress(b"".join(rows(kind, interlaced))) if data is None else data
    pixels = chunk(b"IDAT", data) if middle is None else chunk(b"IDAT", data[:30]) + middle + chunk(b"IDAT", data[30:])
    return header(kind, interlaced=interlaced) + before + (PALETTE if KINDS[kind][0] == 3 else b"") + pixels + after + END


def wrong_crc(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def with_length(name, content, length):
    """Write a chunk with a wrong length in its header."""
    return struct.pack(">I", length) + chunk(name, content)[4:]


def frame_control(number, width=WIDTH, height=HEIGHT, x=0, y=0):
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 1, 0, 0))


ODD = {
    **{
        f"{name.decode()} with a wrong CRC": wrong_crc(chunk(name, content))
        for name, content in (
            (b"tEXt", b"Title\0x"),
            (b"zTXt", b"Title\0\0" + zlib.compress(b"x")),
            (b"iTXt", b"Title\0\0\0\0\0x"),
            (b"iCCP", b"x\0\0" + zlib.compress(b"x")),
            (b"gAMA", struct.pack(">I", 45455)),
            (b"cHRM", bytes(32)),
            (b"sRGB", b"\0"),
            (b"tRNS", b"\0\0"),
            (b"eXIf", b"MM\0*" + bytes(20)),
            (b"pHYs", bytes(9)),
            (b"acTL", struct.pack(">II", 1, 0)),
            (b"fcTL", bytes(26)),
            (b"cICP", b"\x09\x10\0\1"),
        )
    },
    **{
        f"{name.decode()} of {length} bytes": chunk(name, bytes(length))
        for name, lengths in {
            b"gAMA": (0, 1, 3, 5),
            b"cHRM": (0, 4, 31, 33),
            b"sRGB": (0, 2),
            b"pHYs": (0, 8, 10),
            b"iCCP": (0, 1, 3),
            b"tIME": (0, 6, 8),
            b"bKGD": (0, 1, 7),
            b"sBIT": (0, 9),
            b"hIST": (0, 1),
            b"acTL": (0, 4, 9),
            b"fcTL": (0, 4, 25, 27),
            b"fdAT": (0, 3, 4),
            b"eXIf": (0, 1, 7),
            b"tEXt": (0, 1),
            b"zTXt": (0, 1, 2),
            b"iTXt": (0, 1, 3),
        }.items()
        for length in lengths
    },
    "compressed texts of junk": chunk(b"zTXt", b"a\0\0junk") + chunk(b"iTXt", b"a\0\1\0\0\0junk"),
    "a compressed text with an unknown method": chunk(b"zTXt", b"a\0\7" + zlib.compress(b"x")),
    "a compressed text of 3 MiB": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 * 2**20))),
    "an international text of 3 MiB": chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(3 * 2**20))),
    "a plain text of 3 MiB": chunk(b"tEXt", b"a\0" + b"x" * 3 * 2**20),
    "texts of 100 MiB in all": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 1))) * 100,
    "a text that is not UTF-8": chunk(b"iTXt", b"a\0\0\0\xff\0\xfe\0\xfd"),
    "a profile of 2 MiB": chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**21))),
    "an animation of no frames": chunk(b"acTL", bytes(8)),
    "an animation of many frames": chunk(b"acTL", b"\xff" * 8) + frame_control(0),
    "two animations": chunk(b"acTL", struct.pack(">II", 1, 0)) * 2,
    "a frame control out of order": chunk(b"acTL", struct.pack(">II", 2, 0)) + frame_control(7),
    "a frame outside of the image": chunk(b"acTL", struct.pack(">II", 2, 0)) + frame_control(0, 2**31 - 1, 5, 2**31 - 1, 3),
    "a frame of no size": chunk(b"acTL", struct.pack(">II", 2, 0)) + frame_control(0, 0, 0),
    "an invalid name": chunk(b"\0\1\2\3", b"x"),
    "unknown names": chunk(b"vpAg", bytes(9)) + chunk(b"npTc", b"x"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["grey of 16 bits", "RGB", "palette"])
def test_odd_chunks_do_not_change_image(kind, name):
    expected = render(write_png(kind), DEFAULT)
    for data in (write_png(kind, before=ODD[name]), write_png(kind, after=ODD[name])):
        assert render(data, DEFAULT) == expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0] in (0, 2)])
@pytest.mark.parametrize("length", [0, 1, 3, 5, 7, 256])
def test_transparent_color_of_wrong_length_is_ignored(kind, length):
    assert render(write_png(kind, before=chunk(b"tRNS", bytes(length))), DEFAULT) == render(write_png(kind), DEFAULT)


AFTER_PIXELS = {
    "junk": bytes(range(256)),
    "a chunk that is longer than the file": with_length(b"tEXt", b"a\0b", 10**6),
    "a chunk with the maximum length": with_length(b"tEXt", b"a\0b", 2**32 - 1),
    "a chunk with a declared length that is too short": with_length(b"tEXt", b"a\0bcdef", 3),
    "a frame with pixels of junk": frame_control(1) + chunk(b"fdAT", struct.pack(">I", 2) + b"junk"),
}


@pytest.mark.parametrize("name", AFTER_PIXELS)
@pytest.mark.parametrize("kind", KINDS)
def test_data_after_pixels_do_not_change_image(kind, name):
    assert render(write_png(kind, after=AFTER_PIXELS[name]), DEFAULT) == render(write_png(kind), DEFAULT)
    assert render(write_png(kind) + AFTER_PIXELS[name], DEFAULT) == render(write_png(kind), DEFAULT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
def test_missing_rows_are_refused(kind, interlaced):
    all_rows, expected = rows(kind, interlaced), render(write_png(kind, interlaced=interlaced), DEFAULT)
    complete = b"".join(all_rows)
    assert render(write_png(kind, interlaced=interlaced, data=zlib.compress(complete + complete)), DEFAULT) == expected
    for length in (0, 1, len(all_rows[0]), len(complete) // 2, len(complete) - len(all_rows[-1]), len(complete) - 1):
        for shown in (complete, bytes(len(complete))):  # black rows look like missing rows
            with pytest.raises(BadImage):
                render(write_png(kind, interlaced=interlaced, data=zlib.compress(shown[:length])), DEFAULT)
            with pytest.raises(BadImage):
                render(
                    write_png(kind, interlaced=interlaced, data=zlib.compress(shown[:length]), middle=chunk(b"tEXt", b"a\0b")),
                    DEFAULT,
                )


@pytest.mark.parametrize("kind", KINDS)
def test_file_truncated_in_pixels_is_refused(kind):
    complete = write_png(kind)
    for length in (33, complete.index(b"IDAT") + 4, complete.index(b"IDAT") + 9, len(complete) - 30):
        with pytest.raises(BadImage):
            render(complete[:length], DEFAULT)
        with pytest.raises(BadImage):
            render(complete[:length] + END, DEFAULT)


def exif(kind=3, padding=0):
    entry = struct.pack(">HHI", ORIENTATION, kind, 1) + {1: b"\6\0\0\0", 3: b"\0\6\0\0", 4: b"\0\0\0\6"}[kind]
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4 + padding)


def text(kind, content):
    data = content.hex().encode()
    lines = b"\n".join(data[start : start + 72] for start in range(0, len(data), 72))
    return b"\n%s\n%8d\n%s\n" % (kind, len(content), lines)


def texts(kind, content):
    name = b"Raw profile type %s\0" % kind
    return {"plain": chunk(b"tEXt", name + content), "compressed": chunk(b"zTXt", name + b"\0" + zlib.compress(content))}


EXIFS = {
    **{f"eXIf of type {kind}": chunk(b"eXIf", exif(kind)) for kind in (1, 3, 4)},
    "eXIf of 200 KiB": chunk(b"eXIf", exif(padding=200 * 2**10)),
    "eXIf with the header of EXIF in a JPEG": chunk(b"eXIf", b"Exif\0\0" + exif()),
    "eXIf after a broken eXIf": wrong_crc(chunk(b"eXIf", exif())) + chunk(b"eXIf", exif()),
    **{
        f"{form} text {kind.decode()}{of}": made_text
        for kind in (b"exif", b"APP1")
        for of, content in (("", exif()), (" of 100 KiB", exif(padding=100 * 2**10)))
        for form, made_text in texts(kind, text(kind, b"Exif\0\0" + content)).items()
    },
    "plain text of 1 MiB": texts(b"exif", text(b"exif", b"Exif\0\0" + exif(padding=2**20)))["plain"],
}


@pytest.mark.parametrize("name", EXIFS)
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("color", ["RGB", "palette"])
def test_exif_before_or_after_pixels_rotates_image(name, place, color):
    image_of_kind = SOURCE.convert("RGB") if color == "RGB" else SOURCE.convert("RGB").quantize(256)
    rotated = image_of_kind.transpose(TRANSPOSES[6])
    bands = 3 if color == "RGB" else 1
    data = rotated.tobytes()
    lines = b"".join(b"\0" + data[start : start + bands * HEIGHT] for start in range(0, len(data), bands * HEIGHT))
    palette = chunk(b"PLTE", bytes(image_of_kind.getpalette("RGB"))) if color == "palette" else b""
    pixels = palette + chunk(b"IDAT", zlib.compress(lines))
    parts = (EXIFS[name], pixels) if place == "before" else (pixels, EXIFS[name])
    image = rendered(header(color, (HEIGHT, WIDTH)) + b"".join(parts) + END)[0]
    assert max_difference(image, image_of_kind.convert("RGB")) == 0


def test_exif_in_long_compressed_text_rotates_image():
    long = texts(b"exif", text(b"exif", b"Exif\0\0" + exif(padding=2**20)))
    one, other = (header("RGB") + part + write_png("RGB")[33:] for part in (long["compressed"], long["plain"]))
    assert render(one, DEFAULT) == render(other, DEFAULT)


@pytest.mark.xfail(
    strict=True, reason="of several texts for EXIF, only the first of each chunk type is read, even if it has no EXIF"
)
@pytest.mark.parametrize("first", [b"junk", text(b"APP1", b"http://ns.adobe.com/xap/1.0/\0<x/>")], ids=["junk", "XMP"])
def test_exif_in_second_text_rotates_image(first):
    second = texts(b"exif", text(b"exif", b"Exif\0\0" + exif()))["plain"]
    one, other = (header("RGB") + part + write_png("RGB")[33:] for part in (texts(b"APP1", first)["plain"] + second, second))
    assert max_difference(*(rendered(data)[0] for data in (one, other))) == 0


def test_profile_after_pixels_is_ignored():
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(matrix_profile(DISPLAY_P3, SRGB_CURVE)))
    assert render(write_png("RGB", after=profile), DEFAULT) == render(write_png("RGB"), DEFAULT)
