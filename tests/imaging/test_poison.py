"""Nothing of the memory that a decoder does not fill comes out: the same bytes make the same image, whatever was in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .poisoned import PLACES, long, short, sources

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes():
    """Render all files in memory of two kinds of poison; no allocation comes from a cache that is not poisoned."""
    command = [sys.executable, "-m", "tests.imaging.poisoned"]
    poison = [os.environ | {"MALLOC_PERTURB_": byte, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"} for byte in ("85", "170")]
    running = [subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for env in poison]
    results = [process.communicate(timeout=120) for process in running]
    assert [(process.returncode, errors) for process, (_, errors) in zip(running, results, strict=True)] == [(0, b"")] * 2
    return [json.loads(output) for output, _ in results]


def test_the_same_bytes_make_the_same_image_whatever_is_in_memory(outcomes):
    one, other = outcomes
    assert one == other


@pytest.mark.parametrize("name", [name for name, _ in sources()])
def test_a_file_that_is_cut_makes_the_whole_image_or_none(outcomes, name):
    whole = outcomes[0][f"{name}, cut {PLACES - 1}"]
    assert whole != "refused"
    assert {outcomes[0][f"{name}, cut {place}"] for place in range(PLACES)} <= {whole, "refused"}


@pytest.mark.parametrize("name", [name for name, _ in long()])
def test_a_file_with_more_data_than_pixels_is_taken(outcomes, name):
    assert outcomes[0][name] != "refused"


@pytest.mark.parametrize("name", [name for name, _ in short()])
def test_a_file_that_ends_properly_before_its_pixels_do_is_refused(outcomes, name):
    assert outcomes[0][name] == "refused"
