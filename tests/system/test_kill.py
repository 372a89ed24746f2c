"""The service is killed repeatedly under load: a power failure that spares the page cache. Acknowledged records stay intact."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import requests

from ..machine import wait_until
from .conftest import Start, on_disk_and_s3
from .images import jpeg_size, noise_image, with_comment
from .raw_storage import RawDisk, RawStorage
from .service import Service

KILLS, KILLS_ON_S3 = int(os.environ.get("KILLS", "6")), int(os.environ.get("KILLS_ON_S3", "2"))
CLIENTS = 4
MIB = 2**20
IMAGES, OBJECTS = "/1/buckets/photos/images", "/1/buckets/photos/objects"
PREVIEWS = (32, 64, 96, 160)
TEXT = {"Content-Type": "text/plain"}


class Client:
    """A client with its own records. `possible` holds the contents that a path can have: several while a request runs."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._random = random.Random(seed)
        self._images = [noise_image(seed=number) for number in range(4)]
        self.possible: dict[str, set[bytes | None]] = {}

    def work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._step()
            except requests.RequestException:
                return

    def _step(self) -> None:
        path = self._random.choice(list(self.possible)) if self.possible and self._random.random() < 0.6 else None
        choice = self._random.random()
        if path is None and choice < 0.5:
            self._post()
        elif path is None:
            self._save(self._new_path())
        elif choice < 0.4:
            self._save(path)
        elif choice < 0.7:
            self._delete(path)
        else:
            self.check(path)

    def _new_path(self) -> str:
        return f"{IMAGES if self._random.random() < 0.7 else OBJECTS}/{UUID(int=self._random.getrandbits(128), version=4)}"

    def _content(self, is_image: bool) -> bytes:
        mark = str(self._random.getrandbits(64))
        return with_comment(self._random.choice(self._images), mark) if is_image else mark.encode() * 40_000

    def _post(self) -> None:
        content = self._content(is_image=True)
        answer = self._service.post(IMAGES, content)
        assert answer.status_code == 201
        self.possible[answer.json()["url"]] = {content}

    def _save(self, path: str) -> None:
        content = self._content(path.startswith(IMAGES))
        self.possible[path] = {content, *self.possible.get(path, {None})}
        answer = self._service.put(path, content, headers={} if path.startswith(IMAGES) else TEXT)
        assert answer.status_code == 200
        self.possible[path] = {content}

    def _delete(self, path: str) -> None:
        before = self.possible[path]
        self.possible[path] = before | {None}
        answer = self._service.delete(path)
        assert answer.status_code == (404 if before == {None} else 204)
        self.possible[path] = {None}

    def check(self, path: str) -> None:
        answer = self._service.get(path)
        assert answer.status_code in (200, 404)
        content = answer.content if answer.status_code == 200 else None
        assert content in self.possible[path], f"{path}: neither the acknowledged content nor the content of a running request"
        self.possible[path] = {content}
        if path.startswith(IMAGES):
            sizes = [max(jpeg_size(preview.content)) for size in PREVIEWS if (preview := self._service.get(f"{path}_{size}"))]
            assert sizes == ([] if content is None else list(PREVIEWS))

    def check_all(self, paths: set[str]) -> None:
        for path in paths:
            self.check(path)


@on_disk_and_s3
def test_acknowledged_records_survive_kills_under_load(start: Start, storage: RawStorage) -> None:
    service = start()
    service.make_bucket()
    clients = [Client(service, seed) for seed in range(CLIENTS)]
    rng = random.Random(0)
    for _ in range(KILLS if isinstance(storage, RawDisk) else KILLS_ON_S3):
        before = [dict(client.possible) for client in clients]
        stop = threading.Event()
        with ThreadPoolExecutor() as pool:
            working = [pool.submit(client.work, stop) for client in clients]
            time.sleep(rng.uniform(0.3, 0.9))
            service.kill()
            stop.set()
        for worked in working:
            worked.result()
        service.start()
        wait_until(lambda: not storage.leftovers())  # a starting worker also creates a temporary file
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda client, old: client.check_all(changed_paths(client, old)), clients, before))
    for client in clients:
        for path, possible in client.possible.items():
            assert service.request("HEAD", path).status_code == (404 if possible == {None} else 200)
    check_every_record(service)
    assert "Traceback" not in service.log()


def changed_paths(client: Client, before: dict[str, set[bytes | None]]) -> set[str]:
    return {path for path, possible in client.possible.items() if before.get(path) != possible}


def check_every_record(service: Service) -> None:
    """Check that each visible record is intact, acknowledged or not."""
    assert service.storage.ids("images")
    for image_id in service.storage.ids("images"):
        assert service.get(f"{IMAGES}/{image_id}").status_code == 200
    for object_id in service.storage.ids("objects"):
        assert service.get(f"{OBJECTS}/{object_id}").status_code == 200


@on_disk_and_s3
def test_killed_large_upload_is_invisible_and_deleted_with_its_bucket(start: Start, storage: RawStorage) -> None:
    """On a disk, the next start deletes the leftover. On S3, a lifecycle rule may delete it earlier."""
    service = start()
    service.make_bucket()
    with service.connection() as client:
        head = f"POST {OBJECTS} HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: {64 * MIB}\r\n\r\n"
        client.sendall(head.encode() + b"x" * 20 * MIB)
        wait_until(storage.leftovers)
        service.kill()
    service.start()
    assert storage.ids("objects") == []
    wait_until(lambda: len(storage.leftovers()) == (0 if isinstance(storage, RawDisk) else 1))
    assert service.delete("/1/buckets/photos").status_code == 202
    assert service.get("/1/buckets").json() == []
    assert storage.leftovers() == []
