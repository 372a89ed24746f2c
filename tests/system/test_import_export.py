"""A tree of pictures goes in, with a table of ids; pictures and objects come out as files, with an index."""

import csv
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..machine import wait_until
from .commands import Ended, kill, luna, running
from .conftest import Start, on_disk_and_s3
from .kept import Kept, OnDisk
from .pictures import marked, picture, size_of
from .service import Service

ACCOUNT = "6d07d9a5-6f2c-4b1f-8a64-5c5ff5a0e6c1"
FORMS = {"a.png": "PNG", "b.gif": "GIF", "c.bmp": "BMP", "d.tif": "TIFF", "sub/e.ppm": "PPM"}
JPEGS = ("x.jpg", "sub/deeper/y.jpg", 'sub/z, "quoted"\nand broken.jpg', "sub/schön.jpg", os.fsdecode(b"sub/\xff\xfe.jpg"))
REFUSED = {"empty.jpg": "12030", "notes.txt": "18002", "cut.jpg": "18002", "huge.jpg": "13903", "pipe": "", "itself": ""}
LIMIT = 300_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree with pictures of all kinds, and with what is none."""
    folder = tmp_path / "tree"
    for name, form in FORMS.items():
        write(folder / name, picture(form=form))
    for number, name in enumerate(JPEGS):
        write(folder / name, marked(picture(), str(number)))
    write(folder / "empty.jpg", b"")
    write(folder / "notes.txt", b"no picture")
    write(folder / "cut.jpg", picture()[:-500])
    write(folder / "huge.jpg", picture() + bytes(LIMIT))
    os.mkfifo(folder / "pipe")
    (folder / "itself").symlink_to("itself")
    (folder / "sub" / "circle").symlink_to("..")
    return folder


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def take(kept: Kept, folder: Path, table: Path, *options: object) -> Ended:
    if isinstance(kept, OnDisk):
        kept.root.mkdir(exist_ok=True)
    options = ("--bucket", "pictures", "--create-bucket", "--csv", table, "--parallel", 1, *options)
    return luna("import", folder, *options, **kept.settings, IMAGES__MAX_SIZE=LIMIT)


def rows_of(table: Path) -> dict[str, dict[str, str]]:
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row for row in rows}


def ids_of(table: Path) -> dict[str, str]:
    return {name: row["image_id"] for name, row in rows_of(table).items() if row["image_id"]}


@on_disk_and_s3
def test_takes_what_is_a_picture_names_what_is_none_and_writes_it_out_again(
    start: Start, kept: Kept, folder: Path, table: Path, tmp_path: Path
) -> None:
    taken = take(kept, folder, table, "--account-id", ACCOUNT)
    assert (taken.code, taken.summary["imported"], taken.summary["failed"]) == (1, len(FORMS) + len(JPEGS), len(REFUSED))
    assert {finding["file"]: finding["error_code"] for finding in taken.findings} == REFUSED
    rows, ids = rows_of(table), ids_of(table)
    assert ids.keys() == {*FORMS, *JPEGS}
    assert {name: row["error_code"] for name, row in rows.items() if not row["image_id"]} == REFUSED
    assert all(row["error"] for row in rows.values() if not row["image_id"])
    assert sorted(ids.values()) == kept.ids()
    service = start()
    for name, image_id in ids.items():
        url = f"/1/buckets/pictures/images/{image_id}"
        jpeg = service.get(url, params={"account_id": ACCOUNT})
        assert size_of(jpeg.content) == (300, 200)
        assert name in FORMS or jpeg.content == (folder / name).read_bytes()
        assert size_of(service.get(f"{url}_96").content) == (96, 64)
        assert service.get(url, params={"account_id": image_id}).status_code == 404
    write_out(service, kept, ids, tmp_path / "out")


def write_out(service: Service, kept: Kept, ids: dict[str, str], out: Path) -> None:
    types = {"text/plain": b"text", "application/json": b"[]", "application/pdf": b"%PDF-" + bytes(2**21)}
    for content_type, data in types.items():
        assert service.post("/1/buckets/pictures/objects", data, headers={"Content-Type": content_type}).status_code == 201
    written = luna("export", out, "--bucket", "pictures", "--previews", **kept.settings)
    assert (written.code, written.summary["exported"], written.summary["failed"]) == (0, len(ids) + len(types), 0)
    index = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    assert {line["id"] for line in index if line["kind"] == "images"} == set(ids.values())
    assert {Path(line["file"]).suffix for line in index if line["kind"] == "objects"} == {".txt", ".json", ".pdf"}
    for line in index:
        answer = service.get(f"/1/buckets/pictures/{line['kind']}/{line['id']}")
        assert (out / line["file"]).read_bytes() == answer.content
        assert (line["content_type"], f'"{line["etag"]}"') == (answer.headers["Content-Type"], answer.headers["ETag"])
        assert line["account_id"] == (ACCOUNT if line["kind"] == "images" else None)
        for size, name in line["previews"].items():
            assert max(size_of((out / name).read_bytes())) == int(size)
    again = luna("export", out, "--bucket", "pictures", **kept.settings)
    assert (again.code, again.summary["exported"], again.summary["there_already"]) == (0, 0, len(index))
    assert not list(out.rglob("*.part"))


def test_goes_on_where_the_table_ends_and_tries_again_what_failed(kept: Kept, folder: Path, table: Path) -> None:
    take(kept, folder, table)
    ids = ids_of(table)
    write(folder / "notes.txt", picture(seed=1))
    write(folder / "new.jpg", picture(seed=2))
    again = take(kept, folder, table)
    assert (again.summary["imported"], again.summary["imported_before"], again.summary["failed"]) == (2, len(ids), len(REFUSED) - 1)
    assert ids_of(table).items() > ids.items()
    assert ids_of(table).keys() - ids.keys() == {"notes.txt", "new.jpg"}
    assert sorted(ids_of(table).values()) == kept.ids()


def test_without_the_table_the_same_files_get_the_same_ids(kept: Kept, folder: Path, table: Path) -> None:
    take(kept, folder, table)
    ids = ids_of(table)
    table.unlink()
    write(folder / "x.jpg", picture(seed=1))
    assert take(kept, folder, table).summary["imported"] == len(ids)
    now = ids_of(table)
    assert {name for name in ids if now[name] != ids[name]} == {"x.jpg"}
    assert sorted({*now.values(), *ids.values()}) == kept.ids()


@contextmanager
def many(folder: Path, count: int) -> Iterator[None]:
    for number in range(count):
        write(folder / f"{number % 7}" / f"{number}.jpg", marked(picture(100, 100), str(number)))
    yield
    shutil.rmtree(folder)


def test_nothing_is_lost_or_doubled_when_it_is_killed(kept: Kept, tmp_path: Path, table: Path) -> None:
    folder = tmp_path / "many"
    assert isinstance(kept, OnDisk)
    kept.root.mkdir()
    options = ("--bucket", "pictures", "--create-bucket", "--csv", table)
    with many(folder, 200):
        for kills in range(1, 3):
            with running("import", folder, *options, **kept.settings) as process:
                wait_until(lambda n=60 * kills: process.poll() is not None or len(kept.ids()) > n, 120)  # type: ignore[misc]
                kill(process)
        assert luna("import", folder, *options, **kept.settings).code == 0
    ids = ids_of(table)
    assert len(ids) == 200
    assert sorted(ids.values()) == kept.ids()
    out = tmp_path / "out"
    with running("export", out, "--bucket", "pictures", **kept.settings) as process:
        wait_until(lambda: process.poll() is not None or len(list(out.rglob("*.jpg"))) > 60, 120)
        kill(process)
    assert luna("export", out, "--bucket", "pictures", **kept.settings).code == 0
    assert sorted(path.stem for path in out.rglob("*.jpg")) == kept.ids()
    assert len((out / "index.jsonl").read_text().splitlines()) == 200
    assert not list(out.rglob("*.part"))


def test_a_directory_is_for_one_export_at_a_time(kept: Kept, folder: Path, table: Path, tmp_path: Path) -> None:
    take(kept, folder, table)
    out = tmp_path / "out"
    write(out / "index.jsonl.part", b"of another one\n")
    with (out / "index.jsonl.part").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused = luna("export", out, "--bucket", "pictures", **kept.settings)
        assert (refused.code, other.read()) == (2, "of another one\n")
        assert f"DIR: another export is at work in {out}" in refused.errors
    assert luna("export", out, "--bucket", "pictures", **kept.settings).code == 0
    assert "of another one" not in (out / "index.jsonl").read_text()


def test_a_damaged_record_is_told_and_not_written_out(kept: Kept, folder: Path, table: Path, tmp_path: Path) -> None:
    take(kept, folder, table)
    assert isinstance(kept, OnDisk)
    damaged, *_ = kept.ids()
    (path,) = kept.root.rglob(f"{damaged}.jpg")
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    written = luna("export", tmp_path / "out", "--bucket", "pictures", **kept.settings)
    assert (written.code, written.summary["failed"], written.summary["exported"]) == (1, 1, len(kept.ids()) - 1)
    assert [finding["id"] for finding in written.findings] == [damaged]
    assert damaged not in (tmp_path / "out" / "index.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("import", "{folder}", "--bucket", "missing"), "there is no bucket missing"),
        (("import", "{folder}", "--bucket", "../up", "--create-bucket"), "can't be the name of a bucket"),
        (("import", "{folder}", "--bucket", "b", "--create-bucket", "--account-id", "me"), "'me' is not a UUID"),
        (
            ("import", "{folder}", "--bucket", "b", "--create-bucket", "--csv", "{folder}/x.jpg"),
            "is not the result file of an import",
        ),
        (("import", "{folder}/missing", "--bucket", "b"), "/missing"),
        (("import", "{folder}", "--bucket", "b", "--config", "{folder}/missing.toml"), "missing.toml"),
        (("export", "{folder}/out", "--bucket", "missing"), "there is no bucket missing"),
        (("export", "{folder}/x.jpg", "--bucket", "missing"), "x.jpg"),
    ],
)
def test_what_can_not_be_meant_is_refused_and_named(kept: Kept, folder: Path, arguments: tuple[str, ...], named: str) -> None:
    assert isinstance(kept, OnDisk)
    kept.root.mkdir()
    before = (folder / "x.jpg").read_bytes()
    refused = luna(*(argument.format(folder=folder) for argument in arguments), **kept.settings)
    assert refused.code == 2
    assert named in refused.errors
    assert kept.ids() == []
    assert (folder / "x.jpg").read_bytes() == before
