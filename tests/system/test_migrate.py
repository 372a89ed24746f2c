"""Moving records between storages: all, byte for byte, whatever interrupts it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from ..machine import free_port, need, wait_until
from ..swift import Account, Swift
from .commands import BOUND_BY_RIGHTS, PATIENCE, Ended, ended, kill, luna, running, settings_file
from .kept import OnS3
from .pictures import marked, picture
from .service import Service

PICTURES = 200
ON_S3 = int(os.environ.get("MIGRATED_TO_S3", "60"))
ACCOUNT = str(UUID(int=1, version=4))
KEYS = {"_SRC__S3__SECRET_ACCESS_KEY": "testing", "_DST__S3__SECRET_ACCESS_KEY": "testing"}
SECOND = "e7bb6d5b-0d1c-4a55-8a1f-4a6f4f0e2c11"


def id_of(number: int) -> str:
    """Spread ids as random ones are."""
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128, version=4))


def fill(service: Service) -> None:
    jpegs = [picture(seed=seed) for seed in range(5)]

    def save(number: int) -> None:
        headers = {"X-Luna-Meta-Number": str(number)} | ({"Luna-Account-Id": ACCOUNT} if number % 2 else {})
        path = f"/1/buckets/{('faces', 'plates')[number % 2]}/images/{id_of(number)}"
        assert service.put(path, marked(jpegs[number % 5], str(number)), headers=headers).status_code == 200

    service.make_bucket("faces")
    service.make_bucket("plates")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(PICTURES)))
    for number, text in enumerate((b"some text", b"x" * 9 * 2**20)):
        path = f"/1/buckets/faces/objects/{id_of(number)}"
        assert service.put(path, text, headers={"Content-Type": "text/plain"}).status_code == 200


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A storage with pictures and objects, which a service made. Tests leave it as it is."""
    service = Service(tmp_path_factory.mktemp("filled"))
    try:
        fill(service.start())
    finally:
        service.end()
    before = tree(service.root)
    yield service.root
    assert tree(service.root) == before


@pytest.fixture
def copy(filled: Path, tmp_path: Path) -> Path:
    """A copy of the filled storage, which a test may change."""
    return Path(shutil.copytree(filled, tmp_path / "copy"))


@pytest.fixture
def few(copy: Path) -> Path:
    """A storage with some of the images and all objects, for the way to S3 and back, which takes longer."""
    for number in range(ON_S3, PICTURES):
        place(copy, number).unlink()
    return copy


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty directory to move to."""
    path = tmp_path / "target"
    path.mkdir()
    return path


def tree(root: Path) -> dict[str, bytes]:
    """Read all records below a root."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("[!.]*/*/??/*")}


def place(root: Path, number: int) -> Path:
    return root / ("faces", "plates")[number % 2] / "images" / id_of(number)[:2] / f"{id_of(number)}.jpg"


def migrate(source: Path, target: Path, *options: object) -> Ended:
    return luna("migrate", f"disk:{source}", f"disk:{target}", "--parallel", 1, *options)


def test_moves_to_s3_and_back_byte_for_byte_though_it_is_killed_five_times(
    few: Path, target: Path, swift: Swift, tmp_path: Path
) -> None:
    account = swift.fresh_account()
    kept = OnS3(account)
    on_s3 = settings_file(tmp_path / "s3.toml", account)
    for kills in range(1, 4):
        with running("migrate", f"disk:{few}", on_s3, **KEYS) as process:
            wait_for(process, kept.ids, ON_S3 // 5 * kills)
            kill(process)
    assert luna("migrate", f"disk:{few}", on_s3, **KEYS).code == 0
    for kills in range(1, 3):
        with running("migrate", on_s3, f"disk:{target}", **KEYS) as process:
            wait_for(process, lambda: list(tree(target)), ON_S3 // 4 * kills)
            kill(process)
    last = luna("migrate", on_s3, f"disk:{target}", **KEYS)
    assert last.code == 0
    assert last.summary["copied"] + last.summary["unchanged"] == last.summary["records"] == ON_S3 + 2
    assert tree(target) == tree(few)
    assert list((target / ".tmp").iterdir()) == []


def wait_for(process: subprocess.Popen[str], names: Callable[[], list[str]], more: int) -> None:
    """Wait until a tool has written more than so many records, or has ended; don't ask so often that it gets no time."""
    wait_until(lambda: process.poll() is not None or len(names()) > more, PATIENCE, pause=0.2)


def test_a_second_pass_moves_what_changed_and_nothing_else(copy: Path, target: Path) -> None:
    first = migrate(copy, target)
    assert (first.code, first.summary["copied"], first.summary["unchanged"]) == (0, PICTURES + 2, 0)
    service = Service(copy.parent, LOCAL_STORAGE__PATH=copy).start()
    try:
        assert service.put(f"/1/buckets/faces/images/{id_of(0)}", picture(seed=7)).status_code == 200
        assert service.put(f"/1/buckets/faces/images/{SECOND}", picture(seed=8)).status_code == 200
        assert service.delete(f"/1/buckets/plates/images/{id_of(1)}").status_code == 204
    finally:
        service.end()
    second = migrate(copy, target)
    assert (second.code, second.summary["copied"], second.summary["deleted"]) == (0, 2, 0)
    assert second.summary["unchanged"] == PICTURES
    assert place(target, 1).exists()
    third = migrate(copy, target, "--delete")
    assert (third.code, third.summary["copied"], third.summary["deleted"]) == (0, 0, 1)
    assert tree(target) == tree(copy)


def test_what_is_newer_at_the_destination_stays(filled: Path, target: Path) -> None:
    assert migrate(filled, target).code == 0
    service = Service(target.parent, LOCAL_STORAGE__PATH=target).start()
    try:
        assert service.put(f"/1/buckets/faces/images/{id_of(0)}", picture(seed=7)).status_code == 200
    finally:
        service.end()
    newer = place(target, 0).read_bytes()
    again = migrate(filled, target)
    assert (again.code, again.summary["newer_at_destination"], again.summary["copied"]) == (0, 1, 0)
    assert [finding["id"] for finding in again.findings] == [id_of(0)]
    assert place(target, 0).read_bytes() == newer


def test_damaged_records_are_told_and_passed_over_and_all_others_are_moved(copy: Path, target: Path) -> None:
    for number, damage in {0: in_payload, 1: in_index, 2: cut}.items():
        damage(place(copy, number))
    done = migrate(copy, target)
    assert (done.code, done.summary["damaged"], done.summary["copied"]) == (1, 3, PICTURES - 1)
    assert {finding["id"] for finding in done.findings} == {id_of(0), id_of(1), id_of(2)}
    assert tree(target).keys() == tree(copy).keys() - {str(place(Path(), number)) for number in range(3)}


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


in_payload = partial(flip, position=100)
in_index = partial(flip, position=-30)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_what_is_damaged_at_the_destination_is_written_again(filled: Path, target: Path) -> None:
    assert migrate(filled, target, "--bucket", "faces").code == 0
    in_index(place(target, 0))
    again = migrate(filled, target, "--bucket", "faces")
    assert (again.code, again.summary["copied"]) == (0, 1)
    assert place(target, 0).read_bytes() == place(filled, 0).read_bytes()


def test_moves_only_the_buckets_and_the_time_that_are_named(filled: Path, target: Path) -> None:
    late = migrate(filled, target, "--bucket", "plates", "--since", "2200-01-01")
    assert (late.code, late.summary["earlier"], late.summary["copied"]) == (0, PICTURES // 2, 0)
    early = migrate(filled, target, "--bucket", "plates", "--since", "2000-01-01T00:00:00+01:00", "--no-read-back")
    assert (early.code, early.summary["copied"]) == (0, PICTURES // 2)
    assert tree(target) == {name: data for name, data in tree(filled).items() if name.startswith("plates/")}


def test_a_dry_run_tells_and_writes_nothing(filled: Path, target: Path) -> None:
    dry = migrate(filled, target, "--dry-run")
    assert (dry.code, dry.summary["dry_run"], dry.summary["copied"]) == (0, True, PICTURES + 2)
    assert list(target.iterdir()) == []


def test_the_source_is_only_read(copy: Path, target: Path) -> None:
    """It may be a disk that went read-only, a snapshot, or a backup without what is the storage's own."""
    for own in (".tmp", ".trash"):
        (copy / own).rmdir()
    (copy / ".lock").unlink()
    assert migrate(copy, target).code == 0
    for tool in (("stats",), ("verify", "--rate", 0), ("export", target.parent / "out", "--bucket", "faces")):
        assert luna(*tool, LOCAL_STORAGE__PATH=copy).code == 0
    assert sorted(path.name for path in copy.iterdir()) == ["faces", "plates"]


def test_what_can_not_be_listed_is_told_and_all_else_is_worked_on(copy: Path, target: Path, tmp_path: Path) -> None:
    hidden, full = place(copy, 0).parent, tmp_path / "full"
    full.mkdir()
    assert migrate(copy, full).code == 0
    count, whole = len(list(hidden.iterdir())), tree(copy)
    hidden.chmod(0)

    def work(*arguments: object) -> Ended:
        ended = luna(*arguments, before=BOUND_BY_RIGHTS, LOCAL_STORAGE__PATH=copy)
        [told] = [finding["problem"] for finding in ended.findings if finding.get("state") == "unlisted"]
        assert f"Permission denied: '{hidden}'" in told
        assert ended.code == 1
        return ended

    try:
        work("migrate", f"disk:{copy}", f"disk:{target}")
        kept = work("migrate", f"disk:{copy}", f"disk:{full}", "--delete")
        verified = work("verify", "--rate", 0)
        work("stats")
        exported = work("export", tmp_path / "out", "--bucket", "faces")
    finally:
        hidden.chmod(0o750)
    assert tree(target) == {name: data for name, data in whole.items() if (copy / name).parent != hidden}
    assert (kept.summary["deleted"], tree(full)) == (0, whole)
    assert verified.summary["good"] == len(whole) - count
    assert exported.summary["exported"] == sum(name.startswith("faces") for name in whole) - count


def test_moves_from_one_s3_to_another(few: Path, target: Path, swift: Swift, tmp_path: Path) -> None:
    one, other = (settings_file(tmp_path / f"{name}.toml", swift.fresh_account()) for name in ("one", "other"))
    for sides in ((f"disk:{few}", one), (one, other), (other, f"disk:{target}")):
        moved = luna("migrate", *sides, **KEYS)
        assert (moved.code, moved.summary["copied"]) == (0, ON_S3 + 2)
    assert tree(target) == tree(few)


def test_gives_up_when_the_destination_is_full(filled: Path, small: Path) -> None:
    full = migrate(filled, small)
    assert (full.code, "Storage is unavailable" in full.errors) == (1, True)
    assert all("No space left on device" in finding["problem"] for finding in full.findings)
    assert tree(small).items() < tree(filled).items()


def test_ctrl_c_ends_it_with_a_summary(filled: Path, swift: Swift, tmp_path: Path) -> None:
    account = swift.fresh_account()
    kept = OnS3(account)
    with running("migrate", f"disk:{filled}", settings_file(tmp_path / "s3.toml", account), "--parallel", 1, **KEYS) as process:
        wait_for(process, kept.ids, 0)
        process.send_signal(signal.SIGINT)
        stopped = ended(process)
    assert stopped.code == 130
    assert 0 < stopped.summary["copied"] <= len(kept.ids()) + len(kept.ids("objects"))
    assert "interrupted" in stopped.errors


def test_ctrl_c_reaches_no_process_that_works_even_while_it_starts(filled: Path, target: Path) -> None:
    """A terminal sends it to all of them; what it means is for the first one to say."""
    with running("migrate", f"disk:{filled}", f"disk:{target}", "--parallel", 2) as process:
        tool = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                for child in tool.children():
                    child.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert ended(process).code == 0
    assert tree(target) == tree(filled)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("disk:{source}", "disk:{source}"), "SRC and DST are the same storage"),
        (("", "disk:{target}"), "SRC is empty"),
        (("disk:{source}/missing", "disk:{target}"), "/missing is not a directory"),
        (("disk:{source}", "disk:{target}/missing"), "/missing is not a directory"),
        (("disk:{target}", "disk:{source}"), "SRC has no buckets"),
        (("disk:{source}", "disk:{target}", "--bucket", "nowhere"), "there is no bucket nowhere"),
        (("disk:{source}", "{target}/missing.toml"), "DST: settings file"),
        (("disk:{source}", "disk:{target}", "--since", "yesterday"), "'yesterday' is no time"),
    ],
)
def test_what_can_not_be_meant_is_refused_and_named(filled: Path, target: Path, arguments: tuple[str, ...], named: str) -> None:
    refused = luna("migrate", *(argument.format(source=filled, target=target) for argument in arguments))
    assert refused.code == 2
    assert named in refused.errors
    assert tree(target) == {}


def test_names_of_buckets_that_s3_can_not_have_are_told_before_anything_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for bucket in ("good", "my_faces", "xn--y"):
        for folder in ("images", "objects"):
            (source / bucket / folder).mkdir(parents=True)
    on_s3 = settings_file(tmp_path / "s3.toml", Account(f"http://127.0.0.1:{free_port()}"))
    refused = luna("migrate", f"disk:{source}", on_s3, **KEYS)
    assert refused.code == 2
    assert "my_faces: it must be made of a-z, 0-9 and hyphens" in refused.errors
    assert "xn--y: it must not begin with" in refused.errors
    unreachable = luna("migrate", f"disk:{source}", on_s3, "--bucket", "good", **KEYS)
    assert unreachable.code == 1
    assert "Storage is unavailable" in unreachable.errors


def test_files_that_the_service_could_not_read_are_not_written(filled: Path, target: Path) -> None:
    need(os.geteuid() == 0, "root")
    os.chown(target, 12345, 12345)
    refused = migrate(filled, target)
    assert (refused.code, "12345" in refused.errors) == (2, True)
