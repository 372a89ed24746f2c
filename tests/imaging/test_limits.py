"""Hostile pictures end quickly and with little memory, each in a process of its own; the header is checked before any decoding."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from luna_image_store.errors import BadImage, TooManyPixels
from luna_image_store.imaging.render import RenderSettings, render
from tests.sample_images import with_declared_size

from .limits import CASES
from .measure import encoded, photo

REPOSITORY = Path(__file__).parents[2]
SECONDS, MEGABYTES = 2, 300


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_picture(name):
    command = [sys.executable, "-m", "tests.imaging.limits", name]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    outcome, seconds, megabytes = json.loads(done.stdout)
    assert outcome == CASES[name][0]
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_pixels_are_counted_before_anything_is_decoded(kind):
    """Nearly all pixels of these are missing, which is found only once they are few enough to be decoded."""
    with pytest.raises(TooManyPixels, match="has 1000000 pixels, the limit is 999999"):
        render(with_declared_size(kind, 1000, 1000), RenderSettings(max_pixels=999_999))
    if kind not in ("JPEG", "GIF"):  # a JPEG may end early if it says so; a GIF's first frame may be smaller than its screen
        with pytest.raises(BadImage):
            render(with_declared_size(kind, 1000, 1000), RenderSettings(max_pixels=1_000_000))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_as_many_pixels_as_the_limit_are_taken(kind):
    data = encoded(photo(100, 100), kind)
    assert render(data, RenderSettings(max_pixels=10_000)).size == (100, 100)
    with pytest.raises(TooManyPixels):
        render(data, RenderSettings(max_pixels=9_999))
