"""deploy/settings.toml has every setting with its default and its description from the code."""

import re
import tomllib
from inspect import cleandoc
from pathlib import Path

import pytest

from luna_image_store.settings import SECTION_TYPES, SECTIONS, load

FILE = Path(__file__).parents[1] / "deploy" / "settings.toml"
KEYS = [(section, key) for section, schema in SECTIONS.items() for key in schema.fields]


def comment_above(line: str, section: str) -> str:
    """Return the comment above a line of a section, as one line."""
    text = FILE.read_text("utf-8")
    place = text.index(f"\n[{section}]\n")
    found = re.compile(rf"((?:^# .*\n)+)^{re.escape(line)}", re.MULTILINE).search(text, text.rindex("\n\n", 0, place))
    assert found, f"{line} in {section} has no comment"
    return " ".join(part.removeprefix("# ") for part in found[1].splitlines())


def test_it_has_all_sections_and_keys_with_their_defaults_in_order() -> None:
    sections = tomllib.loads(FILE.read_text("utf-8"))
    defaults = {name: {key: field.load_default for key, field in schema.fields.items()} for name, schema in SECTIONS.items()}
    assert sections == defaults
    assert [(section, key) for section, values in sections.items() for key in values] == KEYS


def test_it_has_the_same_effect_as_no_file() -> None:
    assert load(str(FILE), {}) == load(None, {})


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_has_its_description_from_the_code(section: str) -> None:
    assert cleandoc(SECTION_TYPES[section].__doc__) in comment_above(f"[{section}]", section)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_each_key_has_its_description_from_the_code(section: str, key: str) -> None:
    assert SECTIONS[section].fields[key].metadata["description"] in comment_above(f"{key} = ", section)
