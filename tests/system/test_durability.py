"""The order of the system calls of a worker, recorded by strace."""

import re
from pathlib import Path

import pytest

from .conftest import Start
from .images import noise_image, with_comment
from .service import Service, traced

ID = "8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
IMAGE = f"/1/buckets/photos/images/{ID}"
CALLS = "trace=openat,write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,mkdir,unlink,send,sendto,sendmsg,sendfile"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def line_numbers(trace: Path, *patterns: str) -> list[int]:
    """Return the number of the one line that each pattern matches."""
    lines = trace.read_text().splitlines()
    found = [[number for number, line in enumerate(lines) if re.search(pattern, line)] for pattern in patterns]
    assert all(len(numbers) == 1 for numbers in found), (found, lines)
    return [number for (number,) in found]


def first_send(trace: Path) -> int:
    return next(n for n, line in enumerate(trace.read_text().splitlines()) if re.search(r"send(to|msg)?\(\d+<(socket|TCP)", line))


def test_save_is_synced_before_its_response(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    folder = service.root / "photos" / "images"
    for _ in range(2):  # first in a new shard, then over the existing record
        with traced(service.workers()[0], trace, "-e", CALLS):
            assert service.put(IMAGE, noise_image()).status_code == 200
        temporary = re.escape(str(service.root / ".tmp"))
        written, file_synced, renamed, shard_synced = line_numbers(
            trace,
            rf" write\(\d+<{temporary}/",
            rf" fsync\(\d+<{temporary}/.*= 0",
            rf' rename\("{temporary}/.*{ID}.jpg"\) = 0',
            rf" fsync\(\d+<{folder}/8b>\) += 0",
        )
        assert written < file_synced < renamed < shard_synced < first_send(trace)


def test_new_directories_are_synced_before_the_response(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1)
    with traced(service.workers()[0], trace, "-e", CALLS):
        service.make_bucket()
    renamed, synced = line_numbers(trace, rf" rename\(.*{service.root}/photos\"\) = 0", rf" fsync\(\d+<{service.root}>\) += 0")
    assert renamed < synced < first_send(trace)
    with traced(service.workers()[0], trace, "-e", CALLS):
        assert service.put(IMAGE, noise_image()).status_code == 200
    created, synced = line_numbers(trace, r' mkdir\(".*/photos/images/8b", ', rf" fsync\(\d+<{service.root}/photos/images>\) += 0")
    assert created < synced < first_send(trace)


def test_first_save_in_an_unsynced_shard_syncs_its_parent_directory(start: Start, trace: Path) -> None:
    """Another worker has just created the shard. The sticky bit marks it as not yet synced."""
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    folder = service.root / "photos" / "images"
    (folder / "8b").mkdir()
    (folder / "8b").chmod(0o1750)
    for times in (1, 0):
        with traced(service.workers()[0], trace, "-e", CALLS):
            assert service.put(IMAGE, noise_image()).status_code == 200
        syncs = [n for n, line in enumerate(trace.read_text().splitlines()) if re.search(rf" fsync\(\d+<{folder}>\) += 0", line)]
        assert len(syncs) == times
        assert all(number < first_send(trace) for number in syncs)
    assert (folder / "8b").stat().st_mode & 0o7777 == 0o750


def test_deletion_is_synced_before_its_response(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    assert service.put(IMAGE, noise_image()).status_code == 200
    with traced(service.workers()[0], trace, "-e", CALLS):
        assert service.delete(IMAGE).status_code == 204
    unlinked, synced = line_numbers(trace, rf' unlink\(".*{ID}.jpg"\) = 0', rf" fsync\(\d+<{service.root}/photos/images/8b>\) += 0")
    assert unlinked < synced < first_send(trace)


def test_no_wait_for_the_disk_when_durable_is_off(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1, LOCAL_STORAGE__DURABLE="false")
    with traced(service.workers()[0], trace, "-e", CALLS):
        service.make_bucket()
        assert service.put(IMAGE, noise_image()).status_code == 200
        assert service.delete(IMAGE).status_code == 204
    assert ID in trace.read_text()
    assert "sync" not in trace.read_text()


def put_with_failing_call(service: Service, trace: Path, call: str, error: str, when: int, content: bytes) -> tuple[int, int]:
    """PUT an image while the call number `when` of the worker fails. Return the status and the error code."""
    with traced(service.workers()[0], trace, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"):
        answer = service.put(IMAGE, content)
    assert "(INJECTED)" in trace.read_text()
    assert str(service.root) not in answer.text
    return answer.status_code, answer.json()["error_code"]


FAILURES = [
    pytest.param("fsync", "EIO", 1, (503, 13905), id="file not synced"),
    pytest.param("fsync", "EIO", 2, (503, 13905), id="shard not synced"),
    pytest.param("fsync", "EIO", 3, (503, 13905), id="parent directory not synced"),
    pytest.param("write", "ENOSPC", 1, (507, 13907), id="disk full"),
    pytest.param("write", "EDQUOT", 1, (507, 13907), id="quota exceeded"),
    pytest.param("write", "EIO", 1, (503, 13905), id="write error"),
    pytest.param("rename", "EIO", 1, (503, 13905), id="file not renamed"),
    pytest.param("mkdir", "ENOSPC", 1, (507, 13907), id="no space for a directory"),
    pytest.param("openat", "EMFILE", 2, (503, 13905), id="no descriptor for a temporary file"),
]


@pytest.mark.parametrize(("call", "error", "when", "expected"), FAILURES)
def test_failed_save_leaves_no_data(start: Start, trace: Path, call: str, error: str, when: int, expected: tuple[int, int]) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    # the first upload of a worker loads the decoders
    assert service.post("/1/buckets/photos/images", b"no image").status_code == 400
    workers = service.workers()
    assert put_with_failing_call(service, trace, call, error, when, noise_image()) == expected
    assert service.get(IMAGE).status_code == 404
    assert not service.storage.ids()
    assert not service.storage.leftovers()
    assert service.put(IMAGE, noise_image()).status_code == 200
    assert service.get(IMAGE).content == noise_image()
    assert service.workers() == workers


@pytest.mark.parametrize(("call", "error"), [("fsync", "EIO"), ("write", "ENOSPC"), ("rename", "EIO")])
def test_failed_replacement_leaves_the_old_image(start: Start, trace: Path, call: str, error: str) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    assert service.put(IMAGE, noise_image()).status_code == 200
    assert put_with_failing_call(service, trace, call, error, 1, with_comment(noise_image(), "new"))[0] in (503, 507)
    assert service.get(IMAGE).content == noise_image()
    assert len(service.storage.ids()) == 1
    assert not service.storage.leftovers()


def test_slow_disk_does_not_cause_a_request_timeout(start: Start, trace: Path) -> None:
    """The save takes longer than REQUEST_TIMEOUT. The client still receives the complete response."""
    service = start(HTTP__WORKERS=1, HTTP__REQUEST_TIMEOUT=1)
    service.make_bucket()
    with traced(service.workers()[0], trace, "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=1500000:when=1"):
        answer = service.put(IMAGE, noise_image())
    assert (answer.status_code, answer.json()) == (200, {"url": IMAGE})
