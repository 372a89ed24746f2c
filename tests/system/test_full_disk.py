"""A storage on a full disk, a small tmpfs."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..machine import need, tool, wait_until
from .conftest import Start
from .images import noise_image
from .service import Service

IMAGE = "/1/buckets/photos/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
OTHER = "/1/buckets/photos/images/9b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"

Fill = Callable[[Path], None]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "storage"
    root.mkdir()
    mounted = subprocess.run((tool("mount"), "-t", "tmpfs", "-o", "size=8m,nr_inodes=60", "tmpfs", root), capture_output=True)
    need(mounted.returncode == 0, "the right to mount file systems")
    yield root
    subprocess.run(("umount", "--lazy", root), check=True)  # lazy: a bucket deletion may still be running


@pytest.fixture
def service(root: Path, start: Start) -> Service:
    service = start()
    service.make_bucket()
    assert service.put(IMAGE, noise_image()).status_code == 200
    return service


def use_up_bytes(root: Path) -> None:
    with suppress(OSError), (root / ".filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def use_up_inodes(root: Path) -> None:
    folder = root / ".filler"
    folder.mkdir()
    with suppress(OSError):
        for number in range(1000):
            (folder / str(number)).touch()


def free_space(root: Path) -> None:
    subprocess.run(("rm", "-r", root / ".filler"), check=True)


@pytest.mark.parametrize("fill", [use_up_bytes, use_up_inodes])
def test_full_disk_refuses_saves_and_loses_no_record(service: Service, fill: Fill) -> None:
    workers = service.workers()
    fill(service.root)
    for answer in (
        service.put(OTHER, noise_image()),
        service.put(IMAGE, noise_image(seed=1)),
        service.post("/1/buckets/photos/images", noise_image()),
        service.post("/1/buckets/photos/objects", b"x" * 2**20, headers={"Content-Type": "text/plain"}),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (507, 13907)
        assert str(service.root) not in answer.text
    assert service.get(OTHER).status_code == 404
    assert service.get(IMAGE).content == noise_image()
    assert len(service.storage.ids("images") + service.storage.ids("objects")) == 1
    assert not service.storage.leftovers()
    assert service.workers() == workers
    assert "Traceback" not in service.log()


@pytest.mark.parametrize("fill", [use_up_bytes, use_up_inodes])
def test_saves_succeed_after_space_is_freed(service: Service, fill: Fill) -> None:
    fill(service.root)
    assert service.put(OTHER, noise_image()).status_code == 507
    free_space(service.root)
    assert service.put(OTHER, noise_image()).status_code == 200
    assert service.get(OTHER).content == noise_image()


def test_deletion_on_a_full_disk_frees_space(service: Service) -> None:
    use_up_bytes(service.root)
    assert service.put(OTHER, noise_image()).status_code == 507
    assert service.delete(IMAGE).status_code == 204
    assert service.put(OTHER, noise_image()).status_code == 200


def test_bucket_creation_without_enough_inodes_leaves_no_leftovers(service: Service) -> None:
    use_up_inodes(service.root)
    (service.root / ".filler" / "0").unlink()  # one free inode: enough for the bucket, but not for its directories
    for _ in range(2):
        assert service.post("/1/buckets?bucket=new").status_code == 507
        assert not service.storage.leftovers()
    assert service.get("/1/buckets").json() == ["photos"]


def test_health_check_fails_while_the_disk_has_no_free_inodes(service: Service) -> None:
    assert service.get("/healthcheck").status_code == 200
    use_up_inodes(service.root)
    answer = wait_until(lambda: [answer for answer in [service.get("/healthcheck")] if answer.status_code == 502])[0]
    assert answer.json()["components"]
    free_space(service.root)
    wait_until(lambda: service.get("/healthcheck").status_code == 200)
