"""libvips renders every depth, layout and compression to the same image; see `test_libvips`."""

import itertools
import struct
import zlib

import pytest
from PIL import Image, ImageChops

from luna_image_store.imaging.render import preview, render
from tests.sample_images import TRANSPOSES

from . import test_png as pngs
from .file_writers import chunk, segment
from .measure import DEFAULT, decoded, encoded, max_difference, photo, psnr, rendered
from .profiles import ADOBE_RGB, DISPLAY_P3, SRGB_CURVE, cmyk_profile, gamma, grey_profile, matrix_profile
from .test_gif_frames import colors, frame, gif, interlace, pack
from .test_libvips import render_with_vips
from .tiff_page import COMPRESSIONS, ONE_STRIP, PACK, STRIPS, TILES, page

SIZE = 72, 56
PHOTO, RGBA = photo(*SIZE), photo(*SIZE, "RGBA")
GREY, ALPHA, INKS = PHOTO.convert("L"), RGBA.getchannel("A"), PHOTO.convert("CMYK")
P3, ADOBE, PRESS = matrix_profile(DISPLAY_P3, SRGB_CURVE), matrix_profile(ADOBE_RGB, gamma(2.2)), cmyk_profile()
COLORS = {"grey": (1, (GREY,)), "white is zero": (0, (ImageChops.invert(GREY),)), "RGB": (2, PHOTO.split())}
# Not compared: CMYK without a profile, because vips uses its built-in profile; planar grey with alpha, because vips reads one
# plane; Lab, because vips interprets it differently.


def compressed_profile(profile):
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def png_sources():
    for color, depth in pngs.KINDS:
        at = pngs.samples(color, depth)
        for interlaced in (False, True):
            yield (
                f"{pngs.NAMES[color]} of {depth} bits{', interlaced' * interlaced}",
                pngs.write_png(color, depth, at, interlaced=interlaced),
            )


def packed_tiffs():
    for name, compression, layout, predictor in itertools.product(COLORS, PACK, (ONE_STRIP, STRIPS, TILES), (1, 2)):
        if predictor == 1 or compression in (5, 8):
            data = page(*COLORS[name], layout=layout, compression=compression, predictor=predictor)
            yield f"{name}, {COMPRESSIONS[compression]}, {layout}{', differences' * (predictor == 2)}", data


def tiffs_of_samples():
    for (name, (photometric, bands)), planar in itertools.product(COLORS.items(), (False, True)):
        for order in "<>":
            yield f"{name} of 16 bits{', planar' * planar}, {order}", page(photometric, bands, 16, order, planar=planar)
        if photometric == 2 or (photometric == 1 and not planar):
            for depth in (8, 16):
                data = page(photometric, [*bands, ALPHA], depth, planar=planar, extra=(2,))
                yield f"{name} and alpha of {depth} bits{', planar' * planar}", data
    for depth in (8, 16):
        yield f"inks with a profile, {depth} bits", page(5, INKS.split(), depth, t34675=(7, PRESS))
        yield f"RGB with Adobe RGB, {depth} bits", page(2, PHOTO.split(), depth, t34675=(7, ADOBE))
        yield f"grey with a profile, {depth} bits", page(1, [GREY], depth, t34675=(7, grey_profile(gamma(1.8))))


def other_tiffs():
    for options in (0, 1, 4):
        yield (
            f"fax of group 3, options {options}",
            encoded(PHOTO.convert("1"), "TIFF", compression="group3", tiffinfo={292: options}),
        )
    for name in ("tiff_ccitt", "group3", "group4"):
        yield f"fax by {name} in strips", encoded(PHOTO.convert("1"), "TIFF", compression=name, tiffinfo={278: 9})
    for mode in ("L", "RGB"):
        yield f"JPEG of {mode}", encoded(photo(*SIZE, mode), "TIFF", compression="jpeg", quality=95, tiffinfo={278: 16})
    for orientation in TRANSPOSES:
        rotated = PHOTO.transpose(TRANSPOSES[orientation]) if orientation > 1 else PHOTO
        yield f"rotated {orientation} in tiles", page(2, rotated.split(), layout=TILES, t274=(3, [orientation]))


def gif_sources():
    for bits in range(1, 9):
        indexes, palette, _ = colors(bits)
        for interlaced in (False, True):
            codes = pack(interlace(indexes) if interlaced else indexes, bits)
            data = gif((40, 26), frame(codes, bits, interlaced=interlaced), palette=palette)
            yield f"{bits} bits{', interlaced' * interlaced}", data


def exif(orientation):
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


def rotated_pngs():
    for orientation in TRANSPOSES:
        data = encoded(PHOTO.transpose(TRANSPOSES[orientation]) if orientation > 1 else PHOTO, "PNG")
        yield f"rotated {orientation}", data[:33] + chunk(b"eXIf", exif(orientation)) + data[33:]


def profiled_pngs():
    for name, image, profile in (
        ("RGBA with Display P3", RGBA, P3),
        ("RGB with Adobe RGB", PHOTO, ADOBE),
        ("palette with Display P3", PHOTO.quantize(250), P3),
        ("grey and alpha with a profile", RGBA.convert("LA"), grey_profile(gamma(1.8))),
    ):
        data = encoded(image, "PNG")
        yield name, data[:33] + compressed_profile(profile) + data[33:]


SOURCES = {
    f"{kind} {name}": data
    for kind, sources in (
        ("PNG", [*png_sources(), *rotated_pngs(), *profiled_pngs()]),
        ("TIFF", [*packed_tiffs(), *tiffs_of_samples(), *other_tiffs()]),
        ("GIF", gif_sources()),
    )
    for name, data in sources
}


@pytest.mark.parametrize("name", SOURCES)
def test_converted_image_matches_libvips(name):
    upright, previews, _ = rendered(SOURCES[name])
    expected = render_with_vips(SOURCES[name])
    assert upright.size == expected.size
    assert max_difference(upright, expected) <= 3 or psnr(upright, expected) > 50  # a profile may remove almost all of a channel
    assert psnr(previews[64], expected.resize(previews[64].size, Image.Resampling.LANCZOS)) > 36


def jpegs():
    for options in ({}, {"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"restart_marker_blocks": 2}):
        for mode in ("L", "RGB"):
            for orientation in (1, 3, 6, 7):
                image = photo(150, 110, mode)
                rotated = image.transpose(TRANSPOSES[orientation]) if orientation > 1 else image
                data = encoded(rotated, quality=95, **options)
                yield (
                    f"{mode} {options} rotated {orientation}",
                    data[:2] + segment(0xE1, b"Exif\0\0" + exif(orientation)) + data[2:],
                )
    for name, mode, profile in (
        ("Adobe RGB", "RGB", ADOBE),
        ("a grey profile", "L", grey_profile(gamma(1.8))),
        ("inks", "CMYK", PRESS),
    ):
        yield f"with {name}", encoded(photo(150, 110, mode), quality=95, icc_profile=profile)
    yield "RGB without YCbCr", encoded(photo(150, 110), quality=95, keep_rgb=True)


JPEGS = dict(jpegs())


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_previews_match_libvips(name):
    expected = render_with_vips(JPEGS[name])
    for result in (render(JPEGS[name], DEFAULT).previews[160], preview(JPEGS[name], 150, DEFAULT)):
        assert decoded(result).size == expected.size
        assert psnr(decoded(result), expected) > 32
