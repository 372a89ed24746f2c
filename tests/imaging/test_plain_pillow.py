"""This Pillow computes what plain Pillow does, within one level: random sizes, modes and contents."""

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
SIDES = st.one_of(st.integers(1, 40), st.integers(1, 900))
fast = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def plainly():
    """Do an operation in plain Pillow."""
    need(PYTHON.exists(), f"{PYTHON}, which `make test` installs")
    command = [PYTHON, Path(__file__).with_name("operations.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def operate(name, picture, *arguments):
            send(process.stdin, picture, name, arguments)
            return receive(process.stdout)[0]

        yield operate
        process.stdin.close()


def here(name, picture, *arguments):
    return OPERATIONS[name](picture, *arguments)


def assert_alike(plainly, name, picture, *arguments, levels=1):
    ours, theirs = (operate(name, picture, *arguments) for operate in (here, plainly))
    assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
    bands = zip(ours.split(), theirs.split(), strict=True)
    assert max(ImageChops.difference(one, other).getextrema()[1] for one, other in bands) <= levels


@st.composite
def pictures(draw, *modes):
    mode, size = draw(st.sampled_from(modes)), (draw(SIDES), draw(SIDES))
    if draw(st.booleans()):
        return photo(*size, mode, draw(st.integers(0, 9)))
    coarse = Image.frombytes(mode, (3, 3), draw(st.binary(min_size=9 * len(mode), max_size=9 * len(mode))))
    return coarse.resize(size, Image.Resampling.NEAREST)


@fast
@given(pictures("L", "RGB", "CMYK"), SIDES, st.booleans())
def test_resizing_in_one_direction(plainly, picture, side, across):
    size = (min(side, picture.width), picture.height) if across else (picture.width, min(side, picture.height))
    assert_alike(plainly, "resize", picture, size)


@fast
@given(pictures("L", "RGB", "CMYK"), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_reducing(plainly, picture, factors):
    assert_alike(plainly, "reduce", picture, factors)


@fast
@given(st.sampled_from(["L", "RGB", "CMYK"]), st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.booleans(), st.integers(0, 9))
def test_resizing_a_photograph(plainly, mode, full, small, is_reduced, seed):
    """Which direction goes first differs from version to version, and black and white are clipped in between."""
    picture, size = photo(*full, mode, seed), [min(pair) for pair in zip(full, small, strict=True)]
    box = [0, 0, *(max(1, side - 0.4) for side in full)] if is_reduced else None
    ours, theirs = (operate("resize", picture, size, box, 2 if is_reduced else None) for operate in (here, plainly))
    assert psnr(ours, theirs) >= 40


@fast
@given(pictures("L", "RGB", "RGBA", "LA", "CMYK"), st.sampled_from(["L", "RGB", "RGBA"]))
def test_converting(plainly, picture, mode):
    assert_alike(plainly, "convert", picture, mode)


@fast
@given(pictures("L", "RGB", "CMYK"), st.sampled_from(list(Image.Transpose)))
def test_turning(plainly, picture, turn):
    assert_alike(plainly, "transpose", picture, turn.value, levels=0)


@fast
@given(pictures("RGBA"), st.tuples(*[st.integers(0, 255)] * 3))
def test_flattening(plainly, picture, colour):
    assert_alike(plainly, "flatten", picture, colour)


@fast
@given(st.data(), pictures("L", "RGB", "CMYK"))
def test_profiles(plainly, data, picture):
    profile = data.draw(st.sampled_from(PROFILES[picture.mode]))
    assert_alike(plainly, "to_srgb", picture, profile.hex())


@fast
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=99))
def test_sixteen_bits(plainly, levels):
    picture = Image.frombytes("I;16", (len(levels), 1), b"".join(level.to_bytes(2, "little") for level in levels))
    assert_alike(plainly, "to_eight_bits", picture)


@fast
@given(
    pictures("L", "RGB", "CMYK"),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.fixed_dictionaries(
        {"quality": st.integers(1, 100), "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]), "progressive": st.booleans()}
    ),
)
def test_decoding_a_jpeg_at_all_scales(plainly, picture, scale, options):
    assert_alike(plainly, "decode", Image.new("L", (1, 1)), encoded(picture, **options).hex(), scale)
