"""Settings of Sphinx for the manual, and the tables of settings, errors and metrics, rendered from the code that they describe."""

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
CHECKS = {check_address: "`HOST:PORT` or `unix:PATH`", check_url: "a URL with `http` or `https`, or an empty text"}


def table(*rows: Iterable[str]) -> Iterator[str]:
    """Write a Markdown table; the first row is its head."""
    head, *body = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    yield from (f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def allowed(field: fields.Field[Any]) -> str:
    """Describe the values that a setting allows."""
    match first := next(iter(field.validators), None):
        case validate.OneOf(choices=choices):
            return ", ".join(f"`{choice}`" for choice in choices)
        case validate.Range(min=least, max=most, min_inclusive=inclusive):
            from_least = f"{least}" if inclusive else f"more than {least}"
            return f"{from_least} to {most}" if most is not None else f"{from_least} or more"
        case validate.Regexp(regex=regex):
            return f"`{regex.pattern!s}`".replace(r"\Z", "")
        case validate.Length(min=1):
            return "a text, not empty"
    return CHECKS.get(first) or KINDS[type(field)]


def settings() -> Iterator[str]:
    """Write a section with a table for each section of the settings."""
    for name, section in SECTIONS.items():
        yield f"\n## {name}\n\n{cleandoc(SECTION_TYPES[name].__doc__ or '')}\n"
        rows = (
            (f"`{key}`", f"`{json.dumps(field.load_default)}`", allowed(field), text(field), f"`{PREFIX}{name}__{key}`")
            for key, field in section.fields.items()
        )
        yield from table(("Key", "Default", "Allowed", "Meaning", "Environment variable"), *rows)


def text(field: fields.Field[Any]) -> str:
    """Return the help of a setting, with a note if the value is a secret."""
    secret = " The value is a secret and is masked in all output." if field.metadata["secret"] else ""
    return f"{field.metadata['description']}{secret}"


def errors() -> Iterator[str]:
    """Write a table of all errors by code. The codes are in the index too: the search leaves numbers out of the text."""
    rows = (
        (f"{{index}}`{row.code}` <br>{row.status}", f"{row.desc} <br>`{row.detail}`", cleandoc(kind.__doc__ or ""), kind.remedy)
        for kind in ServiceError.kinds()
        for row in [kind.spec]
    )
    return table(("Code, status", "`desc`, `detail`", "Meaning", "What to do"), *rows)


def metrics() -> Iterator[str]:
    """Write a table of all series of `/metrics`."""
    rows = (
        (f"`{declared.name}`", declared.kind, ", ".join(f"`{label}`" for label in declared.labels), declared.help)
        for declared in metric_definitions.ALL
    )
    return table(("Series", "Kind", "Labels", "Meaning"), *rows)


class Rendered(SphinxDirective):
    """`{rendered} settings`, `{rendered} errors` and `{rendered} metrics`: Markdown that a function here makes."""

    required_arguments = 1

    def run(self) -> list[Any]:
        """Parse what the function gives, sections included."""
        makers = {"settings": settings, "errors": errors, "metrics": metrics}
        made = self.parse_text_to_nodes("\n".join(makers[self.arguments[0]]()), allow_section_headings=True)
        for row in (row for node in made for row in node.findall(nodes.row)):
            _lead_to(row)
        return made


def _lead_to(row: nodes.row) -> None:
    """Let entries of the index lead to the row: the search shows the text of where it leads, and fails where there is none."""
    for target in list(row.findall(nodes.target)):
        row["ids"] += target["ids"]
        target.parent.remove(target)


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the directive."""
    app.add_directive("rendered", Rendered)
