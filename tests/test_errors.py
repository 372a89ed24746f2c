"""The manual lists every error of the interface with its remedy."""

import re
import runpy
from pathlib import Path

import pytest

import luna_image_store
from luna_image_store.errors import ServiceError

DOCS = Path(luna_image_store.__file__).parents[1] / "docs"
KINDS = ServiceError.kinds()
PUBLISHED = {1, 12002, 12003, 12012, 12013, 12014, 12017, 12021, 12022, 12023, 12024, 12025, 12030, 12032, 12046}
PUBLISHED |= {13003, 13006, 13007, 18002}
OWN = set(range(13901, 13910))


@pytest.fixture(scope="module")
def rows():
    """Return the rows of the rendered table of the manual, by error code."""
    lines = list(runpy.run_path(str(DOCS / "conf.py"))["errors"]())[2:]
    return {int(re.search("`([0-9]+)`", line)[1]): line for line in lines}


def test_each_code_of_the_interface_has_a_row(rows):
    assert set(rows) >= PUBLISHED | OWN
    assert set(rows) == {kind.spec.code for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_has_a_description_and_a_remedy(kind):
    assert "remedy" in vars(kind), f"errors.{kind.__name__}: add `remedy`, the action for the operator of the service"
    assert kind.remedy.endswith(".")
    assert kind.__doc__.partition("\n")[0].endswith(".")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_manual_has_the_remedy(kind, rows):
    assert kind.remedy in rows[kind.spec.code]
