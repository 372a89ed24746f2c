"""The bare codec: what Pillow needs to decode a JPEG and make its four previews, without HTTP and without a disk."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.Image import Resampling

from luna_image_store.server.hooks import tune_malloc

SIZES = (160, 96, 64, 32)
BICUBIC, LANCZOS = Resampling.BICUBIC, Resampling.LANCZOS
CORES = len(os.sched_getaffinity(0))
Tables = tuple[tuple[int, ...], ...]
EVEN: Tables = ((40,) * 64, (90,) * 64)  # steps at quality 50 of luma and chroma, alike for coarse and fine detail


@dataclass(frozen=True)
class Pipeline:
    """One way to make previews: the scale of the decoder, the filter of each preview, how they are encoded.

    `decode_ratio` is the smallest ratio of the decoded size to the largest preview. None is the former rule: no less than twice,
    with rounded sizes. `tables` are the quantization tables at quality 50; None means those of the JPEG standard.
    """

    filters: tuple[Resampling, ...] = (BICUBIC, LANCZOS, LANCZOS, LANCZOS)
    decode_ratio: float | None = 1.5
    subsampling: str = "4:4:4"
    quality: int = 90
    tables: Tables | None = EVEN

    def previews(self, data: bytes) -> list[bytes]:
        """Decode once, at the smallest scale that is enough, resize step by step, encode each step."""
        source = Image.open(BytesIO(data))
        size = source.size
        drafted = source.draft(None, self._draft(size))
        image = source.resize(fit(size, SIZES[0]), self.filters[0], box=drafted[1] if drafted else None, reducing_gap=2)
        encoded = []
        for longest, resampling in zip(SIZES, self.filters, strict=True):
            if image.size != (target := fit(size, longest)):
                image = image.resize(target, resampling, reducing_gap=2)
            encoded.append(self._encode(image))
        return encoded

    def _draft(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.decode_ratio is None:
            width, height = fit(size, SIZES[0])
            return 2 * width, 2 * height
        smallest = self.decode_ratio * SIZES[0]
        scale = next((scale for scale in (8, 4, 2) if max(size) >= scale * smallest), 1)
        return max(1, size[0] // scale), max(1, size[1] // scale)

    def _encode(self, image: Image.Image) -> bytes:
        return image.tobytes("jpeg", image.mode, *_encoder_options(image.mode, self.quality, self.subsampling, self.tables))


BEST = Pipeline()


def fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale a size down so that its longest side is `longest`."""
    ratio = min(1.0, longest / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


@lru_cache
def _encoder_options(mode: str, quality: int, subsampling: str, tables: Tables | None) -> tuple[Any, ...]:
    """Let Pillow compute the options of its encoder once, as the service does."""
    sample = Image.new(mode, (1, 1))
    sample.save(BytesIO(), "JPEG", quality=quality, subsampling=subsampling, qtables=tables)
    return sample.encoderconfig


def _loop(data: bytes, seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        BEST.previews(data)
        done += 1
    return done / passed


@contextmanager
def bare() -> Iterator[Callable[[bytes, float], float]]:
    """Keep one process per core ready; return the function that measures images per second of all of them together.

    The processes keep freed memory, as the service does: without that, the state of the heap decides by chance whether each
    image pays for its memory again.
    """
    with multiprocessing.get_context("spawn").Pool(CORES, tune_malloc) as pool:
        yield lambda data, seconds: sum(pool.starmap(_loop, [(data, seconds)] * CORES, chunksize=1))
