"""Counters of a command, for its summary."""

import time
from collections import Counter


class Tally:
    """Counters by name, in the order of the summary, and a clock."""

    def __init__(self, *names: str, unit: str = "records") -> None:
        """Start the clock. `unit`: the unit of the rate in the summary."""
        self._counts = Counter(dict.fromkeys(names, 0))
        self._unit = unit
        self._started = time.monotonic()

    def __getitem__(self, name: str) -> int:
        """Return a count."""
        return self._counts[name]

    def add(self, name: str, amount: int = 1) -> None:
        """Add an amount to a counter."""
        self._counts[name] += amount

    def summary(self, done: int) -> dict[str, object]:
        """Return the counts, the seconds, and the rate of `done` items per second."""
        seconds = time.monotonic() - self._started
        rate = round(done / max(seconds, 0.001), 1)
        return {**self._counts, "seconds": round(seconds, 1), f"{self._unit}_per_second": rate}
