"""How much the service does at the same time: from the settings, the storage and the cores."""

import os

from luna_image_store.settings import Settings

WORKERS_PER_CORE_ON_DISK = 2  # one computes while the threads of another wait for Python's lock
THREADS = 8  # requests wait for the disk or for S3
CONNECTIONS_PER_THREAD = 1.5  # more would wait for a thread here while another worker has a free one
MIN_CONNECTIONS = 12  # idle ones hold a place until HTTP.KEEPALIVE_TIMEOUT


def workers(settings: Settings) -> int:
    """Count the worker processes."""
    return settings.http.workers or (cores() if is_on_s3(settings) else WORKERS_PER_CORE_ON_DISK * cores())


def threads(settings: Settings) -> int:
    """Count the threads of a worker."""
    return settings.http.threads or THREADS


def connections(settings: Settings) -> int:
    """Count the connections that a worker holds."""
    return settings.http.connections or max(MIN_CONNECTIONS, int(CONNECTIONS_PER_THREAD * threads(settings)))


def decodes(settings: Settings) -> int:
    """Count the pictures that a worker decodes at once: all workers together have no use for more than the cores."""
    return max(1, cores() // workers(settings))


def is_on_s3(settings: Settings) -> bool:
    """Tell whether requests wait for S3."""
    return settings.storage.type == "s3"


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))
