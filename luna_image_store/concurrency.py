"""The numbers of workers, threads and connections, from the settings, the storage and the cores."""

import os

from luna_image_store.settings import Settings

WORKERS_PER_CORE_ON_DISK = 2  # one worker computes while the threads of another wait for the GIL
THREADS = 8  # threads wait for the disk or for S3
CONNECTIONS_PER_THREAD = 1.5  # more connections would wait while another worker has a free thread
MIN_CONNECTIONS = 12  # idle connections count until HTTP.KEEPALIVE_TIMEOUT


def workers(settings: Settings) -> int:
    """Return the number of workers."""
    return settings.http.workers or (cores() if is_on_s3(settings) else WORKERS_PER_CORE_ON_DISK * cores())


def threads(settings: Settings) -> int:
    """Return the number of threads of a worker."""
    return settings.http.threads or THREADS


def connections(settings: Settings) -> int:
    """Return the maximum number of connections of a worker."""
    return settings.http.connections or max(MIN_CONNECTIONS, int(CONNECTIONS_PER_THREAD * threads(settings)))


def decodes(settings: Settings) -> int:
    """Return how many images a worker decodes at once. All workers together decode about one per core."""
    return max(1, cores() // workers(settings))


def is_on_s3(settings: Settings) -> bool:
    """Return whether the storage is S3."""
    return settings.storage.type == "s3"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
