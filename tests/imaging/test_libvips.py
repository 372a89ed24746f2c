"""libvips renders the same files to the same images, so that Pillow is not compared with itself.

The libvips package on PyPI has no readers for BMP and PPM.
"""

import pytest
import pyvips
from PIL import Image

from luna_image_store.imaging.render import render
from tests.sample_images import TRANSPOSES

from .file_writers import adam7, frame, gif, packed, png, tiff
from .measure import DEFAULT, decoded, encoded, max_difference, photo, psnr, rendered
from .profiles import ADOBE_RGB, DISPLAY_P3, SRGB_CURVE, gamma, grey_profile, matrix_profile

SIZE = 72, 56
PHOTO = photo(*SIZE)
P3, ADOBE = matrix_profile(DISPLAY_P3, SRGB_CURVE), matrix_profile(ADOBE_RGB, gamma(2.2))
TIFF_BASE = {256: (4, [SIZE[0]]), 257: (4, [SIZE[1]]), 278: (4, [SIZE[1]])}


def render_with_vips(data):
    """Render with libvips as the service does: the first page, upright, in sRGB of 8 bits, on white."""
    image = pyvips.Image.new_from_buffer(data, "", fail_on="truncated").autorot()
    if image.get_typeof("icc-profile-data"):
        image = image.icc_transform("srgb", embedded=True, intent="perceptual", depth=8)
    elif image.interpretation != "b-w":
        image = image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")
    if image.hasalpha():
        image = image.flatten(background=255)
    image = image.cast("uchar")
    return Image.frombytes("L" if image.bands == 1 else "RGB", (image.width, image.height), image.write_to_memory())


def rotated(orientation, kind, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    rotated_photo = PHOTO.transpose(TRANSPOSES[orientation]) if orientation > 1 else PHOTO
    return encoded(rotated_photo, kind, exif=exif, **options)


def saved(mode, kind, **options):
    return encoded(photo(*SIZE, mode), kind, **options)


def tiff_of(bands, depth, photometric, **more):
    """Write a TIFF of interleaved bands of 8 or 16 bits."""
    samples = b"".join(bytes(pixel) for pixel in zip(*(band.tobytes() for band in bands), strict=True))
    if depth == 16:
        samples = b"".join(bytes([level, level]) for level in samples)
    tags = {258: (3, [depth] * len(bands)), 259: (3, [1]), 262: (3, [photometric]), 277: (3, [len(bands)])}
    return tiff(TIFF_BASE | tags | {int(tag[1:]): value for tag, value in more.items()}, samples)


RGBA = photo(*SIZE, "RGBA")
CMYK = photo(*SIZE, "CMYK")
GREY = PHOTO.convert("L")
INDEXED = PHOTO.quantize(250)
FRAME = frame((0, 0, *SIZE), INDEXED.tobytes())
SMALL_FRAME = frame((9, 7, 40, 30), INDEXED.crop((9, 7, 49, 37)).tobytes())
PALETTE = bytes(INDEXED.getpalette("RGB"))
ONE_BIT = [
    packed([level // 255 for level in row], 1)
    for row in ([*GREY.convert("1").convert("L").tobytes()[y * 72 : y * 72 + 72]] for y in range(56))
]
SOURCES = {
    **{f"PNG {mode}": saved(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "PNG of 16 bits": encoded(GREY.convert("I").point(lambda level: level * 257).convert("I;16"), "PNG"),
    "PNG of 1 bit": png(SIZE, 1, 0, ONE_BIT),
    "PNG interlaced": png((40, 30), 8, 0, adam7(40, 30, lambda x, y: (5 * x + 3 * y) % 256, 8), interlaced=True),
    "PNG with Display P3": saved("RGB", "PNG", icc_profile=P3),
    "PNG with a grey profile": saved("L", "PNG", icc_profile=grey_profile(gamma(1.8))),
    "PNG rotated": rotated(6, "PNG"),
    "GIF": gif(SIZE, FRAME, palette=PALETTE),  # vips fills the screen around a frame with black
    "GIF animated": gif(SIZE, FRAME, SMALL_FRAME, palette=PALETTE),
    "GIF transparent": gif(SIZE, frame((0, 0, *SIZE), INDEXED.tobytes(), transparent=INDEXED.getpixel((9, 9))), palette=PALETTE),
    **{
        f"TIFF {mode} {compression}": saved(mode, "TIFF", compression=compression)
        for mode in ("L", "RGB", "RGBA", "P")
        for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate")
    },
    **{f"TIFF {compression}": saved("1", "TIFF", compression=compression) for compression in ("tiff_ccitt", "group3", "group4")},
    **{f"TIFF rotated {orientation}": rotated(orientation, "TIFF") for orientation in TRANSPOSES},
    "TIFF of differences": saved("RGB", "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
    "TIFF with Adobe RGB": saved("RGB", "TIFF", icc_profile=ADOBE),
    "TIFF of 16 bits": tiff_of(PHOTO.split(), 16, 2),
    "TIFF of 16 bits with alpha": tiff_of(RGBA.split(), 16, 2, t338=(3, [2])),
    "TIFF grey with alpha": tiff_of((GREY, RGBA.getchannel("A")), 8, 1, t338=(3, [2])),
    "TIFF in which white is zero": tiff_of((GREY,), 8, 0),
    "TIFF of planes": tiff(
        TIFF_BASE | {258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3]), 284: (3, [2])},
        *(b.tobytes() for b in PHOTO.split()),
    ),
}
JPEGS = {
    "baseline": saved("RGB", "JPEG", quality=95),
    "progressive": saved("RGB", "JPEG", quality=95, progressive=True),
    "4:4:4": saved("RGB", "JPEG", quality=95, subsampling="4:4:4"),
    "grey": saved("L", "JPEG", quality=95),
    "with Display P3": saved("RGB", "JPEG", quality=95, icc_profile=P3),
    **{f"rotated {orientation}": rotated(orientation, "JPEG", quality=95) for orientation in TRANSPOSES},
}


@pytest.mark.parametrize("name", SOURCES)
def test_converted_image_matches_libvips(name):
    upright, previews, _ = rendered(SOURCES[name])
    expected = render_with_vips(SOURCES[name])
    assert upright.size == expected.size
    assert max_difference(upright, expected) <= 3
    assert psnr(previews[64], expected.resize(previews[64].size, Image.Resampling.LANCZOS)) > 38


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_preview_matches_libvips(name):
    expected = render_with_vips(JPEGS[name])
    preview = decoded(render(JPEGS[name], DEFAULT).previews[160])  # at full size: the images are smaller
    assert preview.size == expected.size
    assert psnr(preview, expected) > 33
