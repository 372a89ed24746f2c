"""Objects that no memory would hold."""

import hashlib
import http.client
import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psutil import Process

from ..machine import wait_until
from .conftest import Start, on_disk_and_s3
from .kept import Kept, OnDisk
from .service import Service, traced

MIB = 2**20
GIB = 2**30
SIZE_ON_S3 = GIB // 4  # held to this for the sake of the tests' time
LONG_UPLOAD = int(os.environ.get("LONG_UPLOAD", 80)) * MIB
GROWTH = 64 * MIB
ZIP = {"Content-Type": "application/zip"}
NOISE = random.Random(0).randbytes(MIB - 12)


def generated(size: int) -> Iterator[bytes]:
    """Make a file of pieces that all differ, one at a time."""
    for number in range(size // MIB):
        yield b"PK\x03\x04" + number.to_bytes(8) + NOISE


def upload(service: Service, size: int, pieces: Iterator[bytes] | None = None) -> str:
    with closing(http.client.HTTPConnection(*service.address, timeout=120)) as connection:
        connection.request("POST", "/1/buckets/pictures/objects", pieces or generated(size), {**ZIP, "Content-Length": str(size)})
        answer = connection.getresponse()
        assert answer.status == 201
        return str(answer.headers["Location"])


def download(service: Service, path: str) -> Iterator[bytes]:
    with service.get(path, stream=True) as answer:
        assert answer.status_code == 200
        yield from answer.iter_content(MIB)


def digest(pieces: Iterator[bytes]) -> str:
    whole = hashlib.blake2b()
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()


def peak(worker: Process) -> int:
    """Give the most memory that a worker ever held: the kernel keeps this one, so no peak between two looks is missed."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@on_disk_and_s3
def test_a_very_large_object_goes_up_and_down_in_flat_memory(service: Service, kept: Kept) -> None:
    workers, size = service.workers(), GIB if isinstance(kept, OnDisk) else SIZE_ON_S3
    before = {worker.pid: worker.memory_info().rss for worker in workers}
    url = upload(service, size)
    assert digest(download(service, url)) == digest(generated(size))
    middle = service.get(url, headers={"Range": f"bytes={size // 2 - 4}-{size // 2 + 11}"})
    assert middle.status_code == 206
    assert middle.content == NOISE[-4:] + b"PK\x03\x04" + (size // 2 // MIB).to_bytes(8)
    assert service.get(url, headers={"Range": "bytes=-3"}).content == NOISE[-3:]
    assert service.workers() == workers
    for worker in workers:
        assert peak(worker) - before[worker.pid] < GROWTH
    assert service.delete(url).status_code == 204


def test_a_large_object_is_sent_without_being_read(start: Start, tmp_path: Path) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    url = upload(service, 8 * MIB)
    with traced(service.workers()[0], tmp_path / "trace", "-e", "trace=sendfile"):
        assert digest(download(service, url)) == digest(generated(8 * MIB))
    lines = [line for line in (tmp_path / "trace").read_text().splitlines() if f"{service.root}/pictures/objects" in line]
    assert sum(int(line.rsplit("= ", 1)[1]) for line in lines) == 8 * MIB


def test_a_long_upload_is_not_taken_for_a_worker_that_hangs(start: Start) -> None:
    """Its time is a multiple of what a worker may hang, at 10 MB/s."""
    service = start(HTTP__WORKERS=1, HTTP__REQUEST_TIMEOUT=2)
    service.make_bucket()
    workers = service.workers()
    began = time.monotonic()

    def paced() -> Iterator[bytes]:
        for number, piece in enumerate(generated(LONG_UPLOAD)):
            time.sleep(max(0, began + number / 10 - time.monotonic()))
            yield piece

    url = upload(service, LONG_UPLOAD, paced())
    assert digest(download(service, url)) == digest(generated(LONG_UPLOAD))
    assert service.workers() == workers


@on_disk_and_s3
@pytest.mark.parametrize("is_reset", [True, False])
def test_an_upload_that_breaks_off_leaves_nothing(service: Service, is_reset: bool) -> None:
    head = "POST /1/buckets/pictures/objects HTTP/1.1\r\nHost: h\r\nContent-Type: application/zip\r\n"
    with service.connection() as client:
        client.sendall(f"{head}Content-Length: {GIB}\r\n\r\n".encode())
        for piece in generated(64 * MIB):
            client.sendall(piece)
        assert service.kept.leftovers()
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: not service.kept.leftovers(), 60)
    assert not service.kept.ids("objects")
    assert service.get("/version").status_code == 200
    assert "Traceback" not in service.log()
