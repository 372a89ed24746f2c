"""What the system is asked for, and when: by strace on the one worker."""

import re
from pathlib import Path

import pytest

from .conftest import Start
from .pictures import marked, picture
from .service import Service, traced

ID = "8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
IMAGE = f"/1/buckets/pictures/images/{ID}"
CALLS = "trace=openat,write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,mkdir,unlink,send,sendto,sendmsg,sendfile"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def steps(trace: Path, *patterns: str) -> list[int]:
    """Find the one line that each pattern fits."""
    lines = trace.read_text().splitlines()
    found = [[number for number, line in enumerate(lines) if re.search(pattern, line)] for pattern in patterns]
    assert all(len(numbers) == 1 for numbers in found), (found, lines)
    return [number for (number,) in found]


def first_send(trace: Path) -> int:
    return next(n for n, line in enumerate(trace.read_text().splitlines()) if re.search(r"send(to|msg)?\(\d+<(socket|TCP)", line))


def test_a_save_is_on_the_disk_before_it_is_acknowledged(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    folder = service.root / "pictures" / "images"
    for _ in range(2):  # into a directory that has to be made first, then over the one that is there
        with traced(service.workers()[0], trace, "-e", CALLS):
            assert service.put(IMAGE, picture()).status_code == 200
        temporary = re.escape(str(service.root / ".tmp"))
        written, synced, named, kept = steps(
            trace,
            rf" write\(\d+<{temporary}/",
            rf" fsync\(\d+<{temporary}/.*= 0",
            rf' rename\("{temporary}/.*{ID}.jpg"\) = 0',
            rf" fsync\(\d+<{folder}/8b>\) += 0",
        )
        assert written < synced < named < kept < first_send(trace)


def test_a_new_directory_is_made_durable_before_the_first_save_in_it_is_acknowledged(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1)
    with traced(service.workers()[0], trace, "-e", CALLS):
        service.make_bucket()
    named, kept = steps(trace, rf" rename\(.*{service.root}/pictures\"\) = 0", rf" fsync\(\d+<{service.root}>\) += 0")
    assert named < kept < first_send(trace)
    with traced(service.workers()[0], trace, "-e", CALLS):
        assert service.put(IMAGE, picture()).status_code == 200
    made, kept = steps(trace, r' mkdir\(".*/pictures/images/8b", ', rf" fsync\(\d+<{service.root}/pictures/images>\) += 0")
    assert made < kept < first_send(trace)


def test_a_new_directory_is_made_durable_by_whoever_saves_in_it_first(start: Start, trace: Path) -> None:
    """Another has made it a moment ago, and its name need not be on the disk yet: it still has the sticky bit."""
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    folder = service.root / "pictures" / "images"
    (folder / "8b").mkdir()
    (folder / "8b").chmod(0o1750)
    for times in (1, 0):
        with traced(service.workers()[0], trace, "-e", CALLS):
            assert service.put(IMAGE, picture()).status_code == 200
        kept = [n for n, line in enumerate(trace.read_text().splitlines()) if re.search(rf" fsync\(\d+<{folder}>\) += 0", line)]
        assert len(kept) == times
        assert all(number < first_send(trace) for number in kept)
    assert (folder / "8b").stat().st_mode & 0o7777 == 0o750


def test_a_deletion_is_on_the_disk_before_it_is_acknowledged(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    assert service.put(IMAGE, picture()).status_code == 200
    with traced(service.workers()[0], trace, "-e", CALLS):
        assert service.delete(IMAGE).status_code == 204
    gone, kept = steps(trace, rf' unlink\(".*{ID}.jpg"\) = 0', rf" fsync\(\d+<{service.root}/pictures/images/8b>\) += 0")
    assert gone < kept < first_send(trace)


def test_nothing_waits_for_the_disk_where_saves_need_not_be_durable(start: Start, trace: Path) -> None:
    service = start(HTTP__WORKERS=1, LOCAL_STORAGE__DURABLE="false")
    with traced(service.workers()[0], trace, "-e", CALLS):
        service.make_bucket()
        assert service.put(IMAGE, picture()).status_code == 200
        assert service.delete(IMAGE).status_code == 204
    assert ID in trace.read_text()
    assert "sync" not in trace.read_text()


def fail(service: Service, trace: Path, call: str, error: str, when: int, content: bytes) -> tuple[int, int]:
    """PUT a picture while the n-th such call of the worker fails; give status and error code."""
    with traced(service.workers()[0], trace, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"):
        answer = service.put(IMAGE, content)
    assert "(INJECTED)" in trace.read_text()
    assert str(service.root) not in answer.text
    return answer.status_code, answer.json()["error_code"]


FAULTS = [
    pytest.param("fsync", "EIO", 1, (503, 13905), id="the file can't be synced"),
    pytest.param("fsync", "EIO", 2, (503, 13905), id="the directory with the file can't be synced"),
    pytest.param("fsync", "EIO", 3, (503, 13905), id="the directory above it can't be synced"),
    pytest.param("write", "ENOSPC", 1, (507, 13907), id="the disk is full"),
    pytest.param("write", "EDQUOT", 1, (507, 13907), id="the quota is used up"),
    pytest.param("write", "EIO", 1, (503, 13905), id="the disk is broken"),
    pytest.param("rename", "EIO", 1, (503, 13905), id="the file can't be named"),
    pytest.param("mkdir", "ENOSPC", 1, (507, 13907), id="no room for a directory"),
    pytest.param("openat", "EMFILE", 2, (503, 13905), id="no descriptor for a temporary file"),
]


@pytest.mark.parametrize(("call", "error", "when", "expected"), FAULTS)
def test_a_save_that_fails_leaves_nothing(
    start: Start, trace: Path, call: str, error: str, when: int, expected: tuple[int, int]
) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    assert service.post("/1/buckets/pictures/images", b"no picture").status_code == 400  # the first one of a worker loads decoders
    workers = service.workers()
    assert fail(service, trace, call, error, when, picture()) == expected
    assert service.get(IMAGE).status_code == 404
    assert not service.kept.ids()
    assert not service.kept.leftovers()
    assert service.put(IMAGE, picture()).status_code == 200
    assert service.get(IMAGE).content == picture()
    assert service.workers() == workers


@pytest.mark.parametrize(("call", "error"), [("fsync", "EIO"), ("write", "ENOSPC"), ("rename", "EIO")])
def test_a_replacement_that_fails_leaves_the_old_picture(start: Start, trace: Path, call: str, error: str) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    assert service.put(IMAGE, picture()).status_code == 200
    assert fail(service, trace, call, error, 1, marked(picture(), "new"))[0] in (503, 507)
    assert service.get(IMAGE).content == picture()
    assert len(service.kept.ids()) == 1
    assert not service.kept.leftovers()


def test_a_slow_disk_is_not_held_against_the_client(start: Start, trace: Path) -> None:
    """The save takes longer than a silent client is granted: the answer comes all the same, whole."""
    service = start(HTTP__WORKERS=1, HTTP__REQUEST_TIMEOUT=1)
    service.make_bucket()
    with traced(service.workers()[0], trace, "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=1500000:when=1"):
        answer = service.put(IMAGE, picture())
    assert (answer.status_code, answer.json()) == (200, {"url": IMAGE})
