"""Rendering alone: decode a JPEG and render its four previews with Pillow, without HTTP and without a disk."""

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
FLAT_TABLES: Tables = ((40,) * 64, (90,) * 64)  # luma and chroma steps at quality 50, equal for coarse and fine detail


@dataclass(frozen=True)
class Pipeline:
    """A method to render previews: the scale of the decoder, the filter of each preview, the encoding.

    `decode_ratio` is the minimum ratio of the decoded size to the largest preview. None is the former rule: at least twice, with
    rounded sizes. `tables` are the quantization tables at quality 50; None selects the tables of the JPEG standard.
    """

    filters: tuple[Resampling, ...] = (BICUBIC, LANCZOS, LANCZOS, LANCZOS)
    decode_ratio: float | None = 1.5
    subsampling: str = "4:4:4"
    quality: int = 90
    tables: Tables | None = FLAT_TABLES

    def previews(self, data: bytes) -> list[bytes]:
        """Decode once at the smallest sufficient scale, resize step by step, and encode each step."""
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


CHOSEN = Pipeline()


def fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale a size down so that its longest side is `longest`."""
    ratio = min(1.0, longest / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


@lru_cache
def _encoder_options(mode: str, quality: int, subsampling: str, tables: Tables | None) -> tuple[Any, ...]:
    """Return the options of Pillow's encoder, computed once, as in the service."""
    sample = Image.new(mode, (1, 1))
    sample.save(BytesIO(), "JPEG", quality=quality, subsampling=subsampling, qtables=tables)
    return sample.encoderconfig


def _images_per_second(data: bytes, seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        CHOSEN.previews(data)
        done += 1
    return done / elapsed


@contextmanager
def rendering_processes() -> Iterator[Callable[[bytes, float], float]]:
    """Start one process per core, and yield a function that measures the images per second of all of them.

    The processes keep freed memory, as the service does. Otherwise it is random whether each image causes new page faults.
    """
    with multiprocessing.get_context("spawn").Pool(CORES, tune_malloc) as pool:
        yield lambda data, seconds: sum(pool.starmap(_images_per_second, [(data, seconds)] * CORES, chunksize=1))
