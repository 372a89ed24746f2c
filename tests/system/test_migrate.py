"""`migrate` copies all records between storages, byte for byte, even if it is interrupted."""

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
from .commands import TIMEOUT, WITHOUT_ROOT_RIGHTS, Result, kill, luna, running, settings_file, wait
from .images import noise_image, with_comment
from .raw_storage import RawS3
from .service import Service

IMAGE_COUNT = 200
S3_IMAGE_COUNT = int(os.environ.get("MIGRATED_TO_S3", "60"))
ACCOUNT = str(UUID(int=1, version=4))
KEYS = {"_SRC__S3__SECRET_ACCESS_KEY": "testing", "_DST__S3__SECRET_ACCESS_KEY": "testing"}
NEW_ID = "e7bb6d5b-0d1c-4a55-8a1f-4a6f4f0e2c11"


def id_of(number: int) -> str:
    """Return a UUID. The UUIDs are distributed like random ones."""
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128, version=4))


def fill(service: Service) -> None:
    jpegs = [noise_image(seed=seed) for seed in range(5)]

    def save(number: int) -> None:
        headers = {"X-Luna-Meta-Number": str(number)} | ({"Luna-Account-Id": ACCOUNT} if number % 2 else {})
        path = f"/1/buckets/{('faces', 'plates')[number % 2]}/images/{id_of(number)}"
        assert service.put(path, with_comment(jpegs[number % 5], str(number)), headers=headers).status_code == 200

    service.make_bucket("faces")
    service.make_bucket("plates")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(IMAGE_COUNT)))
    for number, text in enumerate((b"some text", b"x" * 9 * 2**20)):
        path = f"/1/buckets/faces/objects/{id_of(number)}"
        assert service.put(path, text, headers={"Content-Type": "text/plain"}).status_code == 200


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the root of a storage with images and objects. Tests must not change it."""
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
    """Return a copy of the filled storage, which a test may change."""
    return Path(shutil.copytree(filled, tmp_path / "copy"))


@pytest.fixture
def small_copy(copy: Path) -> Path:
    """Return a storage with fewer images, for migrations to S3, which take longer."""
    for number in range(S3_IMAGE_COUNT, IMAGE_COUNT):
        path_of(copy, number).unlink()
    return copy


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return an empty directory."""
    path = tmp_path / "target"
    path.mkdir()
    return path


def tree(root: Path) -> dict[str, bytes]:
    """Return the bytes of all records below a root, by relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("[!.]*/*/??/*")}


def path_of(root: Path, number: int) -> Path:
    return root / ("faces", "plates")[number % 2] / "images" / id_of(number)[:2] / f"{id_of(number)}.jpg"


def migrate(source: Path, target: Path, *options: object) -> Result:
    return luna("migrate", f"disk:{source}", f"disk:{target}", "--parallel", 1, *options)


def test_killed_migrations_to_s3_and_back_continue_and_copy_all_bytes(
    small_copy: Path, target: Path, swift: Swift, tmp_path: Path
) -> None:
    account = swift.fresh_account()
    storage = RawS3(account)
    on_s3 = settings_file(tmp_path / "s3.toml", account)
    for kills in range(1, 4):
        with running("migrate", f"disk:{small_copy}", on_s3, **KEYS) as process:
            wait_for(process, storage.ids, S3_IMAGE_COUNT // 5 * kills)
            kill(process)
    assert luna("migrate", f"disk:{small_copy}", on_s3, **KEYS).code == 0
    for kills in range(1, 3):
        with running("migrate", on_s3, f"disk:{target}", **KEYS) as process:
            wait_for(process, lambda: list(tree(target)), S3_IMAGE_COUNT // 4 * kills)
            kill(process)
    last = luna("migrate", on_s3, f"disk:{target}", **KEYS)
    assert last.code == 0
    assert last.summary["copied"] + last.summary["unchanged"] == last.summary["records"] == S3_IMAGE_COUNT + 2
    assert tree(target) == tree(small_copy)
    assert list((target / ".tmp").iterdir()) == []


def wait_for(process: subprocess.Popen[str], names: Callable[[], list[str]], count: int) -> None:
    """Wait until a command has written more than `count` records, or has ended. The pause leaves it the CPU."""
    wait_until(lambda: process.poll() is not None or len(names()) > count, TIMEOUT, pause=0.2)


def test_second_pass_copies_changed_records_only(copy: Path, target: Path) -> None:
    first = migrate(copy, target)
    assert (first.code, first.summary["copied"], first.summary["unchanged"]) == (0, IMAGE_COUNT + 2, 0)
    service = Service(copy.parent, LOCAL_STORAGE__PATH=copy).start()
    try:
        assert service.put(f"/1/buckets/faces/images/{id_of(0)}", noise_image(seed=7)).status_code == 200
        assert service.put(f"/1/buckets/faces/images/{NEW_ID}", noise_image(seed=8)).status_code == 200
        assert service.delete(f"/1/buckets/plates/images/{id_of(1)}").status_code == 204
    finally:
        service.end()
    second = migrate(copy, target)
    assert (second.code, second.summary["copied"], second.summary["deleted"]) == (0, 2, 0)
    assert second.summary["unchanged"] == IMAGE_COUNT
    assert path_of(target, 1).exists()
    third = migrate(copy, target, "--delete")
    assert (third.code, third.summary["copied"], third.summary["deleted"]) == (0, 0, 1)
    assert tree(target) == tree(copy)


def test_newer_record_at_the_destination_is_not_replaced(filled: Path, target: Path) -> None:
    assert migrate(filled, target).code == 0
    service = Service(target.parent, LOCAL_STORAGE__PATH=target).start()
    try:
        assert service.put(f"/1/buckets/faces/images/{id_of(0)}", noise_image(seed=7)).status_code == 200
    finally:
        service.end()
    newer = path_of(target, 0).read_bytes()
    again = migrate(filled, target)
    assert (again.code, again.summary["newer_at_destination"], again.summary["copied"]) == (0, 1, 0)
    assert [finding["id"] for finding in again.findings] == [id_of(0)]
    assert path_of(target, 0).read_bytes() == newer


def test_damaged_records_are_reported_and_all_others_are_copied(copy: Path, target: Path) -> None:
    for number, damage in {0: damage_payload, 1: damage_index, 2: truncate}.items():
        damage(path_of(copy, number))
    result = migrate(copy, target)
    assert (result.code, result.summary["damaged"], result.summary["copied"]) == (1, 3, IMAGE_COUNT - 1)
    assert {finding["id"] for finding in result.findings} == {id_of(0), id_of(1), id_of(2)}
    assert tree(target).keys() == tree(copy).keys() - {str(path_of(Path(), number)) for number in range(3)}


def flip_bit(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


damage_payload = partial(flip_bit, position=100)
damage_index = partial(flip_bit, position=-30)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_damaged_record_at_the_destination_is_copied_again(filled: Path, target: Path) -> None:
    assert migrate(filled, target, "--bucket", "faces").code == 0
    damage_index(path_of(target, 0))
    again = migrate(filled, target, "--bucket", "faces")
    assert (again.code, again.summary["copied"]) == (0, 1)
    assert path_of(target, 0).read_bytes() == path_of(filled, 0).read_bytes()


def test_only_records_of_the_named_bucket_and_time_are_copied(filled: Path, target: Path) -> None:
    late = migrate(filled, target, "--bucket", "plates", "--since", "2200-01-01")
    assert (late.code, late.summary["earlier"], late.summary["copied"]) == (0, IMAGE_COUNT // 2, 0)
    early = migrate(filled, target, "--bucket", "plates", "--since", "2000-01-01T00:00:00+01:00", "--no-read-back")
    assert (early.code, early.summary["copied"]) == (0, IMAGE_COUNT // 2)
    assert tree(target) == {name: data for name, data in tree(filled).items() if name.startswith("plates/")}


def test_dry_run_counts_records_and_writes_nothing(filled: Path, target: Path) -> None:
    dry = migrate(filled, target, "--dry-run")
    assert (dry.code, dry.summary["dry_run"], dry.summary["copied"]) == (0, True, IMAGE_COUNT + 2)
    assert list(target.iterdir()) == []


def test_source_is_not_changed(copy: Path, target: Path) -> None:
    """The source may be read-only, a snapshot, or a backup without the internal directories of the storage."""
    for internal in (".tmp", ".trash"):
        (copy / internal).rmdir()
    (copy / ".lock").unlink()
    assert migrate(copy, target).code == 0
    for command in (("stats",), ("verify", "--rate", 0), ("export", target.parent / "out", "--bucket", "faces")):
        assert luna(*command, LOCAL_STORAGE__PATH=copy).code == 0
    assert sorted(path.name for path in copy.iterdir()) == ["faces", "plates"]


def test_unlisted_directory_is_reported_and_all_other_records_are_processed(copy: Path, target: Path, tmp_path: Path) -> None:
    hidden, complete = path_of(copy, 0).parent, tmp_path / "complete"
    complete.mkdir()
    assert migrate(copy, complete).code == 0
    count, before = len(list(hidden.iterdir())), tree(copy)
    hidden.chmod(0)

    def run(*arguments: object) -> Result:
        result = luna(*arguments, wrapper=WITHOUT_ROOT_RIGHTS, LOCAL_STORAGE__PATH=copy)
        [problem] = [finding["problem"] for finding in result.findings if finding.get("state") == "unlisted"]
        assert f"Permission denied: '{hidden}'" in problem
        assert result.code == 1
        return result

    try:
        run("migrate", f"disk:{copy}", f"disk:{target}")
        migrated = run("migrate", f"disk:{copy}", f"disk:{complete}", "--delete")
        verified = run("verify", "--rate", 0)
        run("stats")
        exported = run("export", tmp_path / "out", "--bucket", "faces")
    finally:
        hidden.chmod(0o750)
    assert tree(target) == {name: data for name, data in before.items() if (copy / name).parent != hidden}
    assert (migrated.summary["deleted"], tree(complete)) == (0, before)
    assert verified.summary["good"] == len(before) - count
    assert exported.summary["exported"] == sum(name.startswith("faces") for name in before) - count


def test_records_are_copied_from_one_s3_account_to_another(small_copy: Path, target: Path, swift: Swift, tmp_path: Path) -> None:
    first, second = (settings_file(tmp_path / f"{name}.toml", swift.fresh_account()) for name in ("first", "second"))
    for sides in ((f"disk:{small_copy}", first), (first, second), (second, f"disk:{target}")):
        result = luna("migrate", *sides, **KEYS)
        assert (result.code, result.summary["copied"]) == (0, S3_IMAGE_COUNT + 2)
    assert tree(target) == tree(small_copy)


def test_migration_ends_when_the_destination_is_full(filled: Path, small_disk: Path) -> None:
    result = migrate(filled, small_disk)
    assert (result.code, "Storage is unavailable" in result.errors) == (1, True)
    assert all("No space left on device" in finding["problem"] for finding in result.findings)
    assert tree(small_disk).items() < tree(filled).items()


def test_ctrl_c_ends_a_migration_with_a_summary(filled: Path, swift: Swift, tmp_path: Path) -> None:
    account = swift.fresh_account()
    storage = RawS3(account)
    with running("migrate", f"disk:{filled}", settings_file(tmp_path / "s3.toml", account), "--parallel", 1, **KEYS) as process:
        wait_for(process, storage.ids, 0)
        process.send_signal(signal.SIGINT)
        result = wait(process)
    assert result.code == 130
    assert 0 < result.summary["copied"] <= len(storage.ids()) + len(storage.ids("objects"))
    assert "interrupted" in result.errors


def test_worker_processes_ignore_ctrl_c_even_while_they_start(filled: Path, target: Path) -> None:
    """A terminal sends SIGINT to all processes. Only the parent process handles it."""
    with running("migrate", f"disk:{filled}", f"disk:{target}", "--parallel", 2) as process:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                for child in parent.children():
                    child.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert wait(process).code == 0
    assert tree(target) == tree(filled)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("disk:{source}", "disk:{source}"), "SRC and DST are the same storage"),
        (("", "disk:{target}"), "SRC is empty"),
        (("disk:{source}/missing", "disk:{target}"), "/missing is not a directory"),
        (("disk:{source}", "disk:{target}/missing"), "/missing is not a directory"),
        (("disk:{target}", "disk:{source}"), "SRC has no buckets"),
        (("disk:{source}", "disk:{target}", "--bucket", "nowhere"), "no such bucket: nowhere"),
        (("disk:{source}", "{target}/missing.toml"), "DST: settings file"),
        (("disk:{source}", "disk:{target}", "--since", "yesterday"), "'yesterday' is not a time"),
    ],
)
def test_invalid_arguments_are_refused(filled: Path, target: Path, arguments: tuple[str, ...], error: str) -> None:
    refused = luna("migrate", *(argument.format(source=filled, target=target) for argument in arguments))
    assert refused.code == 2
    assert error in refused.errors
    assert tree(target) == {}


def test_bucket_names_that_s3_does_not_allow_are_reported_before_any_copy(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for bucket in ("valid", "my_faces", "xn--y"):
        for folder in ("images", "objects"):
            (source / bucket / folder).mkdir(parents=True)
    on_s3 = settings_file(tmp_path / "s3.toml", Account(f"http://127.0.0.1:{free_port()}"))
    refused = luna("migrate", f"disk:{source}", on_s3, **KEYS)
    assert refused.code == 2
    assert "my_faces: it must be made of a-z, 0-9 and hyphens" in refused.errors
    assert "xn--y: it must not begin with" in refused.errors
    unreachable = luna("migrate", f"disk:{source}", on_s3, "--bucket", "valid", **KEYS)
    assert unreachable.code == 1
    assert "Storage is unavailable" in unreachable.errors


def test_destination_of_another_user_is_refused(filled: Path, target: Path) -> None:
    need(os.geteuid() == 0, "root")
    os.chown(target, 12345, 12345)
    refused = migrate(filled, target)
    assert (refused.code, "12345" in refused.errors) == (2, True)
