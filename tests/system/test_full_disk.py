"""A storage with no room left, on a small file system of its own."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..machine import need, tool, wait_until
from .conftest import Start
from .pictures import picture
from .service import Service

IMAGE = "/1/buckets/pictures/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
OTHER = "/1/buckets/pictures/images/9b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"

Fill = Callable[[Path], None]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "storage"
    root.mkdir()
    mounted = subprocess.run((tool("mount"), "-t", "tmpfs", "-o", "size=8m,nr_inodes=60", "tmpfs", root), capture_output=True)
    need(mounted.returncode == 0, "the right to mount")
    yield root
    subprocess.run(("umount", "--lazy", root), check=True)  # lazily: what deletes a bucket may still be at work


@pytest.fixture
def service(root: Path, start: Start) -> Service:
    service = start()
    service.make_bucket()
    assert service.put(IMAGE, picture()).status_code == 200
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


def free(root: Path) -> None:
    subprocess.run(("rm", "-r", root / ".filler"), check=True)


@pytest.mark.parametrize("fill", [use_up_bytes, use_up_inodes])
def test_a_full_disk_takes_nothing_and_loses_nothing(service: Service, fill: Fill) -> None:
    workers = service.workers()
    fill(service.root)
    for answer in (
        service.put(OTHER, picture()),
        service.put(IMAGE, picture(seed=1)),
        service.post("/1/buckets/pictures/images", picture()),
        service.post("/1/buckets/pictures/objects", b"x" * 2**20, headers={"Content-Type": "text/plain"}),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (507, 13907)
        assert str(service.root) not in answer.text
    assert service.get(OTHER).status_code == 404
    assert service.get(IMAGE).content == picture()
    assert len(service.kept.ids("images") + service.kept.ids("objects")) == 1
    assert not service.kept.leftovers()
    assert service.workers() == workers
    assert "Traceback" not in service.log()


@pytest.mark.parametrize("fill", [use_up_bytes, use_up_inodes])
def test_saves_succeed_again_once_there_is_room(service: Service, fill: Fill) -> None:
    fill(service.root)
    assert service.put(OTHER, picture()).status_code == 507
    free(service.root)
    assert service.put(OTHER, picture()).status_code == 200
    assert service.get(OTHER).content == picture()


def test_room_is_made_by_deleting_on_a_full_disk(service: Service) -> None:
    use_up_bytes(service.root)
    assert service.put(OTHER, picture()).status_code == 507
    assert service.delete(IMAGE).status_code == 204
    assert service.put(OTHER, picture()).status_code == 200


def test_a_bucket_for_which_only_some_inodes_are_left_is_not_made_in_part(service: Service) -> None:
    use_up_inodes(service.root)
    (service.root / ".filler" / "0").unlink()  # room for the bucket, none for what is in it
    for _ in range(2):
        assert service.post("/1/buckets?bucket=new").status_code == 507
        assert not service.kept.leftovers()
    assert service.get("/1/buckets").json() == ["pictures"]


def test_health_tells_of_a_disk_that_takes_no_more_files(service: Service) -> None:
    assert service.get("/healthcheck").status_code == 200
    use_up_inodes(service.root)
    answer = wait_until(lambda: [answer for answer in [service.get("/healthcheck")] if answer.status_code == 502])[0]
    assert answer.json()["components"]
    free(service.root)
    wait_until(lambda: service.get("/healthcheck").status_code == 200)
