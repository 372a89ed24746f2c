"""Images contain no uninitialized memory: the same file gives the same image, independent of the contents of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .poisoned_memory import LENGTHS, long_files, short_files, sources

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes():
    """Render all files twice, in memory filled with different bytes. The allocator cache is off, because it is not filled."""
    command = [sys.executable, "-m", "tests.imaging.poisoned_memory"]
    poison = [os.environ | {"MALLOC_PERTURB_": byte, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"} for byte in ("85", "170")]
    running = [subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for env in poison]
    results = [process.communicate(timeout=120) for process in running]
    assert [(process.returncode, errors) for process, (_, errors) in zip(running, results, strict=True)] == [(0, b"")] * 2
    return [json.loads(output) for output, _ in results]


def test_image_does_not_depend_on_uninitialized_memory(outcomes):
    one, other = outcomes
    assert one == other


@pytest.mark.parametrize("name", [name for name, _ in sources()])
def test_truncated_file_is_refused_or_renders_complete_image(outcomes, name):
    complete = outcomes[0][f"{name}, cut {LENGTHS - 1}"]
    assert complete != "refused"
    assert {outcomes[0][f"{name}, cut {place}"] for place in range(LENGTHS)} <= {complete, "refused"}


@pytest.mark.parametrize("name", [name for name, _ in long_files()])
def test_file_with_extra_data_is_accepted(outcomes, name):
    assert outcomes[0][name] != "refused"


@pytest.mark.parametrize("name", [name for name, _ in short_files()])
def test_file_with_too_few_pixels_is_refused(outcomes, name):
    assert outcomes[0][name] == "refused"
