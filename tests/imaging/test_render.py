import struct
import time
import zlib
from contextlib import suppress

import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageStat, PngImagePlugin

from luna_image_store.errors import BadImage, TooManyPixels
from luna_image_store.imaging.pillow import pillow_problem
from luna_image_store.imaging.render import PREVIEW_SIZES, RenderedImage, RenderSettings, preview, render
from tests import sample_images
from tests.sample_images import decoded, encoded, quadrants

RENDERING = RenderSettings()
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
WITH_METADATA = ("JPEG", "PNG", "TIFF")
TIFF_COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")


def mode_and_color(data):
    """Return the mode of an image and the color of its middle pixel."""
    image = decoded(data)
    return image.mode, image.getpixel((image.width // 2, image.height // 2))


def is_close(actual, expected, tolerance=3):
    actual, expected = ((value,) if isinstance(value, int) else value for value in (actual, expected))
    return len(actual) == len(expected) and all(abs(one - other) <= tolerance for one, other in zip(actual, expected, strict=True))


def render_all(data, rendering=RENDERING):
    """Render an image. Return its JPEG if it is new, all stored previews, and a preview of another size."""
    image = render(data, rendering)
    jpegs = [] if image.jpeg == data else [image.jpeg]
    return [*jpegs, *image.previews.values(), preview(image.jpeg, 20, rendering)]


@pytest.fixture
def swapping_profile():
    """Return a profile that swaps red and green, so that a test can detect its use."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 5}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_jpeg_is_stored_unchanged(options):
    data = sample_images.jpeg(300, 200, **options)
    assert render(data, RENDERING).jpeg is data


def test_jpeg_with_several_images_is_stored_unchanged():
    data = encoded(quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    image = render(data, RENDERING)
    assert image.jpeg == data
    assert sample_images.corners(decoded(image.previews[64])) == sample_images.UPRIGHT


@pytest.mark.parametrize("kind", sample_images.FORMATS)
def test_each_format_is_detected_and_rendered(kind):
    image = render(encoded(quadrants(), kind), RENDERING)
    result = decoded(image.jpeg)
    assert (result.format, result.mode, result.size, image.size) == ("JPEG", "RGB", (64, 48), (64, 48))
    assert sample_images.corners(result) == sample_images.UPRIGHT
    assert all(sample_images.corners(decoded(data)) == sample_images.UPRIGHT for data in image.previews.values())


@pytest.mark.parametrize("kind", ["ICO", "ICNS", "TGA", "PCX", "SGI", "DDS", "IM", "EPS", "PDF"])
def test_other_formats_are_refused(kind):
    with pytest.raises(BadImage):
        render(encoded(quadrants(), kind), RENDERING)


@pytest.mark.parametrize("compression", TIFF_COMPRESSIONS)
def test_tiff_compressions_are_accepted(compression):
    image = render(encoded(quadrants(), "TIFF", compression=compression), RENDERING)
    assert sample_images.corners(decoded(image.jpeg)) == sample_images.UPRIGHT


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG"])
def test_first_frame_or_page_is_rendered(kind):
    more = [Image.new("RGB", (64, 48), color) for color in (BLACK, WHITE)]
    image = render(encoded(quadrants(), kind, save_all=True, append_images=more), RENDERING)
    assert sample_images.corners(decoded(image.jpeg)) == sample_images.UPRIGHT


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", WITH_METADATA)
def test_image_is_rendered_upright(kind, orientation):
    for data in render_all(sample_images.rotated(orientation, kind, 320, 200)):
        image = decoded(data)
        assert sample_images.corners(image) == sample_images.UPRIGHT
        assert image.width > image.height
        assert not image.getexif()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", WITH_METADATA)
def test_upright_image_has_exact_size(kind, orientation):
    image = render(sample_images.rotated(orientation, kind, 300, 100), RENDERING)
    sizes = {longest: decoded(data).size for longest, data in image.previews.items()}
    assert sizes == {160: (160, 53), 96: (96, 32), 64: (64, 21), 32: (32, 11)}
    assert decoded(image.jpeg).size == image.size
    assert image.size == ((100, 300) if kind == "JPEG" and orientation > 4 else (300, 100))
    assert decoded(preview(image.jpeg, 150, RENDERING)).size == (150, 50)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_invalid_orientation_is_ignored(value):
    exif = Image.Exif()
    exif[sample_images.ORIENTATION] = value
    for kind in ("JPEG", "PNG"):
        for data in render_all(encoded(quadrants(), kind, exif=exif)):
            assert sample_images.corners(decoded(data)) == sample_images.UPRIGHT


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01"]
)
def test_broken_exif_is_ignored(exif):
    for kind in ("JPEG", "PNG"):
        for data in render_all(encoded(quadrants(), kind, exif=exif)):
            assert sample_images.corners(decoded(data)) == sample_images.UPRIGHT


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1000, 500), {160: (160, 80), 96: (96, 48), 64: (64, 32), 32: (32, 16)}),
        ((500, 1000), {160: (80, 160), 96: (48, 96), 64: (32, 64), 32: (16, 32)}),
        ((161, 159), {160: (160, 158), 96: (96, 95), 64: (64, 63), 32: (32, 32)}),
        ((97, 97), {160: (97, 97), 96: (96, 96), 64: (64, 64), 32: (32, 32)}),
        ((31, 17), {160: (31, 17), 96: (31, 17), 64: (31, 17), 32: (31, 17)}),
        ((1, 1), {160: (1, 1), 96: (1, 1), 64: (1, 1), 32: (1, 1)}),
        ((3000, 1), {160: (160, 1), 96: (96, 1), 64: (64, 1), 32: (32, 1)}),
        ((2, 3000), {160: (1, 160), 96: (1, 96), 64: (1, 64), 32: (1, 32)}),
        ((1999, 1333), {160: (160, 107), 96: (96, 64), 64: (64, 43), 32: (32, 21)}),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_previews_have_exact_size_and_are_never_enlarged(kind, size, expected):
    image = render(encoded(quadrants(*size), kind), RENDERING)
    assert {longest: decoded(data).size for longest, data in image.previews.items()} == expected
    assert {longest: decoded(preview(image.jpeg, longest, RENDERING)).size for longest in expected} == expected


@pytest.mark.parametrize("longest", [1, 2, 7, 100, 599, 600, 601, 2048])
def test_preview_of_any_size_is_rendered(longest):
    image = decoded(preview(sample_images.jpeg(600, 300), longest, RENDERING))
    longest = min(longest, 600)
    assert image.size == (longest, max(1, round(longest / 2)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_previews_look_like_the_image(kind):
    original = Image.merge("RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90)])
    original = original.resize((1000, 700), Image.Resampling.BICUBIC)
    image = render(encoded(original, kind), RENDERING)
    previews = {**image.previews, 300: preview(image.jpeg, 300, RENDERING)}
    for data in previews.values():
        small = decoded(data)
        difference = ImageChops.difference(small, original.resize(small.size, Image.Resampling.LANCZOS))
        assert max(ImageStat.Stat(difference).mean) < 4


@pytest.mark.parametrize("kind", [kind for kind in sample_images.FORMATS if kind != "GIF"])  # GIF always has a palette
def test_grey_stays_grey(kind):
    for data in render_all(encoded(Image.new("L", (200, 100), 100), kind)):
        image = decoded(data)
        assert is_close(image.convert("RGB").getpixel((10, 5)), (100, 100, 100))
        assert image.mode == "L"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_black_and_white_becomes_grey(kind):
    for data in render_all(encoded(Image.new("1", (200, 100), 1), kind)):
        assert mode_and_color(data) == ("L", 255)


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_sixteen_bits_are_scaled_to_eight(kind, level):
    for data in render_all(encoded(Image.new("I;16", (200, 100), level * 257), kind)):
        mode, actual = mode_and_color(data)
        assert mode == "L"
        assert is_close(actual, level)


def png16(color_type, *samples, chunks=b""):
    """Encode a PNG of 16 bits per sample. Pillow does not write all of its modes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width, height = 40, 20
    row = b"\0" + struct.pack(f">{len(samples)}H", *samples) * width
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0))
    more = b"".join(chunk(name, data) for name, data in ([chunks] if chunks else []))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "mode", "expected"),
    [
        (png16(2, 65535, 0, 32896), "RGB", (255, 0, 128)),
        (png16(6, 0, 0, 0, 32896), "RGB", (127, 127, 127)),
        (png16(4, 0, 32896), "RGB", (127, 127, 127)),
        (png16(0, 32896, chunks=(b"tRNS", struct.pack(">H", 1))), "L", 128),
        (png16(0, 0, chunks=(b"tRNS", struct.pack(">H", 0))), "L", 255),
        (b"P6 40 20 65535\n" + struct.pack(">3H", 65535, 0, 32896) * 800, "RGB", (255, 0, 128)),
    ],
    ids=["RGB", "RGBA", "LA", "L with another transparent level", "L with its level transparent", "PPM"],
)
def test_sixteen_bits_with_color_or_transparency_are_scaled_and_flattened(data, mode, expected):
    for result in render_all(data):
        assert mode_and_color(result)[0] == mode
        assert is_close(mode_and_color(result)[1], expected)


def test_floating_point_image_is_refused():
    with pytest.raises(BadImage):
        render(encoded(Image.new("F", (20, 10), 0.5), "TIFF"), RENDERING)


def transparent(mode, level, color):
    image = Image.new("RGB" if "RGB" in mode else "L", (200, 100), color)
    image.putalpha(level)
    return image


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("mode", "level", "color", "expected"),
    [
        ("RGBA", 0, sample_images.RED, ("RGB", WHITE)),
        ("RGBA", 128, sample_images.RED, ("RGB", (255, 127, 127))),
        ("RGBA", 255, sample_images.RED, ("RGB", (255, 0, 0))),
        ("LA", 0, 0, ("L", 255)),
        ("LA", 128, 0, ("L", 127)),
        ("LA", 255, 100, ("L", 100)),
    ],
)
def test_alpha_is_flattened_on_white(kind, mode, level, color, expected):
    for data in render_all(encoded(transparent(mode, level, color), kind)):
        assert mode_and_color(data)[0] == expected[0]
        assert is_close(mode_and_color(data)[1], expected[1])


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_color_is_flattened_on_white(kind):
    image = Image.new("P", (200, 100), 1)
    image.putpalette([*BLACK, *sample_images.RED, *sample_images.BLUE])
    image.paste(2, (0, 0, 100, 100))
    for data in render_all(encoded(image, kind, transparency=1)):
        result = decoded(data)
        assert is_close(result.getpixel((result.width * 3 // 4, 2)), WHITE)
        assert is_close(result.getpixel((result.width // 4, 2)), sample_images.BLUE)


def test_palette_alpha_is_flattened_on_white():
    image = Image.new("P", (200, 100), 1)
    image.putpalette([*BLACK, *sample_images.RED])
    for data in render_all(encoded(image, "PNG", transparency=bytes([255, 128]))):
        assert is_close(mode_and_color(data)[1], (255, 127, 127))


def test_single_transparent_color_is_flattened_on_white():
    for data in render_all(encoded(Image.new("RGB", (200, 100), sample_images.RED), "PNG", transparency=sample_images.RED)):
        assert is_close(mode_and_color(data)[1], WHITE)


def test_transparent_images_are_flattened_on_configured_background():
    for mode, color in (("RGBA", sample_images.RED), ("LA", 0)):
        for data in render_all(encoded(transparent(mode, 0, color), "PNG"), RenderSettings(background="#0000ff")):
            assert is_close(mode_and_color(data)[1], sample_images.BLUE)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    for data in render_all(encoded(Image.new("CMYK", (200, 100), (0, 255, 255, 0)), kind)):
        assert mode_and_color(data)[0] == "RGB"
        assert is_close(mode_and_color(data)[1], sample_images.RED, 10)


@pytest.mark.parametrize("kind", WITH_METADATA)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colors_with_profile_are_converted_to_srgb(kind, mode, swapping_profile):
    if (kind, mode) == ("JPEG", "RGBA"):
        mode = "RGB"
    for data in render_all(encoded(Image.new(mode, (200, 100), sample_images.RED), kind, icc_profile=swapping_profile)):
        assert is_close(mode_and_color(data)[1], sample_images.GREEN, 10)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 128, b""])
@pytest.mark.parametrize("kind", WITH_METADATA)
def test_broken_profile_is_ignored(kind, profile):
    for data in render_all(encoded(quadrants(), kind, icc_profile=profile)):
        assert sample_images.corners(decoded(data)) == sample_images.UPRIGHT


def test_profile_for_other_color_space_is_ignored(swapping_profile):
    for kind in ("PNG", "JPEG", "TIFF"):
        for data in render_all(encoded(Image.new("L", (200, 100), 100), kind, icc_profile=swapping_profile)):
            assert is_close(mode_and_color(data)[1], 100)
    for data in render_all(encoded(Image.new("CMYK", (200, 100), (0, 255, 255, 0)), "TIFF", icc_profile=swapping_profile)):
        assert is_close(mode_and_color(data)[1], sample_images.RED, 10)


@pytest.mark.parametrize("kind", [*WITH_METADATA, "GIF"])
def test_metadata_comments_and_profiles_are_removed(kind, swapping_profile):
    exif = Image.Exif()
    exif[0x010E] = exif[0x8298] = "secret"
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "secret")
    notes.add_itxt("XML:com.adobe.xmp", "secret")
    options = {
        "comment": b"secret",
        "icc_profile": swapping_profile,
        "exif": exif,
        "xmp": b"secret",
        "dpi": (72, 72),
        "pnginfo": notes,
    }
    if kind == "TIFF":
        options["tiffinfo"] = {0x02BC: b"secret"}
        del options["exif"]
    original = encoded(quadrants(200, 100), kind, **options)
    assert b"secret" in original
    for data in render_all(original):
        assert b"secret" not in data
        assert b"ICC_PROFILE" not in data
        assert {marker[0] for marker in decoded(data).applist} <= {"APP0"}
        assert decoded(data).info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}


def test_configured_qualities_are_used():
    data = encoded(Image.effect_noise((300, 200), 80), "PNG")
    low = render(data, RenderSettings(jpeg_quality=10))
    high = render(data, RenderSettings(preview_quality=10))
    assert len(low.jpeg) < len(high.jpeg)
    assert all(len(low.previews[size]) > len(high.previews[size]) for size in PREVIEW_SIZES)
    assert len(preview(low.jpeg, 100, RENDERING)) > len(preview(low.jpeg, 100, RenderSettings(preview_quality=10)))


def test_converted_image_has_full_color_resolution():
    """At half the color resolution, single red columns on blue would become purple."""
    image = Image.new("RGB", (32, 32), sample_images.BLUE)
    for column in range(0, 32, 2):
        image.paste(sample_images.RED, (column, 0, column + 1, 32))
    result = decoded(render(encoded(image, "PNG"), RENDERING).jpeg)
    assert is_close(result.getpixel((8, 8)), sample_images.RED, 30)
    assert is_close(result.getpixel((9, 8)), sample_images.BLUE, 30)


@pytest.mark.parametrize(
    "data",
    [
        sample_images.jpeg(24, 16),
        sample_images.jpeg(24, 16, progressive=True),
        sample_images.jpeg(400, 300, quality=1),
        encoded(quadrants(24, 16).convert("L")),
        sample_images.rotated(6, "JPEG"),
        encoded(quadrants(24, 16), "PNG"),
        encoded(quadrants(24, 16).convert("P"), "PNG", transparency=1),
    ],
    ids=["JPEG", "progressive JPEG", "large JPEG", "grey JPEG", "JPEG with EXIF", "PNG", "PNG with palette"],
)
def test_jpeg_or_png_truncated_anywhere_is_refused(data):
    for length in range(len(data)):
        with pytest.raises(BadImage):
            render(data[:length], RENDERING)


@pytest.mark.parametrize(
    "data",
    [
        *(encoded(quadrants(), kind) for kind in ("BMP", "GIF", "PPM")),
        *(encoded(quadrants(), "TIFF", compression=compression) for compression in TIFF_COMPRESSIONS),
        b"P3 2 1 255\n255 255 255 255 255 255\n",
    ],
    ids=["BMP", "GIF", "PPM", *(f"TIFF {compression}" for compression in TIFF_COMPRESSIONS), "plain PPM"],
)
def test_truncated_image_of_other_format_is_refused(data):
    render(data, RENDERING)
    for length in range(0, len(data) - 8, max(1, len(data) // 150)):
        with pytest.raises(BadImage):
            render(data[:length], RENDERING)


@pytest.mark.parametrize("kind", sample_images.FORMATS)
def test_header_with_too_many_pixels_is_refused_quickly(kind):
    data = sample_images.with_declared_size(kind, 60_000, 60_000)
    assert len(data) < 20_000
    started = time.perf_counter()
    with pytest.raises(TooManyPixels) as caught:
        render(data, RENDERING)
    assert time.perf_counter() - started < 2
    assert caught.value.detail == "The picture has 3600000000 pixels, the limit is 75000000"  # codespell:ignore


def test_gif_frame_larger_than_screen_is_counted():
    data = bytearray(encoded(quadrants(), "GIF"))
    frame = data.index(b",\0\0\0\0")
    struct.pack_into("<HH", data, frame + 5, 60_000, 60_000)
    with pytest.raises(TooManyPixels):
        render(bytes(data), RENDERING)


@pytest.mark.parametrize("kind", sample_images.FORMATS)
def test_pixel_limit_is_exact(kind):
    data = encoded(quadrants(), kind)
    assert render(data, RenderSettings(max_pixels=64 * 48)).size == (64, 48)
    with pytest.raises(TooManyPixels):
        render(data, RenderSettings(max_pixels=64 * 48 - 1))


@pytest.mark.parametrize("kind", [kind for kind in sample_images.FORMATS if kind != "GIF"])  # the frame sets the size of a GIF
@pytest.mark.parametrize("size", [(0, 0), (0, 10), (10, 0)])
def test_image_without_pixels_is_refused(kind, size):
    with pytest.raises(BadImage):
        render(sample_images.with_declared_size(kind, *size), RENDERING)


def render_or_refuse(data):
    """Render any bytes. Only BadImage and TooManyPixels are allowed errors."""
    with suppress(BadImage, TooManyPixels):
        assert isinstance(render(data, RenderSettings(max_pixels=10_000)), RenderedImage)


@given(st.binary(max_size=2000))
def test_random_bytes_are_refused(data):
    with pytest.raises(BadImage):
        render(data, RENDERING)


SEEDS = [
    *(encoded(quadrants(), kind) for kind in sample_images.FORMATS),
    sample_images.rotated(6, "TIFF"),
    sample_images.rotated(8, "PNG"),
]


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=400)
def test_damaged_images_raise_no_other_errors(seed, data):
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, min(len(seed), 400) - 1) | st.integers(0, len(seed) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    render_or_refuse(bytes(damaged))


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"GIF89a", b"P6 ", b"P3 2 2 255\n"]),
    st.binary(),
)
def test_random_bytes_after_signature_raise_no_other_errors(signature, data):
    render_or_refuse(signature + data)


def test_preview_of_invalid_image_is_refused():
    with pytest.raises(BadImage):
        preview(b"not an image", 32, RENDERING)


def test_installed_pillow_is_supported():
    assert pillow_problem(allow_plain=False) is None


@pytest.mark.parametrize(
    ("version", "allow_plain", "problem"),
    [
        ("12.3.0", False, "plain Pillow 12.3.0 is loaded: install Pillow-SIMD"),
        ("12.2.9", True, "requires 12.3 or later"),
        ("12.3.0", True, None),
        ("13.0.0", True, None),
    ],
)
def test_plain_pillow_is_refused_unless_allowed_and_recent(monkeypatch, version, allow_plain, problem):
    monkeypatch.setattr(PIL, "__version__", version)
    found = pillow_problem(allow_plain)
    assert found is None if problem is None else problem in found
