"""Previews have exact sizes, are near to the best that can be made, and are never enlarged."""

from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from luna_image_store.imaging.render import PREVIEW_SIZES, PREVIEW_TABLES, RenderSettings, preview, render

from .measure import DEFAULT, assert_previews, decoded, encoded, levels_apart, photo, previewed, psnr, rendered, shrunk

SIZES = [(250, 250), (640, 427), (427, 640), (1920, 1080), (800, 599), (161, 160), (160, 161), (100, 200), (999, 333)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_previews_of_photographs(kind, size):
    data = encoded(photo(*size, seed=size[0]), kind, **{"quality": 90} if kind == "JPEG" else {})
    _, previews, stored = rendered(data)
    assert_previews(previews, decoded(data, kind))
    for longest in (20, 128, 300, 512):
        made = previewed(data, longest) if kind == "JPEG" else None
        assert made is None or psnr(made, shrunk(decoded(data), longest)) >= 40
    assert stored.size == size


@pytest.mark.parametrize("size", SIZES)
def test_encoded_previews_are_near_to_what_they_were(size):
    """In their light, that is: of their colours the encoder keeps a quarter."""
    data = encoded(photo(*size), quality=95)
    for rendering, least in ((DEFAULT, 33), (RenderSettings(preview_quality=100), 40)):
        for longest, jpeg in render(data, rendering).previews.items():
            assert psnr(decoded(jpeg).convert("L"), shrunk(decoded(data), longest).convert("L")) >= least


GAINS = {160: -0.3, 96: 0.4, 64: 0.8, 32: 0.8}  # dB


def test_encoded_previews_are_nearer_in_color_than_by_the_tables_of_the_standard_and_as_small():
    """The usual way to make them takes half the color resolution, and tables that keep little of fine detail."""
    gains, ours, theirs = {size: [] for size in PREVIEW_SIZES}, 0, 0
    for size in SIZES:
        data = encoded(photo(*size, seed=size[1]), quality=90)
        for longest, jpeg in render(data, DEFAULT).previews.items():
            best = shrunk(decoded(data), longest)
            usual = encoded(best, quality=90)
            gains[longest].append(psnr(decoded(jpeg), best) - psnr(decoded(usual), best))
            ours, theirs = ours + len(jpeg), theirs + len(usual)
    assert all(mean(gains[longest]) >= least for longest, least in GAINS.items()), gains
    assert ours <= 1.05 * theirs


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [1, 50, 90, 100])
def test_the_encoder_writes_what_save_writes(mode, quality):
    image = photo(97, 61, mode)
    data = encoded(image, "PNG")
    stored = render(data, RenderSettings(jpeg_quality=quality, preview_quality=quality))
    assert stored.jpeg == encoded(image, quality=quality, subsampling="4:4:4")
    preview_97 = encoded(shrunk(image, 97), quality=quality, subsampling="4:4:4", qtables=PREVIEW_TABLES)
    assert stored.previews[160] == preview_97


def test_encoded_conversions_are_near_to_what_they_were():
    assert psnr(decoded(render(encoded(photo(), "PNG"), DEFAULT).jpeg), photo()) >= 38
    assert psnr(decoded(render(encoded(photo(), "PNG"), RenderSettings(jpeg_quality=100)).jpeg), photo()) >= 45


def assert_exact(size, made, longest):
    """The longest side is as asked for; the other one is rounded, at least 1; neither grows."""
    scale = min(1, longest / max(size))
    assert max(made) == min(longest, max(size))
    for side, full in zip(made, size, strict=True):
        assert side == 1 or abs(side - full * scale) <= 0.5
        assert 1 <= side <= full


EDGES = [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (1, 33), (33, 1), (3000, 3), (3, 3000), (31, 31), (32, 32), (33, 33)]


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_the_smallest_and_the_thinnest(kind, size):
    plain = Image.new("RGB", size, (200, 100, 51))
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "JPEG" else {}
    _, previews, stored = rendered(encoded(plain, kind, **options))
    assert tuple(previews) == PREVIEW_SIZES
    for longest, made in previews.items():
        assert_exact(size, made.size, longest)
        assert levels_apart(made, plain.resize(made.size)) <= 2
    if kind == "JPEG":
        for longest in (1, 2, 700, 2048):
            assert_exact(size, previewed(stored.jpeg, longest).size, longest)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 2048), st.sampled_from(["L", "RGB", "CMYK"]))
def test_any_size(width, height, longest, mode):
    jpeg = encoded(Image.new(mode, (width, height)))
    for wanted, made in render(jpeg, DEFAULT).previews.items():
        assert_exact((width, height), decoded(made).size, wanted)
    assert_exact((width, height), decoded(preview(jpeg, longest, DEFAULT)).size, longest)


def test_a_sharp_line_is_not_lost_or_moved():
    """A line down the middle and one across are where they were."""
    picture = Image.new("L", (801, 601), 255)
    picture.paste(0, (390, 0, 411, 601))
    picture.paste(0, (0, 290, 801, 311))
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100})):
        assert_previews(rendered(encoded(picture, kind, **options))[1], picture)
