"""Generate load on a server with wrk, and measure several programs in turns."""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rendering import CORES

SCRIPT = Path(__file__).with_name("load.lua")
TYPES = {".jpg": "image/jpeg", ".png": "image/png"}

Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Load:
    """The result of wrk: requests per second, latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


def post(url: str, image: Path, seconds: float, connections: int = 8 * CORES) -> Load:
    """Save one image repeatedly."""
    return _wrk(url, seconds, connections, "post", str(image), TYPES[image.suffix])


def get(url: str, seconds: float) -> Load:
    """Send GET for one URL repeatedly."""
    return _wrk(url, seconds, 8 * CORES, "get")


def save_and_get_previews(url: str, image: Path, pattern: str, seconds: float) -> float:
    """Save an image and get its four previews, repeatedly; return the saves per second."""
    return _wrk(url, seconds, 4 * CORES, "chain", str(image), TYPES[image.suffix], pattern).rate / 5


def measure_in_turns(rounds: int, programs: Mapping[str, Callable[[], float]]) -> Rates:
    """Measure each program once per round. The sync writes the data of one program before the next one is measured."""
    rates: Rates = {name: [] for name in programs}
    for _ in range(rounds):
        for name, measure in programs.items():
            os.sync()
            rates[name].append(measure())
    return rates


def ratios(rates: Rates, measured: str, reference: str) -> list[float]:
    """Return the ratio of two rates for each round."""
    return [rate / base for rate, base in zip(rates[measured], rates[reference], strict=True)]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def _wrk(url: str, seconds: float, connections: int, *arguments: str) -> Load:
    threads = min(CORES, connections)
    command = ("wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), url, "--", *arguments)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    summary = json.loads(output.splitlines()[-1])
    if summary.pop("failed"):
        raise SystemExit(f"requests failed:\n{output}")
    return Load(**summary)
