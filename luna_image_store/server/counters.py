"""The directory of the metrics that the workers of a master share. Its files are mapped into memory."""

import os
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "luna-image-store-metrics-"
SHARED_MEMORY = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else gettempdir())  # noqa: S108  # no wait for a disk


@cache
def metrics_directory() -> Path:
    """Return the directory of this master. The first call, before the first fork, creates it."""
    return Path(mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=SHARED_MEMORY))


def has_metrics_directory() -> bool:
    """Return whether this master has created its directory."""
    return metrics_directory.cache_info().currsize > 0


def remove_stale_metrics() -> None:
    """Remove the directories of masters that were killed."""
    for directory in SHARED_MEMORY.glob(f"{METRICS_PREFIX}*"):
        master = directory.name.removeprefix(METRICS_PREFIX).partition("-")[0]
        if not Path("/proc", master).exists():
            rmtree(directory, ignore_errors=True)
