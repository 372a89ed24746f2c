"""Sphinx configuration, and a directive that renders the tables of settings, errors and metrics from the code."""

import json
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from typing import Any

from docutils import nodes
from marshmallow import fields, validate
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from luna_image_store import __version__
from luna_image_store.errors import ServiceError
from luna_image_store.monitoring import metric_definitions
from luna_image_store.setting_fields import check_address, check_url
from luna_image_store.settings import PREFIX, SECTION_TYPES, SECTIONS

project = "luna-image-store"
release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["manual.css"]
html_title = f"luna-image-store {__version__}"
html_favicon = "favicon.svg"
html_copy_source = False
html_show_copyright = False

KINDS = {fields.Boolean: "`true` or `false`", fields.Dict: "a table of texts", fields.String: "any text"}
PATTERNS = {r"^#[0-9a-fA-F]{6}\Z": "`#rrggbb`", r"[!-~]*\Z": "printable ASCII without spaces"}
CHECKS = {check_address: "`HOST:PORT` or `unix:PATH`", check_url: "a URL with `http` or `https`, or an empty text"}


def table(*rows: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a Markdown table; the first row is the header."""
    head, *body = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    yield from (f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def allowed(field: fields.Field[Any]) -> str:
    """Describe the values that a setting allows."""
    match first := next(iter(field.validators), None):
        case validate.OneOf(choices=choices):
            return ", ".join(f"`{choice}`" for choice in choices)
        case validate.Range(min=low, max=high, min_inclusive=inclusive):
            start = f"{low}" if inclusive else f"more than {low}"
            return f"{start} to {high}" if high is not None else f"{start} or more"
        case validate.Regexp(regex=regex):
            return PATTERNS[regex.pattern]
        case validate.Length(min=1):
            return "a text, not empty"
    return CHECKS.get(first) or KINDS[type(field)]


def settings() -> Iterator[str]:
    """Yield the lines of a section with a table for each section of the settings."""
    for name, section in SECTIONS.items():
        yield f"\n## {name}\n\n{cleandoc(SECTION_TYPES[name].__doc__ or '')}\n"
        rows = (
            (f"`{key}`", f"`{json.dumps(field.load_default)}`", allowed(field), help_text(field), f"`{PREFIX}{name}__{key}`")
            for key, field in section.fields.items()
        )
        yield from table(("Key", "Default", "Allowed", "Meaning", "Environment variable"), *rows)


def help_text(field: fields.Field[Any]) -> str:
    """Return the help of a setting, with a note if the value is a secret."""
    secret = " The value is a secret and is masked in all output." if field.metadata["secret"] else ""
    return f"{field.metadata['description']}{secret}"


def errors() -> Iterator[str]:
    """Yield the lines of a table of all errors by code. The codes are index entries too: the search ignores numbers in the text."""
    rows = (
        (f"{{index}}`{spec.code}` <br>{spec.status}", f"{spec.desc} <br>`{spec.detail}`", cleandoc(kind.__doc__ or ""), kind.remedy)
        for kind in ServiceError.kinds()
        for spec in [kind.spec]
    )
    return table(("Code, status", "`desc`, `detail`", "Meaning", "What to do"), *rows)


def metrics() -> Iterator[str]:
    """Yield the lines of a table of all series of `/metrics`."""
    rows = (
        (f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in metric_definitions.ALL
    )
    return table(("Series", "Kind", "Labels", "Meaning"), *rows)


class Rendered(SphinxDirective):
    """`{rendered} settings`, `{rendered} errors` and `{rendered} metrics`: a table that a function of this module renders."""

    required_arguments = 1

    def run(self) -> list[Any]:
        """Parse the Markdown of the function, including its sections."""
        renderers = {"settings": settings, "errors": errors, "metrics": metrics}
        rendered = self.parse_text_to_nodes("\n".join(renderers[self.arguments[0]]()), allow_section_headings=True)
        for row in (row for node in rendered for row in node.findall(nodes.row)):
            _move_targets(row)
        return rendered


def _move_targets(row: nodes.row) -> None:
    """Move the targets of index entries to the row: the search shows the text of the target, and fails if it has no text."""
    for target in list(row.findall(nodes.target)):
        row["ids"] += target["ids"]
        target.parent.remove(target)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("rendered", Rendered)
