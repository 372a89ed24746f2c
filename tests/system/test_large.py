"""Objects that are too large for the memory of a worker."""

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
from .raw_storage import RawDisk, RawStorage
from .service import Service, traced

MIB = 2**20
GIB = 2**30
SIZE_ON_S3 = GIB // 4  # smaller, to save time
LONG_UPLOAD = int(os.environ.get("LONG_UPLOAD", 80)) * MIB
MAX_GROWTH = 64 * MIB
ZIP = {"Content-Type": "application/zip"}
NOISE = random.Random(0).randbytes(MIB - 12)


def generate_zip(size: int) -> Iterator[bytes]:
    """Yield a ZIP file in pieces of 1 MiB. All pieces differ."""
    for number in range(size // MIB):
        yield b"PK\x03\x04" + number.to_bytes(8) + NOISE


def upload(service: Service, size: int, pieces: Iterator[bytes] | None = None) -> str:
    with closing(http.client.HTTPConnection(*service.address, timeout=120)) as connection:
        connection.request("POST", "/1/buckets/photos/objects", pieces or generate_zip(size), {**ZIP, "Content-Length": str(size)})
        answer = connection.getresponse()
        assert answer.status == 201
        return str(answer.headers["Location"])


def download(service: Service, path: str) -> Iterator[bytes]:
    with service.get(path, stream=True) as answer:
        assert answer.status_code == 200
        yield from answer.iter_content(MIB)


def digest(pieces: Iterator[bytes]) -> str:
    hasher = hashlib.blake2b()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def peak_memory(worker: Process) -> int:
    """Return the peak memory of a worker in bytes. The kernel records it, so that no short peak is missed."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@on_disk_and_s3
def test_very_large_object_is_transferred_in_constant_memory(service: Service, storage: RawStorage) -> None:
    workers, size = service.workers(), GIB if isinstance(storage, RawDisk) else SIZE_ON_S3
    before = {worker.pid: worker.memory_info().rss for worker in workers}
    url = upload(service, size)
    assert digest(download(service, url)) == digest(generate_zip(size))
    middle = service.get(url, headers={"Range": f"bytes={size // 2 - 4}-{size // 2 + 11}"})
    assert middle.status_code == 206
    assert middle.content == NOISE[-4:] + b"PK\x03\x04" + (size // 2 // MIB).to_bytes(8)
    assert service.get(url, headers={"Range": "bytes=-3"}).content == NOISE[-3:]
    assert service.workers() == workers
    for worker in workers:
        assert peak_memory(worker) - before[worker.pid] < MAX_GROWTH
    assert service.delete(url).status_code == 204


def test_large_object_is_sent_with_sendfile(start: Start, tmp_path: Path) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    url = upload(service, 8 * MIB)
    with traced(service.workers()[0], tmp_path / "trace", "-e", "trace=sendfile"):
        assert digest(download(service, url)) == digest(generate_zip(8 * MIB))
    lines = [line for line in (tmp_path / "trace").read_text().splitlines() if f"{service.root}/photos/objects" in line]
    assert sum(int(line.rsplit("= ", 1)[1]) for line in lines) == 8 * MIB


def test_long_upload_does_not_trigger_the_worker_timeout(start: Start) -> None:
    """At 10 MB/s, the upload takes a multiple of the worker timeout."""
    service = start(HTTP__WORKERS=1, HTTP__REQUEST_TIMEOUT=2)
    service.make_bucket()
    workers = service.workers()
    started = time.monotonic()

    def paced() -> Iterator[bytes]:
        for number, piece in enumerate(generate_zip(LONG_UPLOAD)):
            time.sleep(max(0, started + number / 10 - time.monotonic()))
            yield piece

    url = upload(service, LONG_UPLOAD, paced())
    assert digest(download(service, url)) == digest(generate_zip(LONG_UPLOAD))
    assert service.workers() == workers


@on_disk_and_s3
@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "close"])
def test_aborted_upload_leaves_no_data(service: Service, is_reset: bool) -> None:
    head = "POST /1/buckets/photos/objects HTTP/1.1\r\nHost: h\r\nContent-Type: application/zip\r\n"
    with service.connection() as client:
        client.sendall(f"{head}Content-Length: {GIB}\r\n\r\n".encode())
        for piece in generate_zip(64 * MIB):
            client.sendall(piece)
        assert service.storage.leftovers()
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: not service.storage.leftovers(), 60)
    assert not service.storage.ids("objects")
    assert service.get("/version").status_code == 200
    assert "Traceback" not in service.log()
