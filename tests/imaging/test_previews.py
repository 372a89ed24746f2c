"""Previews have exact sizes, are near to a reference, and are never enlarged."""

from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from luna_image_store.imaging.render import PREVIEW_SIZES, PREVIEW_TABLES, RenderSettings, preview, render

from .measure import DEFAULT, assert_previews, decoded, encoded, max_difference, photo, previewed, psnr, rendered, shrunk

SIZES = [(250, 250), (640, 427), (427, 640), (1920, 1080), (800, 599), (161, 160), (160, 161), (100, 200), (999, 333)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_previews_of_photos_match_reference(kind, size):
    data = encoded(photo(*size, seed=size[0]), kind, **{"quality": 90} if kind == "JPEG" else {})
    _, previews, stored = rendered(data)
    assert_previews(previews, decoded(data, kind))
    for longest in (20, 128, 300, 512):
        result = previewed(data, longest) if kind == "JPEG" else None
        assert result is None or psnr(result, shrunk(decoded(data), longest)) >= 40
    assert stored.size == size


@pytest.mark.parametrize("size", SIZES)
def test_encoded_previews_are_near_the_original(size):
    """Compare the luma only: the encoder reduces the precision of colors."""
    data = encoded(photo(*size), quality=95)
    for rendering, min_psnr in ((DEFAULT, 33), (RenderSettings(preview_quality=100), 40)):
        for longest, jpeg in render(data, rendering).previews.items():
            assert psnr(decoded(jpeg).convert("L"), shrunk(decoded(data), longest).convert("L")) >= min_psnr


GAINS = {160: -0.3, 96: 0.4, 64: 0.8, 32: 0.8}  # dB


def test_preview_tables_have_better_color_than_standard_tables_at_equal_size():
    """Standard JPEGs have half the color resolution, and tables that remove fine detail."""
    gains, ours, theirs = {size: [] for size in PREVIEW_SIZES}, 0, 0
    for size in SIZES:
        data = encoded(photo(*size, seed=size[1]), quality=90)
        for longest, jpeg in render(data, DEFAULT).previews.items():
            best = shrunk(decoded(data), longest)
            usual = encoded(best, quality=90)
            gains[longest].append(psnr(decoded(jpeg), best) - psnr(decoded(usual), best))
            ours, theirs = ours + len(jpeg), theirs + len(usual)
    assert all(mean(gains[longest]) >= gain for longest, gain in GAINS.items()), gains
    assert ours <= 1.05 * theirs


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [1, 50, 90, 100])
def test_encoder_writes_same_bytes_as_save(mode, quality):
    image = photo(97, 61, mode)
    data = encoded(image, "PNG")
    stored = render(data, RenderSettings(jpeg_quality=quality, preview_quality=quality))
    assert stored.jpeg == encoded(image, quality=quality, subsampling="4:4:4")
    preview_97 = encoded(shrunk(image, 97), quality=quality, subsampling="4:4:4", qtables=PREVIEW_TABLES)
    assert stored.previews[160] == preview_97


def test_converted_jpegs_are_near_the_original():
    assert psnr(decoded(render(encoded(photo(), "PNG"), DEFAULT).jpeg), photo()) >= 38
    assert psnr(decoded(render(encoded(photo(), "PNG"), RenderSettings(jpeg_quality=100)).jpeg), photo()) >= 45


def assert_exact(size, actual, longest):
    """Check that the longest side is `longest`, the other side is rounded, at least 1, and no side grows."""
    scale = min(1, longest / max(size))
    assert max(actual) == min(longest, max(size))
    for side, full in zip(actual, size, strict=True):
        assert side == 1 or abs(side - full * scale) <= 0.5
        assert 1 <= side <= full


EDGES = [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (1, 33), (33, 1), (3000, 3), (3, 3000), (31, 31), (32, 32), (33, 33)]


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_previews_of_very_small_and_thin_images(kind, size):
    plain = Image.new("RGB", size, (200, 100, 51))
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "JPEG" else {}
    _, previews, stored = rendered(encoded(plain, kind, **options))
    assert tuple(previews) == PREVIEW_SIZES
    for longest, result in previews.items():
        assert_exact(size, result.size, longest)
        assert max_difference(result, plain.resize(result.size)) <= 2
    if kind == "JPEG":
        for longest in (1, 2, 700, 2048):
            assert_exact(size, previewed(stored.jpeg, longest).size, longest)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 2048), st.sampled_from(["L", "RGB", "CMYK"]))
def test_previews_have_exact_sizes(width, height, longest, mode):
    jpeg = encoded(Image.new(mode, (width, height)))
    for wanted, result in render(jpeg, DEFAULT).previews.items():
        assert_exact((width, height), decoded(result).size, wanted)
    assert_exact((width, height), decoded(preview(jpeg, longest, DEFAULT)).size, longest)


def test_sharp_lines_stay_in_place():
    """A vertical and a horizontal line keep their positions."""
    image = Image.new("L", (801, 601), 255)
    image.paste(0, (390, 0, 411, 601))
    image.paste(0, (0, 290, 801, 311))
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100})):
        assert_previews(rendered(encoded(image, kind, **options))[1], image)
