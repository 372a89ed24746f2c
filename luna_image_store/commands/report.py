"""Output of a command on standard output: a line for each finding, and a summary at the end.

Lines are text, or JSON objects with --json. The last object has only the key `summary`.
"""

import json
import sys
from collections.abc import Mapping

from tqdm import tqdm

from luna_image_store.errors import ServiceError


def reason(ex: ServiceError) -> str:
    """Return the description of an error and its cause, such as an error of the operating system."""
    return f"{ex.spec.desc}: {ex.__cause__ or ex}"


class Report:
    """Prints findings and a summary."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.is_complete = True  # all records could be listed

    def finding(self, place: str, problem: str, **fields: object) -> None:
        """Print a finding: text has `place`, which may be any file name, and the problem; JSON has the problem and the fields."""
        printable = place if place.isprintable() else repr(place)
        self._write(json.dumps({"problem": problem, **fields}) if self.as_json else f"{printable}: {problem}")

    def unlisted(self, bucket: str, ex: ServiceError) -> None:
        """Print that the listing of a bucket is incomplete."""
        self.is_complete = False
        self.finding(bucket, f"cannot list all records: {reason(ex)}", bucket=bucket, state="unlisted")

    def row(self, values: Mapping[str, object]) -> None:
        """Print a row of values."""
        self._write(json.dumps(values) if self.as_json else "  ".join(f"{key}={value}" for key, value in values.items()))

    def summary(self, values: Mapping[str, object]) -> None:
        """Print the summary."""
        self._write(json.dumps({"summary": values}) if self.as_json else "\n".join(f"{key}: {values[key]}" for key in values))

    def _write(self, text: str) -> None:
        tqdm.write(text)  # prints above the progress bar
        sys.stdout.flush()  # a reader of a pipe receives each line at once
