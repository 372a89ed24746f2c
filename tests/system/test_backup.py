"""A copy that is made while the service works, with the command of deploy/README.md, has every record whole."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event
from uuid import uuid4

from ..machine import tool, wait_until
from .kept import OnDisk
from .service import REPOSITORY, Service

OBJECTS = "/1/buckets/pictures/objects"
IDS = [str(uuid4()) for _ in range(4)]
SIZE = 2 * 2**20
SLOWLY = "--bwlimit=4M"  # so that each file is replaced while it is read
VANISHED = 24  # what rsync ends with when a file was deleted under its hands


def make_copy(source: Path, copy: Path) -> int:
    """Run the command of deploy/README.md on other directories, and give its exit code."""
    page = (REPOSITORY / "deploy/README.md").read_text().replace("\\\n", "")
    (line,) = re.findall("^rsync .*--delete.*", page, re.MULTILINE)
    placed = line.replace("/var/lib/luna-image-store", str(source)).replace("/var/backups/luna-image-store", str(copy))
    return subprocess.run([tool("rsync"), SLOWLY, *placed.split()[1:]], timeout=60).returncode


def change(service: Service, done: Event) -> None:
    """Save, replace and delete objects, each of one letter, until all is done."""
    for letter in cycle(b"abc"):
        for object_id in IDS:
            url = f"{OBJECTS}/{object_id}"
            assert service.put(url, bytes([letter]) * SIZE, headers={"Content-Type": "text/plain"}).status_code == 200
        service.delete(f"{OBJECTS}/{IDS[-1]}")
        if done.is_set():
            return


def test_a_copy_of_a_working_service_has_every_record_whole(tmp_path: Path) -> None:
    service = Service(tmp_path).start()
    try:
        service.make_bucket()
        done = Event()
        with ThreadPoolExecutor() as pool:
            changes = pool.submit(change, service, done)
            wait_until(lambda: len(service.kept.ids("objects")) > 2, 30)
            try:
                ended = make_copy(service.root, tmp_path / "copy")
            finally:
                done.set()
        assert ended in (0, VANISHED)
        assert changes.result() is None
    finally:
        service.end()
    restored = Service(tmp_path, OnDisk(tmp_path / "copy"))
    try:
        restored.start()
        ids = restored.kept.ids("objects")
        assert len(ids) > 2
        for object_id in ids:
            content = restored.get(f"{OBJECTS}/{object_id}").content
            assert content == content[:1] * SIZE
    finally:
        restored.end()
