"""Draw the ratios against their goals. It runs in the environment of the peers, where matplotlib is."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "luna-image-store"  # the same figures make the same file
from matplotlib import pyplot as plt  # noqa: E402  # the back end is chosen first


def draw(results: Path, target: Path) -> None:
    """Draw one bar per ratio, with the span of its rounds; 1 is the goal, and the right side is the good one."""
    rows = [row for row in json.loads(results.read_text())["rows"] if row["ratios"]][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1), layout="constrained")
    for place, row in enumerate(rows):
        shares = sorted(row["goal"] / ratio if row["most"] else ratio / row["goal"] for ratio in row["ratios"])
        share = row["goal"] / row["value"] if row["most"] else row["value"] / row["goal"]
        axes.barh(place, share, color="#2a7f62" if row["met"] else "#c0703c", height=0.6)
        axes.plot((shares[0], shares[-1]), (place, place), color="#222222", linewidth=1)
        axes.text(0.02, place, f"{row['value']:.2f}", va="center", color="white", fontsize=8)
    axes.axvline(1, color="#222222", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    axes.set_xlabel("share of the goal (line: span of the rounds; number: measured ratio)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
