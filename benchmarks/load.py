"""Putting load on a server with wrk, and taking turns between those that are compared."""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec import CORES

SCRIPT = Path(__file__).with_name("load.lua")
TYPES = {".jpg": "image/jpeg", ".png": "image/png"}

Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests per second, latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


def post(url: str, picture: Path, seconds: float, connections: int = 8 * CORES) -> Load:
    """Save one picture over and over."""
    return _wrk(url, seconds, connections, "post", str(picture), TYPES[picture.suffix])


def get(url: str, seconds: float) -> Load:
    """Fetch one URL over and over."""
    return _wrk(url, seconds, 8 * CORES, "get")


def chain(url: str, picture: Path, pattern: str, seconds: float) -> float:
    """Save a picture, fetch its four previews, over and over; give such chains per second."""
    return _wrk(url, seconds, 4 * CORES, "chain", str(picture), TYPES[picture.suffix], pattern).rate / 5


def take_turns(rounds: int, contenders: Mapping[str, Callable[[], float]]) -> Rates:
    """Measure each contender once per round. What one left to be written to the disk is not the next one's burden."""
    rates: Rates = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            os.sync()
            rates[name].append(measure())
    return rates


def ratios(rates: Rates, subject: str, reference: str) -> list[float]:
    """Divide round by round."""
    return [ours / theirs for ours, theirs in zip(rates[subject], rates[reference], strict=True)]


def median(values: Sequence[float]) -> float:
    """Give the median."""
    return statistics.median(values)


def _wrk(url: str, seconds: float, connections: int, *arguments: str) -> Load:
    threads = min(CORES, connections)
    command = ("wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), url, "--", *arguments)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    summary = json.loads(output.splitlines()[-1])
    if summary.pop("failed"):
        raise SystemExit(f"requests failed:\n{output}")
    return Load(**summary)
