"""A backup with the command of deploy/README.md has complete records only, even if the service saves records during it."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event
from uuid import uuid4

from ..machine import tool, wait_until
from .raw_storage import RawDisk
from .service import REPOSITORY, Service

OBJECTS = "/1/buckets/photos/objects"
IDS = [str(uuid4()) for _ in range(4)]
SIZE = 2 * 2**20
BANDWIDTH_LIMIT = "--bwlimit=4M"  # so slow that each file is replaced while rsync reads it
VANISHED = 24  # exit code of rsync if a file was deleted while rsync ran


def back_up(source: Path, copy: Path) -> int:
    """Run the command of deploy/README.md on other directories. Return its exit code."""
    page = (REPOSITORY / "deploy/README.md").read_text().replace("\\\n", "")
    (line,) = re.findall("^rsync .*--delete.*", page, re.MULTILINE)
    command = line.replace("/var/lib/luna-image-store", str(source)).replace("/var/backups/luna-image-store", str(copy))
    return subprocess.run([tool("rsync"), BANDWIDTH_LIMIT, *command.split()[1:]], timeout=60).returncode


def change_objects(service: Service, done: Event) -> None:
    """Save, replace and delete objects until `done` is set. Each object has only one letter, repeated."""
    for letter in cycle(b"abc"):
        for object_id in IDS:
            url = f"{OBJECTS}/{object_id}"
            assert service.put(url, bytes([letter]) * SIZE, headers={"Content-Type": "text/plain"}).status_code == 200
        service.delete(f"{OBJECTS}/{IDS[-1]}")
        if done.is_set():
            return


def test_backup_of_a_running_service_has_complete_records(tmp_path: Path) -> None:
    service = Service(tmp_path).start()
    try:
        service.make_bucket()
        done = Event()
        with ThreadPoolExecutor() as pool:
            changes = pool.submit(change_objects, service, done)
            wait_until(lambda: len(service.storage.ids("objects")) > 2, 30)
            try:
                exit_code = back_up(service.root, tmp_path / "copy")
            finally:
                done.set()
        assert exit_code in (0, VANISHED)
        assert changes.result() is None
    finally:
        service.end()
    restored = Service(tmp_path, RawDisk(tmp_path / "copy"))
    try:
        restored.start()
        ids = restored.storage.ids("objects")
        assert len(ids) > 2
        for object_id in ids:
            content = restored.get(f"{OBJECTS}/{object_id}").content
            assert content == content[:1] * SIZE
    finally:
        restored.end()
