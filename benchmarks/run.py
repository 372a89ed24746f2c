"""Measure the service against the bare codec, its peers and itself: all in turns, in one run.

Seconds and rates differ from machine to machine; the ratios travel. Everything lies under `build/bench` while it runs.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import measurements
import peers
import pictures
import previews
import report
import s3
from measurements import Bench, Row

REPOSITORY = Path(__file__).resolve().parent.parent
MEASUREMENTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "saving": measurements.saving,
    "slow-disks": measurements.slow_disks,
    "chains": measurements.chains,
    "fetching": measurements.fetching,
    "uploads": measurements.uploads,
    "records": measurements.many_records,
    "s3": s3.saving_on_s3,
}
PREVIEWS = "previews"  # has a table and a page of its own


def main() -> None:
    """Install, measure, print, write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that servers are stopped and files removed
    options = _options()
    folder = REPOSITORY / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    installed = peers.install(folder)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as place:
        work = Path(place)
        made = pictures.make(installed.photographs, work)
        bench = Bench(installed, made, work, options.rounds, options.seconds, options.records)
        for name in options.only:
            print(f"measuring {name} ...", flush=True)
            if name == PREVIEWS:
                _measure_previews(bench, options.publish)
            else:
                rows += MEASUREMENTS[name](bench)
    if rows:
        _report(rows, installed, folder, options)


def _measure_previews(bench: Bench, publish: bool) -> None:
    """Print the table of the previews, and write it into its page."""
    lines = list(previews.table(previews.measure(bench.peers.photographs, bench.pictures)))
    print("\n".join(lines))
    if publish:
        report.write_page(lines, REPOSITORY / "docs/previews.md", "previews table")


def _report(rows: list[Row], installed: peers.Peers, folder: Path, options: argparse.Namespace) -> None:
    """Print the table of the ratios, write the figures and the chart, and write both into the manual."""
    lines = list(report.table(rows))
    print("\n".join(lines))
    results = folder / "results.json"
    report.write_json(rows, results, vars(options))
    chart = REPOSITORY / "docs/performance.svg" if options.publish else folder / "performance.svg"
    subprocess.run((installed.python, REPOSITORY / "benchmarks/chart.py", results, chart), check=True)
    if options.publish:
        report.write_page(lines, REPOSITORY / "docs/performance.md")


def _options() -> argparse.Namespace:
    names = [*MEASUREMENTS, PREVIEWS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender has its turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="how long a turn takes (default: 3)")
    parser.add_argument("--records", type=int, default=measurements.MANY, help="size of the large store (default: 1,000,000)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="leave out the others")
    parser.add_argument("--publish", action="store_true", help="put the tables and the chart into the manual")
    return parser.parse_args()


if __name__ == "__main__":
    main()
