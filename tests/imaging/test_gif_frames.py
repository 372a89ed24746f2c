"""The first frame of a GIF: positions on the screen, LZW codes of all widths, and truncated codes."""

import struct

import pytest
from PIL import Image

from luna_image_store.errors import BadImage
from luna_image_store.imaging.render import render

from .file_writers import lzw
from .measure import DEFAULT, max_difference, photo, rendered

pytestmark = pytest.mark.usefixtures("nothing_logged")

SIZE = WIDTH, HEIGHT = 40, 26
PHOTO = photo(*SIZE)
PLACES = {
    "all of the screen": ((0, 0), SIZE),
    "at the top left": ((0, 0), (90, 60)),
    "in the middle": ((21, 13), (90, 60)),
    "at the bottom right": ((50, 34), (90, 60)),
    "one row lower": ((0, 1), (40, 27)),
    "one column further": ((1, 0), (41, 26)),
    "over the edge": ((60, 50), (90, 60)),
    "larger than the screen": ((0, 0), (7, 5)),
    "on a screen of no size": ((3, 4), (0, 0)),
}


def interlace(indexes, width=WIDTH):
    rows = [indexes[start : start + width] for start in range(0, len(indexes), width)]
    return b"".join(rows[::8] + rows[4::8] + rows[2::4] + rows[1::2])


def blocks(data, size=255):
    return b"".join(bytes([len(data[at : at + size])]) + data[at : at + size] for at in range(0, len(data), size)) + b"\0"


def control(transparent=None, disposal=0):
    return b"!\xf9\4" + struct.pack("<BHBB", disposal << 2 | (transparent is not None), 10, transparent or 0, 0)


def palette_flags(palette):
    return 0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0


def frame(codes, bits=8, at=(0, 0), size=SIZE, interlaced=False, palette=b"", block=255):
    flags = palette_flags(palette) | 0x40 * interlaced
    head = b"," + struct.pack("<HHHHB", *at, *size, flags)
    return head + palette + bytes([max(2, bits)]) + blocks(codes, block)


def gif(screen, *parts, palette=b"", background=0, trailer=b";", version=b"89a"):
    head = b"GIF" + version + struct.pack("<HHBBB", *screen, 0x70 | palette_flags(palette), background, 0)
    return head + palette + b"".join(parts) + trailer


def colors(bits):
    """Return the indexes, the palette, and the image."""
    image = PHOTO.quantize(1 << bits)
    palette = bytes((image.getpalette("RGB") + [0] * 768)[: 3 << bits])
    return image.tobytes(), palette, image.convert("RGB")


def pack(indexes, bits=8, end=True):
    return lzw(indexes, max(2, bits), end=end)


INDEXES, PALETTE, SHOWN = colors(8)
CODES = pack(INDEXES)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("background", [0, 7, 255])
@pytest.mark.parametrize("transparent", [False, True], ids=["opaque", "transparent"])
def test_screen_outside_first_frame_is_background(place, interlaced, background, transparent):
    at, screen = PLACES[place]
    key = INDEXES[5 * WIDTH + 9] if transparent else None
    expected = Image.new("RGB", (max(screen[0], at[0] + WIDTH), max(screen[1], at[1] + HEIGHT)), "white")
    expected.paste(SHOWN, at, Image.frombytes("L", SIZE, bytes(255 * (index != key) for index in INDEXES)))
    codes = pack(interlace(INDEXES)) if interlaced else CODES
    for later in (b"", frame(pack(bytes(WIDTH * HEIGHT)))):
        data = gif(
            screen,
            control(key, disposal=2),
            frame(codes, at=at, interlaced=interlaced),
            later,
            palette=PALETTE,
            background=background,
        )
        assert max_difference(rendered(data)[0], expected) == 0


@pytest.mark.parametrize("bits", range(1, 9), ids="{} bits".format)
@pytest.mark.parametrize("block", [1, 2, 254, 255], ids="blocks of {}".format)
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
def test_lzw_codes_of_any_width_are_decoded(bits, block, interlaced):
    indexes, palette, shown = colors(bits)
    rows = interlace(indexes) if interlaced else indexes
    for end in (True, False):
        for screens, local in ((palette, b""), (b"", palette), (bytes(768), palette)):
            part = frame(pack(rows, bits, end), bits, interlaced=interlaced, palette=local, block=block)
            assert max_difference(rendered(gif(SIZE, part, palette=screens))[0], shown) == 0


FRAME = frame(CODES)
BEFORE = {
    "a comment": b"!\xfe\3abc\0",
    "an empty comment": b"!\xfe\0",
    "a loop": b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0",
    "a loop without a count": b"!\xff\x0bNETSCAPE2.0\0",
    "a loop that is truncated": b"!\xff\x0bNETSCAPE2.0\1\1\0",
    "an application of another length": b"!\xff\5ABCDE\2xy\0",
    "XMP": b"!\xff\x0bXMP DataXMP" + blocks(b"<x:xmpmeta/>" * 50),
    "a plain text extension": b"!\1\x0c" + bytes(12) + b"\3abc\0",
    "an unknown extension": b"!\x42\3abc\0",
    "a control that is too short": b"!\xf9\2\1\0\0",
    "a control that is too long": b"!\xf9\5\0\0\0\0\0\0",
    "several controls, the last one is used": control(INDEXES[0]) + control(),
    "zeros": bytes(9),
    "junk": b"\x99\x42\7",
}
AFTER = {
    "nothing": b"",
    "another trailer": b";;",
    "an extension that is truncated": b"!\xff\x0bNETS",
    "an extension without a label": b"!",
    "a control without a frame": control(3),
    "a frame truncated in its header": b",\0\0",
    "a frame truncated in its palette": frame(CODES, palette=PALETTE)[:200],
    "a frame truncated in its codes": FRAME[:100],
    "a frame of junk": frame(b"\xff" * 300),
    "a frame of no size": frame(CODES, size=(0, 0)),
    "a frame outside of the screen": frame(CODES, at=(65000, 65000)),
    "a huge frame": frame(CODES, size=(65535, 65535)),
    "codes of no width": frame(CODES)[:10] + b"\0" + FRAME[11:],
    "zeros": bytes(300),
    "another file": gif((9, 9), frame(pack(bytes(81)), size=(9, 9)), palette=PALETTE),
}


@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.parametrize("version", [b"87a", b"89a"], ids=["87a", "89a"])
def test_data_before_first_frame_do_not_change_image(name, version):
    data = gif(SIZE, BEFORE[name], FRAME, palette=PALETTE, version=version)
    assert max_difference(rendered(data)[0], SHOWN) == 0


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("trailer", [b"", b";"], ids=["no trailer", "trailer"])
def test_data_after_first_frame_do_not_change_image(name, trailer):
    data = gif(SIZE, FRAME, AFTER[name], palette=PALETTE, trailer=trailer)
    assert max_difference(rendered(data)[0], SHOWN) == 0


def test_first_frame_without_end_block_is_complete():
    """The last block of a chain has no pixels."""
    data = gif(SIZE, FRAME[:-1], palette=PALETTE, trailer=b"")
    assert max_difference(rendered(data)[0], SHOWN) == 0


@pytest.mark.parametrize("bits", [1, 4, 8], ids="{} bits".format)
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("end", [True, False], ids=["end", "no end"])
@pytest.mark.parametrize("place", ["all of the screen", "in the middle", "larger than the screen"])
def test_truncated_codes_are_refused(bits, interlaced, end, place):
    indexes, palette, _ = colors(bits)
    at, screen = PLACES[place]
    later = frame(pack(indexes, bits), bits)
    for count in (0, 1, WIDTH, WIDTH * HEIGHT // 2, WIDTH * (HEIGHT - 1), WIDTH * HEIGHT - 1):
        short = frame(pack(indexes[:count], bits, end), bits, at=at, interlaced=interlaced)
        for data in (gif(screen, short, palette=palette), gif(screen, short, later, palette=palette, trailer=b"")):
            with pytest.raises(BadImage):
                render(data, DEFAULT)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_file_truncated_in_first_frame_is_refused(share):
    data = gif(SIZE, control(), FRAME, palette=PALETTE)
    start = data.index(FRAME)
    for trailer in (b"", b";", b"\0;"):
        with pytest.raises(BadImage):
            render(data[: start + int((len(FRAME) - 3) * share)] + trailer, DEFAULT)


@pytest.mark.parametrize(
    "data", [b"", b";", control(), b"!\xfe\3abc", FRAME[:9]], ids=["nothing", "trailer", "control", "comment", "head"]
)
def test_file_without_frame_is_refused(data):
    with pytest.raises(BadImage):
        render(gif(SIZE, data, palette=PALETTE, trailer=b""), DEFAULT)
