"""Thousands of damaged images are uploaded to real workers. None may cause an error, block a worker or leak memory.

Each file is uploaded to two services. Each fills its uninitialized memory with a different byte. If a decoder returned
uninitialized memory as pixels, the images of the two services would differ.
"""

import json
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image

from .images import noise_image
from .service import Service

FILES = int(os.environ.get("MUTATED_FILES", "3000"))
CLIENTS, SEED = 3, 20_260
MAX_GROWTH = 24  # megabytes; one image of the maximum size can leave as much
MAX_SECONDS = 5
PATH = "/1/buckets/photos/images"
FILL_BYTES = ("85", "170")


def sources() -> list[bytes]:
    """Return small images of all six formats. Each uses a different part of the decoders."""
    plain = Image.open(BytesIO(noise_image(72, 56, "PNG")))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described"
    profile = struct.pack(">I4sI4s4s4s12s4s", 132, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"", b"acsp") + bytes(92)
    forms: list[tuple[str, str, dict[str, object]]] = [
        ("JPEG", "RGB", {"exif": exif, "icc_profile": profile, "comment": b"said"}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {"restart_marker_blocks": 3}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {"icc_profile": profile}),
        ("PNG", "RGBA", {"exif": exif}),
        ("PNG", "P", {"transparency": 3}),
        ("PNG", "I;16", {}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
        ("BMP", "1", {}),
        ("TIFF", "RGB", {"exif": exif}),
        ("TIFF", "RGB", {"compression": "tiff_lzw", "icc_profile": profile}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
        ("GIF", "P", {"transparency": 3, "comment": b"said"}),
        ("GIF", "P", {"save_all": True, "append_images": [plain.rotate(90).quantize()]}),
        ("GIF", "L", {"interlace": 1}),
        ("PPM", "RGB", {}),
        ("PPM", "L", {}),
        ("PPM", "1", {}),
    ]
    return [encode(plain, *form) for form in forms] + [b"P3 9 9 255 " + b"12 250 7 " * 81, b"P2 9 9 1000 " + b"700 " * 81]


def encode(plain: Image.Image, kind: str, mode: str, options: dict[str, object]) -> bytes:
    target = BytesIO()
    plain.convert("L" if mode == "I;16" else mode).convert(mode).save(target, kind, **options)
    return target.getvalue()


def damage(rng: random.Random, all_sources: list[bytes]) -> bytes:
    """Damage an image: change its header or other bytes, cut it, or join it with another image."""
    data = bytearray(rng.choice(all_sources))
    for _ in range(rng.choice([1, 1, 2, 5])):
        position, header_position = rng.randrange(len(data) or 1), rng.randrange(min(len(data), 200) or 1)
        other, size = rng.choice(all_sources), rng.choice([1, 2, 4])
        boundary = rng.choice([0, 1, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1]) % 256**size
        data = rng.choice(
            [
                data[:position] + rng.randbytes(1) + data[position + 1 :],
                data[:header_position] + rng.randbytes(1) + data[header_position + 1 :],
                data[:header_position] + boundary.to_bytes(size, rng.choice(["little", "big"])) + data[header_position + size :],
                data[:position],
                data[:position] + data[position + rng.randrange(1, 64) :],
                data[:position] + data[header_position : header_position + rng.randrange(1, 500)] + data[position:],
                data[:position] + other[rng.randrange(len(other)) :],
            ]
        )
    return bytes(data) or b"\0"


def upload_damaged_images(addresses: list[tuple[str, int]], seed: int, files: int) -> tuple[Counter[int], float, list[int]]:
    """Upload damaged images. Return the counts of statuses, the longest wait in seconds, and the numbers of files that differed."""
    rng, all_sources = random.Random(seed), sources()
    clients = [HTTPConnection(*address, timeout=60) for address in addresses]
    statuses: Counter[int] = Counter()
    slowest, differing = 0.0, []
    for number in range(files):
        data, start = damage(rng, all_sources), time.monotonic()
        outcomes = [upload(client, data) for client in clients]
        slowest = max(slowest, time.monotonic() - start)
        statuses.update(status for status, *_ in outcomes)
        if len(set(outcomes)) > 1:
            differing.append(number)
    return statuses, slowest, differing


def upload(client: HTTPConnection, data: bytes) -> tuple[int, str, str]:
    """Upload a file. Return the status, and the ETags of the stored image and of a preview."""
    client.request("POST", PATH, data)
    with client.getresponse() as answer:
        body = answer.read()
    if answer.status != 201:
        return answer.status, "", ""
    image_id = json.loads(body)["image_id"]
    return answer.status, etag(client, image_id), etag(client, f"{image_id}_160")


def etag(client: HTTPConnection, name: str) -> str:
    client.request("HEAD", f"{PATH}/{name}")
    with client.getresponse() as answer:
        return answer.headers["ETag"]


def memory(workers: list[psutil.Process]) -> int:
    """Return the memory of the largest worker in megabytes."""
    return max(worker.memory_info().rss for worker in workers) // 2**20


def errors(service: Service) -> list[str]:
    return [line for line in service.log().splitlines() if "Traceback" in line or "Error" in line][:20]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[list[Service]]:
    settings: dict[str, object] = {
        "LOCAL_STORAGE__DURABLE": "false",
        "LUNA_IMAGE_STORE_LOGGER__LOG_LEVEL": "WARNING",
        "IMAGES__MAX_PIXELS": 1_000_000,
        "HTTP__WORKERS": 1,
    }
    services = []
    for fill_byte in FILL_BYTES:
        (tmp_path / fill_byte).mkdir()
        services.append(Service(tmp_path / fill_byte, **settings))
        services[-1].environment |= {"MALLOC_PERTURB_": fill_byte, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    try:
        for service in services:
            service.start().make_bucket()
        yield services
    finally:
        for service in services:
            service.end()


def test_damaged_images_cause_no_errors_and_no_memory_leak(services: list[Service]) -> None:
    workers = [worker for service in services for worker in service.workers()]
    results, sizes = [], []
    for half in range(2):
        with ProcessPoolExecutor(CLIENTS) as pool:
            seeds = range(SEED + half * CLIENTS, SEED + (half + 1) * CLIENTS)
            addresses = [service.address for service in services]
            results += pool.map(upload_damaged_images, [addresses] * CLIENTS, seeds, [FILES // CLIENTS // 2 + 1] * CLIENTS)
        sizes.append(memory(workers))
    statuses = sum((counts for counts, *_ in results), Counter())
    slowest = max(seconds for _, seconds, _ in results)
    print(dict(statuses), f"slowest {slowest:.2f} s, memory after each half {sizes} MB")
    assert statuses.keys() == {201, 400}, [errors(service) for service in services]
    assert statuses.total() >= FILES * len(services)
    assert min(statuses.values()) > FILES // 20
    assert slowest < MAX_SECONDS
    assert [differing for _, _, differing in results] == [[]] * len(results)
    assert [worker.pid for service in services for worker in service.workers()] == [worker.pid for worker in workers]
    assert sizes[1] < sizes[0] + MAX_GROWTH
    for service in services:
        assert not service.log()
        for image_id in random.Random(SEED).sample(service.storage.ids(), 20):
            with Image.open(BytesIO(service.get(f"{PATH}/{image_id}_160").content)) as preview:
                preview.load()
