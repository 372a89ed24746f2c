"""Compare the service with rendering alone, with its peers and with itself: in turns, in one run.

Times and rates depend on the machine; ratios are comparable. All files of a run are in `build/bench`.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import images
import measurements
import peers
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
PREVIEWS = "previews"  # has a separate table and page


def main() -> None:
    """Install the peers, measure, and write the results."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that servers are stopped and files removed
    options = _options()
    folder = REPOSITORY / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    installed = peers.install(folder)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as directory:
        work = Path(directory)
        files = images.write_images(installed.photographs, work)
        bench = Bench(installed, files, work, options.rounds, options.seconds, options.records)
        for name in options.only:
            print(f"measuring {name} ...", flush=True)
            if name == PREVIEWS:
                _measure_previews(bench, options.publish)
            else:
                rows += MEASUREMENTS[name](bench)
    if rows:
        _report(rows, installed, folder, options)


def _measure_previews(bench: Bench, publish: bool) -> None:
    """Print the table of previews, and write it to its page."""
    lines = list(previews.table(previews.measure(bench.peers.photographs, bench.images)))
    print("\n".join(lines))
    if publish:
        report.write_page(lines, REPOSITORY / "docs/previews.md", "previews table")


def _report(rows: list[Row], installed: peers.Peers, folder: Path, options: argparse.Namespace) -> None:
    """Print the table of ratios, and write table, figures and chart."""
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
    parser.add_argument("--rounds", type=int, default=5, help="turns of each program (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="duration of a turn (default: 3)")
    parser.add_argument("--records", type=int, default=measurements.MANY, help="records in the large storage (default: 1,000,000)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="run only these measurements")
    parser.add_argument("--publish", action="store_true", help="write the tables and the chart to the manual")
    return parser.parse_args()


if __name__ == "__main__":
    main()
