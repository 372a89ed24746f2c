"""The bare codec: what Pillow takes for decoding a JPEG and making its four previews, without HTTP and without a disk."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image

from luna_image_store.server import keep_memory

SIZES = (160, 96, 64, 32)
QUALITY = 90
CORES = len(os.sched_getaffinity(0))


def previews(data: bytes) -> None:
    """Decode once, at the smallest scale that serves, shrink step by step, encode each step."""
    image: Image.Image = Image.open(BytesIO(data))
    width, height = image.size
    longest = max(width, height)
    sizes = [(max(1, round(width * size / longest)), max(1, round(height * size / longest))) for size in SIZES]
    image.draft(None, (2 * sizes[0][0], 2 * sizes[0][1]))
    for size in sizes:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2)
        image.save(BytesIO(), "JPEG", quality=QUALITY)


def _loop(data: bytes, seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        previews(data)
        done += 1
    return done / passed


@contextmanager
def bare() -> Iterator[Callable[[bytes, float], float]]:
    """Keep one process per core ready; give what measures pictures per second of all of them together.

    They keep freed memory, as the service does: else it is chance, where the heap ends, whether each picture pays for it anew.
    """
    with multiprocessing.get_context("spawn").Pool(CORES, keep_memory) as pool:
        yield lambda data, seconds: sum(pool.starmap(_loop, [(data, seconds)] * CORES, chunksize=1))
