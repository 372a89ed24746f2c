"""What a command counts, and the summary that it ends with."""

import time
from collections import Counter


class Tally:
    """Counts by name, in the order of the summary, since it was made."""

    def __init__(self, *names: str, unit: str = "records") -> None:
        """Start the clock. `unit`: of what the summary has a rate."""
        self._counts = Counter(dict.fromkeys(names, 0))
        self._unit = unit
        self._began = time.monotonic()

    def __getitem__(self, name: str) -> int:
        """Return a count."""
        return self._counts[name]

    def add(self, name: str, amount: int = 1) -> None:
        """Count one more, or so many."""
        self._counts[name] += amount

    def summary(self, done: int) -> dict[str, object]:
        """Return the counts, the seconds, and how many of `done` there were in a second."""
        seconds = time.monotonic() - self._began
        rate = round(done / max(seconds, 0.001), 1)
        return {**self._counts, "seconds": round(seconds, 1), f"{self._unit}_per_second": rate}
