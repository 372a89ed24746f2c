"""Images that are created for tests."""

import struct
import zlib
from io import BytesIO

from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM")
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
UPRIGHT = (RED, GREEN, BLUE, YELLOW)  # the corners of `quadrants`: top left, top right, bottom left, bottom right
ORIENTATION = 0x0112
TRANSPOSES = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quadrants(width=64, height=48):
    """Return an image with four colors, one per corner, which show its orientation."""
    image = Image.new("RGB", (2, 2))
    image.putdata(UPRIGHT)
    return image.resize((width, height), Image.Resampling.NEAREST)


def encoded(image, kind="JPEG", **options):
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def decoded(data):
    image = Image.open(BytesIO(data))
    image.load()
    return image


def jpeg(width=64, height=48, **options):
    return encoded(quadrants(width, height), **options)


def rotated(orientation, kind, width=64, height=48):
    """Encode rotated or mirrored `quadrants` with the EXIF orientation that corrects them."""
    image = quadrants(width, height)
    if orientation > 1:
        image = image.transpose(TRANSPOSES[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, kind, exif=exif)


def corners(image):
    """Return the colors of the four corners, with each channel rounded to 0 or 255."""
    right, bottom = image.width * 7 // 8, image.height * 7 // 8
    left, top = image.width // 8, image.height // 8
    places = ((left, top), (right, top), (left, bottom), (right, bottom))
    rgb = image.convert("RGB")
    return tuple(tuple(255 * (level > 127) for level in rgb.getpixel(place)) for place in places)


def with_declared_size(kind, width, height):
    """Encode a small image, and write another size to its header."""
    if kind == "PPM":
        return b"P6 %d %d 255\n" % (width, height) + bytes(3000)
    data = bytearray(encoded(quadrants(), kind))
    if kind == "TIFF":
        _set_tiff_size(data, width, height)
    elif kind == "JPEG":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    else:
        form, place = {"PNG": (">II", 16), "BMP": ("<ii", 18), "GIF": ("<HH", 6)}[kind]
        struct.pack_into(form, data, place, width, height)
    if kind == "PNG":
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def _set_tiff_size(data, width, height):
    """Change width and height in the first image file directory."""
    start = struct.unpack_from("<I", data, 4)[0]
    for number in range(struct.unpack_from("<H", data, start)[0]):
        entry = start + 2 + 12 * number
        tag = struct.unpack_from("<H", data, entry)[0]
        if tag in (256, 257):
            struct.pack_into("<HII", data, entry + 2, 4, 1, width if tag == 256 else height)
