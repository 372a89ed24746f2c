"""The installed Pillow returns the same pixels as plain Pillow, within one level: random sizes, modes and contents."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from ..machine import need
from .measure import encoded, photo, psnr
from .operations import OPERATIONS, receive, send
from .profiles import ADOBE_RGB, DISPLAY_P3, SRGB_CURVE, cmyk_profile, gamma, grey_profile, matrix_profile

PYTHON = Path(__file__).parents[2] / "build/plain-pillow/bin/python"
PROFILES = {
    "RGB": (matrix_profile(DISPLAY_P3, SRGB_CURVE), matrix_profile(ADOBE_RGB, gamma(2.2))),
    "L": (grey_profile(gamma(1.8)),),
    "CMYK": (cmyk_profile(),),
}
SIDE_LENGTHS = st.one_of(st.integers(1, 40), st.integers(1, 900))
fast = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def run_in_plain_pillow():
    """Return a function that runs an operation in plain Pillow."""
    need(PYTHON.exists(), f"{PYTHON}, which `make test` installs")
    command = [PYTHON, Path(__file__).with_name("operations.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def operate(name, image, *arguments):
            send(process.stdin, image, name, arguments)
            return receive(process.stdout)[0]

        yield operate
        process.stdin.close()


def run_in_this_pillow(name, image, *arguments):
    return OPERATIONS[name](image, *arguments)


def assert_same_pixels(run_in_plain_pillow, name, image, *arguments, levels=1):
    ours, theirs = (operate(name, image, *arguments) for operate in (run_in_this_pillow, run_in_plain_pillow))
    assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
    bands = zip(ours.split(), theirs.split(), strict=True)
    assert max(ImageChops.difference(one, other).getextrema()[1] for one, other in bands) <= levels


@st.composite
def images(draw, *modes):
    mode, size = draw(st.sampled_from(modes)), (draw(SIDE_LENGTHS), draw(SIDE_LENGTHS))
    if draw(st.booleans()):
        return photo(*size, mode, draw(st.integers(0, 9)))
    coarse = Image.frombytes(mode, (3, 3), draw(st.binary(min_size=9 * len(mode), max_size=9 * len(mode))))
    return coarse.resize(size, Image.Resampling.NEAREST)


@fast
@given(images("L", "RGB", "CMYK"), SIDE_LENGTHS, st.booleans())
def test_resizing_in_one_direction(run_in_plain_pillow, image, side, across):
    size = (min(side, image.width), image.height) if across else (image.width, min(side, image.height))
    assert_same_pixels(run_in_plain_pillow, "resize", image, size)


@fast
@given(images("L", "RGB", "CMYK"), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_reducing(run_in_plain_pillow, image, factors):
    assert_same_pixels(run_in_plain_pillow, "reduce", image, factors)


@fast
@given(
    st.sampled_from(["L", "RGB", "CMYK"]),
    st.tuples(SIDE_LENGTHS, SIDE_LENGTHS),
    st.tuples(SIDE_LENGTHS, SIDE_LENGTHS),
    st.booleans(),
    st.integers(0, 9),
)
def test_resizing_photo(run_in_plain_pillow, mode, full, small, is_reduced, seed):
    """Versions differ in the order of the directions, and they clip black and white between the two steps."""
    image, size = photo(*full, mode, seed), [min(pair) for pair in zip(full, small, strict=True)]
    box = [0, 0, *(max(1, side - 0.4) for side in full)] if is_reduced else None
    ours, theirs = (
        operate("resize", image, size, box, 2 if is_reduced else None) for operate in (run_in_this_pillow, run_in_plain_pillow)
    )
    assert psnr(ours, theirs) >= 40


@fast
@given(images("L", "RGB", "RGBA", "LA", "CMYK"), st.sampled_from(["L", "RGB", "RGBA"]))
def test_converting(run_in_plain_pillow, image, mode):
    assert_same_pixels(run_in_plain_pillow, "convert", image, mode)


@fast
@given(images("L", "RGB", "CMYK"), st.sampled_from(list(Image.Transpose)))
def test_transposing(run_in_plain_pillow, image, turn):
    assert_same_pixels(run_in_plain_pillow, "transpose", image, turn.value, levels=0)


@fast
@given(images("RGBA"), st.tuples(*[st.integers(0, 255)] * 3))
def test_flattening(run_in_plain_pillow, image, color):
    assert_same_pixels(run_in_plain_pillow, "flatten", image, color)


@fast
@given(st.data(), images("L", "RGB", "CMYK"))
def test_color_profiles(run_in_plain_pillow, data, image):
    profile = data.draw(st.sampled_from(PROFILES[image.mode]))
    assert_same_pixels(run_in_plain_pillow, "to_srgb", image, profile.hex())


@fast
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=99))
def test_sixteen_bits(run_in_plain_pillow, levels):
    image = Image.frombytes("I;16", (len(levels), 1), b"".join(level.to_bytes(2, "little") for level in levels))
    assert_same_pixels(run_in_plain_pillow, "to_eight_bits", image)


@fast
@given(
    images("L", "RGB", "CMYK"),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.fixed_dictionaries(
        {"quality": st.integers(1, 100), "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]), "progressive": st.booleans()}
    ),
)
def test_decoding_jpeg_at_all_scales(run_in_plain_pillow, image, scale, options):
    assert_same_pixels(run_in_plain_pillow, "decode", Image.new("L", (1, 1)), encoded(image, **options).hex(), scale)
