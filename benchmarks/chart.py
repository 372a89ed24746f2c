"""Draw the ratios relative to their goals. Run it in the environment of the peers, which has matplotlib."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "luna-image-store"  # the same figures result in the same file
from matplotlib import pyplot as plt  # noqa: E402  # the backend must be set first


def draw(results: Path, target: Path) -> None:
    """Draw one bar per ratio, with the range of its rounds. The goal is 1; bars to the right of it meet the goal."""
    rows = [row for row in json.loads(results.read_text())["rows"] if row["ratios"]][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1), layout="constrained")
    for position, row in enumerate(rows):
        shares = sorted(row["goal"] / ratio if row["is_upper_limit"] else ratio / row["goal"] for ratio in row["ratios"])
        share = row["goal"] / row["value"] if row["is_upper_limit"] else row["value"] / row["goal"]
        axes.barh(position, share, color="#2a7f62" if row["met"] else "#c0703c", height=0.6)
        axes.plot((shares[0], shares[-1]), (position, position), color="#222222", linewidth=1)
        axes.text(0.02, position, f"{row['value']:.2f}", va="center", color="white", fontsize=8)
    axes.axvline(1, color="#222222", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    axes.set_xlabel("ratio relative to the goal (line: range of the rounds; number: measured ratio)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
