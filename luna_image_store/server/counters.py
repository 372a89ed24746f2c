"""Where the workers of a master count together, for the metrics: a directory of files that are mapped into memory."""

import os
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "luna-image-store-metrics-"
SHARED_MEMORY = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else gettempdir())  # noqa: S108  # waits for no disk


@cache
def metrics_directory() -> Path:
    """Make the directory of this master. It is made once, before the first fork."""
    return Path(mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=SHARED_MEMORY))


def is_counting() -> bool:
    """Report whether this master has made its directory."""
    return metrics_directory.cache_info().currsize > 0


def remove_left_counters() -> None:
    """Remove the directories of masters that were killed."""
    for directory in SHARED_MEMORY.glob(f"{METRICS_PREFIX}*"):
        master = directory.name.removeprefix(METRICS_PREFIX).partition("-")[0]
        if not Path("/proc", master).exists():
            rmtree(directory, ignore_errors=True)
