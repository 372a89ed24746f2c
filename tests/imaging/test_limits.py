"""Limits on the time and memory of rendering hostile files, and on the number of pixels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from luna_image_store.errors import BadImage, TooManyPixels
from luna_image_store.imaging.render import RenderSettings, render
from tests.sample_images import with_declared_size

from .hostile_files import CASES
from .measure import encoded, photo

REPOSITORY = Path(__file__).parents[2]
SECONDS, MEGABYTES = 2, 300


@pytest.mark.parametrize("name", CASES)
def test_hostile_file_stays_within_time_and_memory(name):
    command = [sys.executable, "-m", "tests.imaging.hostile_files", name]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    outcome, seconds, megabytes = json.loads(done.stdout)
    assert outcome == CASES[name][0]
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_pixels_are_counted_before_decoding(kind):
    """Nearly all pixels of the files are missing. The renderer detects this only below the limit, when it decodes them."""
    with pytest.raises(TooManyPixels, match="has 1000000 pixels, the limit is 999999"):
        render(with_declared_size(kind, 1000, 1000), RenderSettings(max_pixels=999_999))
    if kind not in ("JPEG", "GIF"):  # a JPEG may end with its marker; a frame may be smaller than the screen
        with pytest.raises(BadImage):
            render(with_declared_size(kind, 1000, 1000), RenderSettings(max_pixels=1_000_000))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_image_at_pixel_limit_is_accepted(kind):
    data = encoded(photo(100, 100), kind)
    assert render(data, RenderSettings(max_pixels=10_000)).size == (100, 100)
    with pytest.raises(TooManyPixels):
        render(data, RenderSettings(max_pixels=9_999))
