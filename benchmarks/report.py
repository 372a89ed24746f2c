"""Write the results: as a table on the terminal and in the manual, and as JSON."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from load import median
from measurements import Row

IMAGES = {
    "face": "250x250, 25 KB",
    "photo": "640x427, 200 KB",
    "full-hd": "1920x1080, 420 KB",
    "png": "PNG 1920x1080",
    "12mp": "12 megapixels",
}


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| measurement | image | result | ratio (min to max) | goal | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in rows:
        result = " / ".join(f"{name} {median(values):,.{0 if median(values) >= 100 else 1}f}" for name, values in row.rates.items())
        spread = f"{row.value:.2f} ({min(row.ratios):.2f} to {max(row.ratios):.2f})" if row.ratios else ""
        goal = "" if row.goal is None else f"{'≤' if row.is_upper_limit else '≥'} {row.goal:g}"
        verdict = {True: "met", False: "missed", None: ""}[row.is_met]
        yield f"| {row.title} | {_image(row)} | {result} {row.unit} | {spread} | {goal} | {verdict} |"


def write_json(rows: Iterable[Row], path: Path, options: dict[str, object]) -> None:
    """Write all figures of each round as JSON."""
    machine = {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "python": platform.python_version()}
    results = [asdict(row) | {"value": row.value, "met": row.is_met, "label": f"{row.title}\n{_image(row)}"} for row in rows]
    path.write_text(json.dumps({"machine": machine, "options": options, "rows": results}, indent=2) + "\n")


def write_page(lines: Iterable[str], page: Path, name: str = "table") -> None:
    """Replace a table in a page of the manual, between the two comments with its name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{rest.partition(end)[2]}")


def _image(row: Row) -> str:
    name, _, part = row.image.partition(", ")
    return f"{IMAGES[name]}, {part}" if part else IMAGES[name]
