"""What a tool tells, on standard output: a line for each thing that somebody should look at, and a summary at the end.

For people it is text; for programs a JSON object on each line, of which the last has the one key `summary`.
"""

import json
import sys
from collections.abc import Mapping

from tqdm import tqdm

from luna_image_store.errors import ServiceError


def reason(ex: ServiceError) -> str:
    """Say what went wrong, with the words of the system."""
    return f"{ex.spec.desc}: {ex.__cause__ or ex}"


class Report:
    """Tells of what was found."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.is_whole = True  # all that was to be listed was listed

    def finding(self, place: str, problem: str, **fields: object) -> None:
        """Tell of one thing. `place` is for people, and may be any name of a file; programs get the problem and the fields."""
        shown = place if place.isprintable() else repr(place)
        self._write(json.dumps({"problem": problem, **fields}) if self.as_json else f"{shown}: {problem}")

    def unlisted(self, bucket: str, ex: ServiceError) -> None:
        """Tell that not all of a bucket can be listed."""
        self.is_whole = False
        self.finding(bucket, f"not all of it can be listed: {reason(ex)}", bucket=bucket, state="unlisted")

    def row(self, values: Mapping[str, object]) -> None:
        """Tell of one thing that is as it should be."""
        self._write(json.dumps(values) if self.as_json else "  ".join(f"{key}={value}" for key, value in values.items()))

    def summary(self, values: Mapping[str, object]) -> None:
        """Tell how it went."""
        self._write(json.dumps({"summary": values}) if self.as_json else "\n".join(f"{key}: {values[key]}" for key in values))

    def _write(self, text: str) -> None:
        tqdm.write(text)  # above the bar, if there is one
        sys.stdout.flush()  # who reads it through a pipe sees it at once
