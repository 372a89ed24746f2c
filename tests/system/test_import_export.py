"""`import` stores a directory of images with a result file of ids. `export` writes images and objects to files with an index."""

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
from .commands import Result, kill, luna, running
from .conftest import Start, on_disk_and_s3
from .images import jpeg_size, noise_image, with_comment
from .raw_storage import RawDisk, RawStorage
from .service import Service

ACCOUNT = "6d07d9a5-6f2c-4b1f-8a64-5c5ff5a0e6c1"
FORMATS = {"a.png": "PNG", "b.gif": "GIF", "c.bmp": "BMP", "d.tif": "TIFF", "sub/e.ppm": "PPM"}
JPEGS = ("x.jpg", "sub/deeper/y.jpg", 'sub/z, "quoted"\nand two lines.jpg', "sub/schön.jpg", os.fsdecode(b"sub/\xff\xfe.jpg"))
FAILED = {"empty.jpg": "12030", "notes.txt": "18002", "cut.jpg": "18002", "huge.jpg": "13903", "pipe": "", "itself": ""}
LIMIT = 300_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory tree with images of all formats, and with other files."""
    folder = tmp_path / "tree"
    for name, image_format in FORMATS.items():
        write(folder / name, noise_image(image_format=image_format))
    for number, name in enumerate(JPEGS):
        write(folder / name, with_comment(noise_image(), str(number)))
    write(folder / "empty.jpg", b"")
    write(folder / "notes.txt", b"not an image")
    write(folder / "cut.jpg", noise_image()[:-500])
    write(folder / "huge.jpg", noise_image() + bytes(LIMIT))
    os.mkfifo(folder / "pipe")
    (folder / "itself").symlink_to("itself")
    (folder / "sub" / "loop").symlink_to("..")
    return folder


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    return tmp_path / "result.csv"


def run_import(storage: RawStorage, folder: Path, result_file: Path, *options: object) -> Result:
    if isinstance(storage, RawDisk):
        storage.root.mkdir(exist_ok=True)
    options = ("--bucket", "photos", "--create-bucket", "--csv", result_file, "--parallel", 1, *options)
    return luna("import", folder, *options, **storage.settings, IMAGES__MAX_SIZE=LIMIT)


def rows_of(result_file: Path) -> dict[str, dict[str, str]]:
    with result_file.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row for row in rows}


def ids_of(result_file: Path) -> dict[str, str]:
    return {name: row["image_id"] for name, row in rows_of(result_file).items() if row["image_id"]}


@on_disk_and_s3
def test_images_are_imported_and_exported_and_other_files_are_reported(
    start: Start, storage: RawStorage, folder: Path, result_file: Path, tmp_path: Path
) -> None:
    result = run_import(storage, folder, result_file, "--account-id", ACCOUNT)
    assert (result.code, result.summary["imported"], result.summary["failed"]) == (1, len(FORMATS) + len(JPEGS), len(FAILED))
    assert {finding["file"]: finding["error_code"] for finding in result.findings} == FAILED
    rows, ids = rows_of(result_file), ids_of(result_file)
    assert ids.keys() == {*FORMATS, *JPEGS}
    assert {name: row["error_code"] for name, row in rows.items() if not row["image_id"]} == FAILED
    assert all(row["error"] for row in rows.values() if not row["image_id"])
    assert sorted(ids.values()) == storage.ids()
    service = start()
    for name, image_id in ids.items():
        url = f"/1/buckets/photos/images/{image_id}"
        jpeg = service.get(url, params={"account_id": ACCOUNT})
        assert jpeg_size(jpeg.content) == (300, 200)
        assert name in FORMATS or jpeg.content == (folder / name).read_bytes()
        assert jpeg_size(service.get(f"{url}_96").content) == (96, 64)
        assert service.get(url, params={"account_id": image_id}).status_code == 404
    check_export(service, storage, ids, tmp_path / "out")


def check_export(service: Service, storage: RawStorage, ids: dict[str, str], out: Path) -> None:
    types = {"text/plain": b"text", "application/json": b"[]", "application/pdf": b"%PDF-" + bytes(2**21)}
    for content_type, data in types.items():
        assert service.post("/1/buckets/photos/objects", data, headers={"Content-Type": content_type}).status_code == 201
    exported = luna("export", out, "--bucket", "photos", "--previews", **storage.settings)
    assert (exported.code, exported.summary["exported"], exported.summary["failed"]) == (0, len(ids) + len(types), 0)
    index = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    assert {line["id"] for line in index if line["kind"] == "images"} == set(ids.values())
    assert {Path(line["file"]).suffix for line in index if line["kind"] == "objects"} == {".txt", ".json", ".pdf"}
    for line in index:
        response = service.get(f"/1/buckets/photos/{line['kind']}/{line['id']}")
        assert (out / line["file"]).read_bytes() == response.content
        assert (line["content_type"], f'"{line["etag"]}"') == (response.headers["Content-Type"], response.headers["ETag"])
        assert line["account_id"] == (ACCOUNT if line["kind"] == "images" else None)
        for size, name in line["previews"].items():
            assert max(jpeg_size((out / name).read_bytes())) == int(size)
    again = luna("export", out, "--bucket", "photos", **storage.settings)
    assert (again.code, again.summary["exported"], again.summary["there_already"]) == (0, 0, len(index))
    assert not list(out.rglob("*.part"))


def test_import_continues_with_new_and_failed_files(storage: RawStorage, folder: Path, result_file: Path) -> None:
    run_import(storage, folder, result_file)
    ids = ids_of(result_file)
    write(folder / "notes.txt", noise_image(seed=1))
    write(folder / "new.jpg", noise_image(seed=2))
    again = run_import(storage, folder, result_file)
    assert (again.summary["imported"], again.summary["imported_before"], again.summary["failed"]) == (2, len(ids), len(FAILED) - 1)
    assert ids_of(result_file).items() > ids.items()
    assert ids_of(result_file).keys() - ids.keys() == {"notes.txt", "new.jpg"}
    assert sorted(ids_of(result_file).values()) == storage.ids()


def test_ids_are_the_same_after_the_result_file_is_lost(storage: RawStorage, folder: Path, result_file: Path) -> None:
    run_import(storage, folder, result_file)
    ids = ids_of(result_file)
    result_file.unlink()
    write(folder / "x.jpg", noise_image(seed=1))
    assert run_import(storage, folder, result_file).summary["imported"] == len(ids)
    now = ids_of(result_file)
    assert {name for name in ids if now[name] != ids[name]} == {"x.jpg"}
    assert sorted({*now.values(), *ids.values()}) == storage.ids()


@contextmanager
def many_images(folder: Path, count: int) -> Iterator[None]:
    for number in range(count):
        write(folder / f"{number % 7}" / f"{number}.jpg", with_comment(noise_image(100, 100), str(number)))
    yield
    shutil.rmtree(folder)


def test_killed_import_and_export_continue_without_loss_or_duplicates(
    storage: RawStorage, tmp_path: Path, result_file: Path
) -> None:
    folder = tmp_path / "many"
    assert isinstance(storage, RawDisk)
    storage.root.mkdir()
    options = ("--bucket", "photos", "--create-bucket", "--csv", result_file)
    with many_images(folder, 200):
        for kills in range(1, 3):
            with running("import", folder, *options, **storage.settings) as process:
                wait_until(lambda n=60 * kills: process.poll() is not None or len(storage.ids()) > n, 120)  # type: ignore[misc]
                kill(process)
        assert luna("import", folder, *options, **storage.settings).code == 0
    ids = ids_of(result_file)
    assert len(ids) == 200
    assert sorted(ids.values()) == storage.ids()
    out = tmp_path / "out"
    with running("export", out, "--bucket", "photos", **storage.settings) as process:
        wait_until(lambda: process.poll() is not None or len(list(out.rglob("*.jpg"))) > 60, 120)
        kill(process)
    assert luna("export", out, "--bucket", "photos", **storage.settings).code == 0
    assert sorted(path.stem for path in out.rglob("*.jpg")) == storage.ids()
    assert len((out / "index.jsonl").read_text().splitlines()) == 200
    assert not list(out.rglob("*.part"))


def test_second_export_to_the_same_directory_is_refused(
    storage: RawStorage, folder: Path, result_file: Path, tmp_path: Path
) -> None:
    run_import(storage, folder, result_file)
    out = tmp_path / "out"
    write(out / "index.jsonl.part", b"of another export\n")
    with (out / "index.jsonl.part").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused = luna("export", out, "--bucket", "photos", **storage.settings)
        assert (refused.code, other.read()) == (2, "of another export\n")
        assert f"DIR: another export writes to {out}" in refused.errors
    assert luna("export", out, "--bucket", "photos", **storage.settings).code == 0
    assert "of another export" not in (out / "index.jsonl").read_text()


def test_damaged_record_is_reported_and_not_exported(storage: RawStorage, folder: Path, result_file: Path, tmp_path: Path) -> None:
    run_import(storage, folder, result_file)
    assert isinstance(storage, RawDisk)
    damaged, *_ = storage.ids()
    (path,) = storage.root.rglob(f"{damaged}.jpg")
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    exported = luna("export", tmp_path / "out", "--bucket", "photos", **storage.settings)
    assert (exported.code, exported.summary["failed"], exported.summary["exported"]) == (1, 1, len(storage.ids()) - 1)
    assert [finding["id"] for finding in exported.findings] == [damaged]
    assert damaged not in (tmp_path / "out" / "index.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("import", "{folder}", "--bucket", "missing"), "no such bucket: missing"),
        (("import", "{folder}", "--bucket", "../up", "--create-bucket"), "is not a valid bucket name"),
        (("import", "{folder}", "--bucket", "b", "--create-bucket", "--account-id", "me"), "'me' is not a UUID"),
        (
            ("import", "{folder}", "--bucket", "b", "--create-bucket", "--csv", "{folder}/x.jpg"),
            "is not the result file of an import",
        ),
        (("import", "{folder}/missing", "--bucket", "b"), "/missing"),
        (("import", "{folder}", "--bucket", "b", "--config", "{folder}/missing.toml"), "missing.toml"),
        (("export", "{folder}/out", "--bucket", "missing"), "no such bucket: missing"),
        (("export", "{folder}/x.jpg", "--bucket", "missing"), "x.jpg"),
    ],
)
def test_invalid_arguments_are_refused(storage: RawStorage, folder: Path, arguments: tuple[str, ...], error: str) -> None:
    assert isinstance(storage, RawDisk)
    storage.root.mkdir()
    before = (folder / "x.jpg").read_bytes()
    refused = luna(*(argument.format(folder=folder) for argument in arguments), **storage.settings)
    assert refused.code == 2
    assert error in refused.errors
    assert storage.ids() == []
    assert (folder / "x.jpg").read_bytes() == before
