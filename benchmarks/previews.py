"""Compare methods to render previews: difference from the best possible preview, bytes and CPU time.

The best possible preview is the image decoded in full, resized in one Lanczos step, and not encoded.
"""

import multiprocessing
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from math import log10
from pathlib import Path
from statistics import mean, median

from images import enlarged
from PIL import Image, ImageChops
from PIL.Image import Transpose
from rendering import BICUBIC, CHOSEN, LANCZOS, SIZES, Pipeline, fit

from luna_image_store.server.hooks import tune_malloc

FORMER = Pipeline((LANCZOS,) * 4, None, "4:2:0", 90, None)
VARIANTS = {
    "former: Lanczos, 4:2:0, standard tables, quality 90": FORMER,
    "chosen: bicubic to 160 px, Lanczos below, 4:4:4, flat tables, quality 90": CHOSEN,
    "chosen, with Lanczos for all sizes": replace(CHOSEN, filters=FORMER.filters),
    "chosen, with bicubic for 96 px too": replace(CHOSEN, filters=(BICUBIC, BICUBIC, LANCZOS, LANCZOS)),
    "chosen, with bicubic for all sizes": replace(CHOSEN, filters=(BICUBIC,) * 4),
    "chosen, decoded to twice the size or more": replace(CHOSEN, decode_ratio=2),
    "chosen, decoded to the size or more": replace(CHOSEN, decode_ratio=1),
    "chosen, with 4:2:0, quality 92": replace(CHOSEN, subsampling="4:2:0", quality=92),
    "chosen, with standard tables, quality 85": replace(CHOSEN, tables=None, quality=85),
    "former, decoded at the exact scale": replace(FORMER, decode_ratio=2),
    "former, with 4:4:4, quality 85": replace(FORMER, subsampling="4:4:4", quality=85),
}
TIMED = {"face": "250x250", "photo": "640x427", "full-hd": "1920x1080"}
ROUNDS = 41
MIN_SECONDS_PER_TURN = 0.005  # a turn is one image or more


@dataclass(frozen=True)
class Line:
    """The result of a variant relative to the former one: `decibels` by size as difference, other values as ratio."""

    variant: str
    decibels: tuple[float, ...]
    bytes: float
    cpu: tuple[float, ...]


def photographs(packages: Path) -> dict[str, bytes]:
    """Return JPEGs of many sizes by name; `packages` is the directory of the packages with photographs."""
    skimage, sklearn = packages / "skimage/data", packages / "sklearn/datasets/images"
    astronaut, china, flower, coffee, bus = (
        Image.open(path).convert("RGB")
        for path in (
            skimage / "astronaut.png",
            sklearn / "china.jpg",
            sklearn / "flower.jpg",
            skimage / "coffee.png",
            packages / "ultralytics/assets/bus.jpg",
        )
    )
    hopper = Image.open(packages / "matplotlib/mpl-data/sample_data/grace_hopper.jpg")
    images = {
        "astronaut, face": (astronaut.crop((100, 0, 350, 250)), 85, "4:2:0"),
        "astronaut": (astronaut, 90, "4:4:4"),
        "astronaut, 12 megapixels": (enlarged(astronaut, (3000, 4000)), 88, "4:2:0"),
        "hopper": (hopper, 90, "4:2:0"),
        "hopper, face": (hopper.crop((130, 30, 380, 280)), 88, "4:2:0"),
        "china": (china, 92, "4:2:0"),
        "china, full HD": (enlarged(china, (1920, 1080)), 85, "4:2:0"),
        "flower": (flower, 88, "4:4:4"),
        "flower, 1920x1281": (enlarged(flower, (1920, 1281)), 88, "4:4:4"),
        "rocket, upright": (Image.open(skimage / "rocket.jpg").transpose(Transpose.ROTATE_90), 90, "4:2:0"),
        "coffee": (coffee, 90, "4:2:0"),
        "coffee, 800x600": (enlarged(coffee, (800, 600)), 88, "4:2:0"),
        "cat": (Image.open(skimage / "chelsea.png"), 85, "4:2:0"),
        "motorcycle": (Image.open(skimage / "motorcycle_left.png"), 90, "4:2:0"),
        "galaxies": (Image.open(skimage / "hubble_deep_field.jpg"), 88, "4:2:0"),
        "tissue": (Image.open(skimage / "ihc.png"), 90, "4:2:0"),
        "two men": (Image.open(packages / "ultralytics/assets/zidane.jpg"), 90, "4:2:0"),
        "bus": (bus, 90, "4:2:0"),
        "bus, 600x800": (bus.resize((600, 800), LANCZOS), 88, "4:2:0"),
    }
    return {name: _jpeg(*source) for name, source in images.items()}


def measure(packages: Path, timed: Mapping[str, Path]) -> list[Line]:
    """Measure all variants, in a process that keeps freed memory, as the service does."""
    with multiprocessing.get_context("spawn").Pool(1, tune_malloc) as pool:
        return pool.apply(_measure, (photographs(packages), [timed[name].read_bytes() for name in TIMED]))


def table(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    titles = ("variant", *(f"{size} px" for size in SIZES[::-1]), "bytes", *(f"CPU {size}" for size in TIMED.values()))
    yield f"| {' | '.join(titles)} |"
    yield "| --- |" + " --- |" * (len(titles) - 1)
    for line in lines:
        decibels = " | ".join(f"{value:+.1f} dB" for value in line.decibels[::-1])
        yield f"| {line.variant} | {decibels} | {line.bytes:.2f} | {' | '.join(f'{share:.2f}' for share in line.cpu)} |"


def _measure(images: dict[str, bytes], timed: list[bytes]) -> list[Line]:
    quality = {name: [_quality(pipeline, data) for data in images.values()] for name, pipeline in VARIANTS.items()}
    times = [_cpu_times(data) for data in timed]
    former = next(iter(VARIANTS))
    decibels = {
        name: [mean(psnr[position] for psnr, _ in values) for position in range(len(SIZES))] for name, values in quality.items()
    }
    sizes = {name: sum(size for _, size in values) for name, values in quality.items()}
    return [
        Line(
            name,
            tuple(value - base for value, base in zip(decibels[name], decibels[former], strict=True)),
            sizes[name] / sizes[former],
            tuple(median(cpu / base for cpu, base in zip(rounds[name], rounds[former], strict=True)) for rounds in times),
        )
        for name in VARIANTS
    ]


def _quality(pipeline: Pipeline, data: bytes) -> tuple[list[float], int]:
    """Return the PSNR of each preview in decibels, and the bytes of all of them."""
    best = Image.open(BytesIO(data)).convert("RGB")
    previews = pipeline.previews(data)
    psnr = [_psnr(best.resize(fit(best.size, size), LANCZOS), jpeg) for size, jpeg in zip(SIZES, previews, strict=True)]
    return psnr, sum(map(len, previews))


def _psnr(best: Image.Image, jpeg: bytes) -> float:
    histogram = ImageChops.difference(best, Image.open(BytesIO(jpeg)).convert("RGB")).histogram()
    squares = sum(count * (level % 256) ** 2 for level, count in enumerate(histogram))
    return 10 * log10(255**2 * 3 * best.width * best.height / max(1, squares))


def _cpu_times(data: bytes) -> dict[str, list[float]]:
    """Return the CPU times in seconds of all variants, once per round, in another order in each round."""
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    names = list(VARIANTS)
    start = time.process_time()
    FORMER.previews(data)
    repeats = 1 + int(MIN_SECONDS_PER_TURN / (time.process_time() - start))
    for _ in range(ROUNDS):
        for name in names:
            start = time.process_time()
            for _ in range(repeats):
                VARIANTS[name].previews(data)
            times[name].append(time.process_time() - start)
        names = [*names[1:], names[0]]
    return times


def _jpeg(image: Image.Image, quality: int, subsampling: str) -> bytes:
    target = BytesIO()
    image.convert("RGB").save(target, "JPEG", quality=quality, subsampling=subsampling)
    return target.getvalue()
