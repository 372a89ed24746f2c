"""Broken or extra data outside the pixels do not change an image: chunks, segments, tags, later frames, wrong lengths."""

import struct
import zlib

import pytest

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import render
from tests.sample_images import ORIENTATION, TRANSPOSES

from .file_writers import chunk, frame, gif, tiff
from .measure import DEFAULT, decoded, encoded, max_difference, photo, psnr, rendered

SMALL = photo(64, 48)
PNG, JPEG = encoded(SMALL, "PNG"), encoded(SMALL, quality=95)
ROTATED_JPEG = encoded(SMALL.transpose(TRANSPOSES[6]), quality=95)
GREYS = bytes(level for grey in range(256) for level in (grey, grey, grey))
FRAME = frame((0, 0, 64, 48), SMALL.convert("L").tobytes())
PAGE = {256: (4, [64]), 257: (4, [48]), 258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3]), 278: (4, [48])}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def with_wrong_crc(data):
    """Make the CRC of a chunk wrong."""
    return data[:-1] + bytes([data[-1] ^ 1])


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def frame_control(number):
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 64, 48, 0, 0, 1, 1, 0, 0))


LONG_TEXT = zlib.compress(bytes(2**20 + 1))
CHUNKS = {
    **{
        f"{name} with a wrong CRC": with_wrong_crc(chunk(name, b"Comment\0\0said"))
        for name in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf")
    },
    **{
        f"{name} that is too short": chunk(name, b"\0\0")
        for name in (b"gAMA", b"cHRM", b"sRGB", b"tRNS", b"pHYs", b"iCCP", b"acTL")
    },
    **{
        f"{name} that is empty": chunk(name, b"")
        for name in (b"tEXt", b"zTXt", b"iTXt", b"tRNS", b"tIME", b"sBIT", b"fcTL", b"fdAT")
    },
    "zTXt that unpacks to over 1 MiB": chunk(b"zTXt", b"prompt\0\0" + LONG_TEXT),
    "iTXt that unpacks to over 1 MiB": chunk(b"iTXt", b"prompt\0\1\0\0\0" + LONG_TEXT),
    "many texts": chunk(b"zTXt", b"prompt\0\0" + LONG_TEXT) * 100,
    "frames of an animation out of order": chunk(b"acTL", struct.pack(">II", 2, 0)) + frame_control(5),
    "frames of an animation without end": chunk(b"acTL", struct.pack(">II", 2**31, 0)) + frame_control(0),
    "an unneeded palette": chunk(b"PLTE", b"\1\2\3" * 300),
    "an unknown chunk": chunk(b"abCd", b"x" * 1000),
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_extra_png_chunk_does_not_change_image(name, place):
    at = 33 if place == "before" else len(PNG) - 12
    assert max_difference(rendered(PNG[:at] + CHUNKS[name] + PNG[at:])[0], SMALL) == 0


def mpf(entries, announced):
    index = struct.pack("<LLLHH", 0x20030000, 1000, 0, 0, 0) * entries
    head = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, announced)
    tags = head + struct.pack("<HHII", 0xB002, 7, len(index), 50) + bytes(4)
    return b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + tags + index


SEGMENTS = {
    **{
        f"APP{number} of {len(body)} bytes, {body}": segment(0xE0 + number, body)
        for number, body in (
            (0, b"JFIF\0"),
            (0, b"JFIF"),
            (0, b""),
            (1, b"Exif\0\0"),
            (1, b"Exif\0"),
            (2, b"ICC_PROFILE\0"),
            (2, b"ICC_PROFILE\0\1"),
            (2, b"FPXR\0"),
            (2, b"MPF\0"),
            (13, b"Photoshop 3.0\0008BIM"),
            (14, b"Adobe"),
            (14, b"Adobe\0"),
            (15, b""),
        )
    },
    "an MPF index that is too short": segment(0xE2, mpf(1, 3)),
    "an MPF index of very many images": segment(0xE2, mpf(1, 2**31)),
    "bytes between segments": bytes(range(255)),
    "fill bytes": b"\xff" * 1000,
    "restarts": b"\xff\xd0\xff\xd7\xff\x01",
    "a comment": segment(0xFE, b"text"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_extra_jpeg_segment_does_not_change_image(name):
    for data in (JPEG[:2] + SEGMENTS[name] + JPEG[2:], JPEG[:20] + SEGMENTS[name] + JPEG[20:]):
        stored = render(data, DEFAULT)
        assert stored.jpeg == data
        assert stored.previews == render(JPEG, DEFAULT).previews


RASTER = SMALL.tobytes()
WRONG_LENGTHS = {"huge": 35_711_440, "zero": 0, "one too many": len(RASTER) + 1, "too small": 100}


@pytest.mark.parametrize("length", WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_wrong_length_of_single_tiff_strip_is_corrected(length, order):
    data = tiff(PAGE, RASTER, order=order)
    entry = struct.pack(f"{order}HHII", 279, 4, 1, len(RASTER))
    assert data.count(entry) == 1
    wrong = data.replace(entry, struct.pack(f"{order}HHII", 279, 4, 1, length))
    assert max_difference(rendered(wrong)[0], SMALL) == 0


@pytest.mark.parametrize("lengths", ["zero", "missing"])
def test_missing_lengths_of_compressed_strips_are_computed(lengths):
    rows = [RASTER[start : start + 12 * 192] for start in range(0, len(RASTER), 12 * 192)]
    data = bytearray(tiff(PAGE | {259: (3, [8]), 278: (4, [12])}, *map(zlib.compress, rows)))
    entry = data.index(struct.pack("<HHI", 279, 4, 4))
    if lengths == "missing":
        struct.pack_into("<H", data, entry, 65000)
    else:
        start = struct.unpack_from("<I", data, entry + 8)[0]
        data[start : start + 16] = bytes(16)
    assert max_difference(rendered(bytes(data))[0], SMALL) == 0


TAGS = {
    "a profile beyond the file": {34675: (7, b"")},
    "XMP": {700: (1, list(XMP))},
    "an invalid EXIF directory": {34665: (4, [3])},
    "a description without end": {270: (2, [])},
    "a resolution of a strange type": {282: (3, [1, 2, 3])},
    "a profile of junk": {34675: (7, b"junk" * 40)},
}


@pytest.mark.parametrize("name", TAGS)
def test_extra_tiff_tag_does_not_change_image(name):
    assert max_difference(rendered(tiff(PAGE | TAGS[name], RASTER))[0], SMALL) == 0


@pytest.mark.parametrize("place", [8, 2**32 - 8, "itself"], ids=["pixels", "beyond the file", "itself"])
def test_next_tiff_page_does_not_change_image(place):
    data = tiff(PAGE, RASTER)
    values = data[data.index(struct.pack("<HHI", 258, 3, 3)) + 8 :][:4]
    end = struct.unpack("<I", values)[0] - 4  # the offset of the next page is before the first value
    following = data[4:8] if place == "itself" else struct.pack("<I", place)
    assert max_difference(rendered(data[:end] + following + data[end + 4 :])[0], SMALL) == 0


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_bigtiff_is_rendered(order):
    tags = {256: 64, 257: 48, 258: 8, 259: 1, 262: 1, 273: 16, 277: 1, 278: 48, 279: 64 * 48}
    entries = b"".join(struct.pack(f"{order}HHQQ", tag, 16, 1, value) for tag, value in tags.items())
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16 + 64 * 48)
    grey = SMALL.convert("L")
    data = head + grey.tobytes() + struct.pack(f"{order}Q", len(tags)) + entries + bytes(8)
    assert max_difference(rendered(data)[0], grey) == 0


AFTER_THE_FRAME = {
    "no trailer": b"",
    "a later frame that is truncated": FRAME[:200],
    "an extension that is truncated": b"!\xfe\x09cut",
    "junk": b"\x99" * 100,
    "a frame larger than any": b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\2\x4c\1\0",
}


@pytest.mark.parametrize("name", AFTER_THE_FRAME)
def test_data_after_first_gif_frame_do_not_change_image(name):
    data = gif((64, 48), FRAME, palette=GREYS)[:-1] + AFTER_THE_FRAME[name]
    assert max_difference(rendered(data)[0], SMALL.convert("L")) == 0


def exif(kind=3, value=6, order=">", padding=0):
    """Write EXIF with an orientation of any integer type, and `padding` bytes after it."""
    form = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind]
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, 1)
    return head + struct.pack(f"{order}HHI{form}", ORIENTATION, kind, 1, value) + bytes(4 + padding)


def hexadecimal(kind):
    data = (b"Exif\0\0" + exif()).hex().encode()
    return (
        b"\n%s\n%8d\n" % (kind, len(data) // 2) + b"\n".join(data[start : start + 72] for start in range(0, len(data), 72)) + b"\n"
    )


ROTATED_PNG = encoded(SMALL.transpose(TRANSPOSES[6]), "PNG")
EXIFS = {
    **{f"type {kind}, {order}": exif(kind, order=order) for kind in (1, 3, 4, 6, 8, 9) for order in "<>"},
    "much trailing data": exif(padding=150_000),
}
TEXTS = {
    f"{name.decode()} {kind.decode()}": chunk(name, b"Raw profile type %s\0" % kind + content)
    for kind in (b"exif", b"APP1")
    for name, content in ((b"tEXt", hexadecimal(kind)), (b"zTXt", b"\0" + zlib.compress(hexadecimal(kind))))
}


@pytest.mark.parametrize("name", EXIFS)
def test_jpeg_is_rotated_by_exif_of_any_type_and_length(name):
    parts = (EXIFS[name][start : start + 65000] for start in range(0, len(EXIFS[name]), 65000))
    data = ROTATED_JPEG[:20] + b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts) + ROTATED_JPEG[20:]
    assert_upright(render(data, DEFAULT).previews[64])


@pytest.mark.parametrize("name", EXIFS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_png_is_rotated_by_exif_before_or_after_pixels(name, place):
    at = 33 if place == "before" else len(ROTATED_PNG) - 12
    data = ROTATED_PNG[:at] + chunk(b"eXIf", EXIFS[name]) + ROTATED_PNG[at:]
    assert max_difference(rendered(data)[0], SMALL) == 0


@pytest.mark.parametrize("name", TEXTS)
def test_png_is_rotated_by_exif_in_text(name):
    assert max_difference(rendered(ROTATED_PNG[:33] + TEXTS[name] + ROTATED_PNG[33:])[0], SMALL) == 0


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_tiff_is_rotated_by_orientation_of_any_type(kind):
    rotated = SMALL.transpose(TRANSPOSES[6])
    data = tiff(PAGE | {256: (4, [48]), 257: (4, [64]), 278: (4, [64]), ORIENTATION: (kind, [6])}, rotated.tobytes())
    assert max_difference(rendered(data)[0], SMALL) == 0


def test_xmp_does_not_rotate_image():
    jpeg = rendered(JPEG[:20] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + JPEG[20:])[2]
    assert jpeg.previews == rendered(JPEG)[2].previews
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    assert max_difference(rendered(PNG[:33] + text + PNG[33:])[0], SMALL) == 0


def assert_upright(jpeg):
    assert psnr(decoded(jpeg), SMALL) > 25


def test_refused_image_logs_nothing_above_info(caplog, capfd):
    """The service logs one line per request. Messages of libraries would be noise."""
    many = tiff(PAGE | {277: (3, [65535])}, RASTER)
    fax = tiff({**PAGE, 258: (3, [1]), 259: (3, [4]), 262: (3, [0]), 277: (3, [1])}, b"\x55" * 3)
    packed = tiff(PAGE | {259: (3, [8])}, zlib.compress(RASTER)[:50])
    for data in (many, fax, packed, PNG[:-40], JPEG[:200], b"BM" + bytes(60), b"GIF89a" + bytes(20)):
        with pytest.raises(BadImage):
            render(data, DEFAULT)
    assert not [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]
    assert capfd.readouterr() == ("", "")


def test_broken_profile_does_not_change_jpeg_previews():
    broken = segment(0xE2, b"ICC_PROFILE\0\1\1" + b"junk" * 50)
    assert rendered(JPEG[:20] + broken + JPEG[20:])[2].previews == rendered(JPEG)[2].previews
