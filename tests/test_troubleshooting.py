"""The troubleshooting page explains each warning, error and refusal to start in the code, and no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import luna_image_store

PACKAGE = Path(luna_image_store.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "troubleshooting.md").read_text("utf-8")
LEVELS = {"warning": "WARNING", "error": "ERROR", "exception": "ERROR", "critical": "CRITICAL"}
VALUE = "<[^>]+>"  # a placeholder on the page
LINES = re.findall(r"(?m)^\| `([^`]+)` \| ([A-Z]+) \|", PAGE.partition("## Lines of the log")[2])
MESSAGES = re.findall(r"`([^`\n]+)`", PAGE)


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def is_logged(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS and "log" in ast.unparse(call.func.value)


def page_pattern(message: ast.expr) -> str | None:
    """Return a pattern for a message on the page, or None if it is not a literal format string."""
    match message:
        case ast.Constant(value=str(text)):
            return VALUE.join(re.escape(part) for part in re.split("%[a-z]", text)).replace(rf"{VALUE}\.{VALUE}", VALUE)
        case ast.JoinedStr(values=values):
            return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in values)
    return None


LOGGED = [(place, call) for place, call in calls() if is_logged(call)]
REFUSALS = [
    (place, call)
    for place, call in calls()
    if ast.unparse(call.func).endswith("SettingsError") and call.args and not place.startswith("commands/")  # they start no service
]


def test_messages_are_found_in_the_code_and_on_the_page():
    assert len(LOGGED) > 10
    assert len(REFUSALS) > 4
    assert len(LINES) > 10


@pytest.mark.parametrize(("place", "call"), LOGGED, ids=[place for place, _ in LOGGED])
def test_each_warning_and_error_of_the_log_is_explained(place, call):
    pattern, level = page_pattern(call.args[0]), LEVELS[call.func.attr]
    assert pattern, f"{place}: log a literal format string, so that the message can be found in the manual"
    assert any(re.fullmatch(pattern, line) and line_level == level for line, line_level in LINES), (
        f"docs/troubleshooting.md, 'Lines of the log', lacks this line of {place}, level {level}: {ast.unparse(call.args[0])}. "
        "Add a row: the line in backticks with a <name> for each placeholder, its level, its meaning, what to do."
    )


@pytest.mark.parametrize(("line", "level"), LINES, ids=[line for line, _ in LINES])
def test_each_explained_line_is_in_the_code(line, level):
    patterns = [page_pattern(call.args[0]) for _, call in LOGGED if LEVELS[call.func.attr] == level]
    assert any(pattern and re.fullmatch(pattern, line) for pattern in patterns), (
        f"docs/troubleshooting.md, 'Lines of the log': the package does not log this line at level {level}: {line}. "
        "Remove the row, or correct the line."
    )


@pytest.mark.parametrize(("place", "call"), REFUSALS, ids=[place for place, _ in REFUSALS])
def test_each_refusal_to_start_is_explained(place, call):
    pattern = page_pattern(call.args[0])
    assert pattern is None or any(re.fullmatch(pattern, message) for message in MESSAGES), (
        f"docs/troubleshooting.md, 'The service does not start', lacks this message of {place}: {ast.unparse(call.args[0])}. "
        "Add a row: the message in backticks with a <name> for each placeholder, its cause, what to do."
    )
