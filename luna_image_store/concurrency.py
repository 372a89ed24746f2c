"""How much the service does at the same time: from the settings, the storage and the cores."""

import os

from luna_image_store.settings import Settings

SYNC_WORKERS_PER_CORE = 2  # a durable save waits for the disk while another worker computes
THREADS_ON_S3 = 8  # requests wait for S3


def workers(settings: Settings) -> int:
    """Count the worker processes."""
    return int(settings["HTTP"]["WORKERS"]) or (cores() if is_on_s3(settings) else SYNC_WORKERS_PER_CORE * cores())


def threads(settings: Settings) -> int:
    """Count the threads of a worker."""
    return int(settings["HTTP"]["THREADS"]) or (THREADS_ON_S3 if is_on_s3(settings) else 1)


def decodes(settings: Settings) -> int:
    """Count the pictures that a worker decodes at once: all workers together have no use for more than the cores."""
    return max(1, cores() // workers(settings))


def is_on_s3(settings: Settings) -> bool:
    """Tell whether requests wait for S3."""
    return bool(settings["STORAGE"]["TYPE"] == "s3")


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))
