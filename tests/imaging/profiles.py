"""Writers of color profiles, and color arithmetic to check them without a library."""

import itertools
import struct

WHITE = (0.9642, 1.0, 0.8249)  # D50
SRGB = ((0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733))
DISPLAY_P3 = ((0.515102, 0.291965, 0.157153), (0.241182, 0.692236, 0.066581), (-0.001050, 0.041882, 0.784378))
ADOBE_RGB = ((0.6097559, 0.2052401, 0.1492240), (0.3111242, 0.6256560, 0.0632197), (0.0194811, 0.0608902, 0.7448387))
SRGB_CURVE = struct.pack(
    ">4sIHHIIIII", b"para", 0, 3, 0, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)


def gamma(value):
    return b"curv" + struct.pack(">IIHH", 0, 1, round(value * 256), 0)


def profile(space, tags, connection=b"XYZ ", kind=b"mntr"):
    """Write a profile of a color space such as b"RGB " from its tags."""
    tags = {b"wtpt": xyz(WHITE), b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(78), **tags}
    offset, table, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s12s4s4s", offset + len(data), b"lcms", 0x02400000, kind, space, connection, b"", b"acsp", b"")
    return header + bytes(20) + struct.pack(">IIII", 0, *_fixed(WHITE)) + bytes(48) + table + data


def _fixed(values):
    return [round(value * 65536) for value in values]


def xyz(values):
    return b"XYZ " + struct.pack(">Iiii", 0, *_fixed(values))


def matrix_profile(matrix, curve):
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, zip(*matrix, strict=True)), strict=True))
    return profile(b"RGB ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(curve):
    return profile(b"GRAY", {b"kTRC": curve})


def inks(c, m, y, k):
    """Return the Lab color of inks from 0 to 1 in a simple model of a press."""
    light = 100 * (1 - 0.45 * c) * (1 - 0.5 * m) * (1 - 0.1 * y) * (1 - 0.9 * k)
    return light, (60 * m - 30 * c) * (1 - k), (70 * y - 40 * c) * (1 - k)


def cmyk_profile():
    """Write a profile with a table of the sixteen combinations of full inks, from CMYK to Lab."""
    table = b"".join(
        bytes([round(light * 2.55), round(a + 128), round(b + 128)])
        for light, a, b in itertools.starmap(inks, itertools.product((0, 1), repeat=4))
    )
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return profile(
        b"CMYK",
        {
            b"A2B0": b"mft1"
            + struct.pack(">IBBBB", 0, 4, 3, 2, 0)
            + identity
            + bytes(range(256)) * 4
            + table
            + bytes(range(256)) * 3
        },
        b"Lab ",
        b"prtr",
    )


def linear(level):
    value = level / 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def inverse(m):
    (a, b, c), (d, e, f), (g, h, i) = m
    det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return [
        [(e * i - f * h) / det, (c * h - b * i) / det, (b * f - c * e) / det],
        [(f * g - d * i) / det, (a * i - c * g) / det, (c * d - a * f) / det],
        [(d * h - e * g) / det, (b * g - a * h) / det, (a * e - b * d) / det],
    ]


def lab(rgb):
    """Return the Lab color of an sRGB pixel."""
    x, y, z = (
        value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in (v / w for v, w in zip(times(SRGB, [linear(level) for level in rgb]), WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
