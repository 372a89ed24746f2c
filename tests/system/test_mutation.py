"""Damaged images by the thousand against real workers: none is a fault of the service, none holds it, none stays in memory.

Two services get each file. The memory of their workers is poisoned, of each with another byte, so what a decoder takes for pixels
without having filled it would differ between them.
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

from .pictures import picture
from .service import Service

FILES = int(os.environ.get("MUTATED_FILES", "3000"))
CLIENTS, SEED = 3, 20_260
GROWTH = 24  # megabytes; what one picture of the largest size may leave behind
SLOWEST = 5
PATH = "/1/buckets/pictures/images"
POISONS = ("85", "170")


def sources() -> list[bytes]:
    """Make small pictures of all six formats, in the forms that take different ways through the decoders."""
    plain = Image.open(BytesIO(picture(72, 56, "PNG")))
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
    return [encoded(plain, *form) for form in forms] + [b"P3 9 9 255 " + b"12 250 7 " * 81, b"P2 9 9 1000 " + b"700 " * 81]


def encoded(plain: Image.Image, kind: str, mode: str, options: dict[str, object]) -> bytes:
    target = BytesIO()
    plain.convert("L" if mode == "I;16" else mode).convert(mode).save(target, kind, **options)
    return target.getvalue()


def damaged(noise: random.Random, all_sources: list[bytes]) -> bytes:
    """Damage a picture: at its head, anywhere, by cutting, or by joining it to another."""
    data = bytearray(noise.choice(all_sources))
    for _ in range(noise.choice([1, 1, 2, 5])):
        place, near = noise.randrange(len(data) or 1), noise.randrange(min(len(data), 200) or 1)
        other, size = noise.choice(all_sources), noise.choice([1, 2, 4])
        edge = noise.choice([0, 1, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1]) % 256**size
        data = noise.choice(
            [
                data[:place] + noise.randbytes(1) + data[place + 1 :],
                data[:near] + noise.randbytes(1) + data[near + 1 :],
                data[:near] + edge.to_bytes(size, noise.choice(["little", "big"])) + data[near + size :],
                data[:place],
                data[:place] + data[place + noise.randrange(1, 64) :],
                data[:place] + data[near : near + noise.randrange(1, 500)] + data[place:],
                data[:place] + other[noise.randrange(len(other)) :],
            ]
        )
    return bytes(data) or b"\0"


def attack(addresses: list[tuple[str, int]], seed: int, files: int) -> tuple[Counter[int], float, list[int]]:
    """Upload damaged images one by one; return counts of statuses, the longest wait, and which files came out differently."""
    noise, all_sources = random.Random(seed), sources()
    clients = [HTTPConnection(*address, timeout=60) for address in addresses]
    statuses: Counter[int] = Counter()
    slowest, differing = 0.0, []
    for number in range(files):
        data, start = damaged(noise, all_sources), time.monotonic()
        outcomes = [upload(client, data) for client in clients]
        slowest = max(slowest, time.monotonic() - start)
        statuses.update(status for status, *_ in outcomes)
        if len(set(outcomes)) > 1:
            differing.append(number)
    return statuses, slowest, differing


def upload(client: HTTPConnection, data: bytes) -> tuple[int, str, str]:
    """Upload a file; return the status, and the ETags of the image and of a preview that were made of it."""
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
    """Give the megabytes of the largest worker."""
    return max(worker.memory_info().rss for worker in workers) // 2**20


def faults(service: Service) -> list[str]:
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
    for poison in POISONS:
        (tmp_path / poison).mkdir()
        services.append(Service(tmp_path / poison, **settings))
        services[-1].environment |= {"MALLOC_PERTURB_": poison, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    try:
        for service in services:
            service.start().make_bucket()
        yield services
    finally:
        for service in services:
            service.end()


def test_damaged_images_do_no_harm(services: list[Service]) -> None:
    workers = [worker for service in services for worker in service.workers()]
    halves, sizes = [], []
    for half in range(2):
        with ProcessPoolExecutor(CLIENTS) as pool:
            seeds = range(SEED + half * CLIENTS, SEED + (half + 1) * CLIENTS)
            addresses = [service.address for service in services]
            halves += pool.map(attack, [addresses] * CLIENTS, seeds, [FILES // CLIENTS // 2 + 1] * CLIENTS)
        sizes.append(memory(workers))
    statuses = sum((counts for counts, *_ in halves), Counter())
    slowest = max(seconds for _, seconds, _ in halves)
    print(dict(statuses), f"slowest {slowest:.2f} s, memory after each half {sizes} MB")
    assert statuses.keys() == {201, 400}, [faults(service) for service in services]
    assert statuses.total() >= FILES * len(services)
    assert min(statuses.values()) > FILES // 20
    assert slowest < SLOWEST
    assert [differing for _, _, differing in halves] == [[]] * len(halves)
    assert [worker.pid for service in services for worker in service.workers()] == [worker.pid for worker in workers]
    assert sizes[1] < sizes[0] + GROWTH
    for service in services:
        assert not service.log()
        for image_id in random.Random(SEED).sample(service.kept.ids(), 20):
            with Image.open(BytesIO(service.get(f"{PATH}/{image_id}_160").content)) as preview:
                preview.load()
