"""`verify` and `stats`, run while the service runs, on a disk and on S3."""

import json
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable
from struct import Struct
from threading import Event, Thread
from typing import Any
from uuid import uuid4
from zlib import crc32

import pytest
from xxhash import xxh3_128

from .conftest import on_disk_and_s3
from .images import noise_image, with_comment
from .raw_storage import RawStorage
from .service import BIN, REPOSITORY, Service

COMMAND = str(BIN / "luna-image-store")
FOOTER = Struct("<IIHH4s")
IMAGE = noise_image()


def run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (COMMAND, *arguments)
    return subprocess.run(command, env=service.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def verify(service: Service, *options: str) -> tuple[int, dict[str, int], list[dict[str, str]]]:
    """Run `verify`, and return its exit code, summary and findings."""
    result = run(service, "verify", "--json", "--rate=0", *options)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines, (result.returncode, result.stderr)
    assert "summary" in lines[-1], (result.returncode, result.stderr)
    return result.returncode, lines[-1]["summary"], lines[:-1]


def save(service: Service, number: int = 0, **headers: str) -> str:
    data = with_comment(IMAGE, str(number))
    return str(service.post("/1/buckets/photos/images", data, headers=headers).json()["image_id"])


def index_of(record: bytes) -> Any:
    length = FOOTER.unpack(record[-FOOTER.size :])[0]
    return json.loads(record[-FOOTER.size - length : -FOOTER.size])


def flip_bit(position: int) -> Callable[[bytes], bytes]:
    """Return a function that flips a bit at a position. A negative position counts from the end."""

    def flip(record: bytes) -> bytes:
        data = bytearray(record)
        data[position] ^= 1
        return bytes(data)

    return flip


def replace_payload_by_zeros(record: bytes) -> bytes:
    """Return the record with a payload of zeros, and with valid checksums."""
    index = index_of(record)
    length = index["payload"][0]
    payload = bytes(length)
    index.update(payload=[length, crc32(payload)], etag=xxh3_128(payload).hexdigest())
    text = json.dumps(index).encode()
    end = len(record) - FOOTER.size - FOOTER.unpack(record[-FOOTER.size :])[0]
    return payload + record[length:end] + text + FOOTER.pack(len(text), crc32(text), 1, 0, b"LISR")


@on_disk_and_s3
def test_damage_is_reported_and_previews_are_repaired(service: Service, storage: RawStorage) -> None:
    valid, payload, preview, index, truncated = (save(service, number, **{"X-Luna-Meta-name": "Ada"}) for number in range(5))
    text = service.post("/1/buckets/photos/objects", b"text", headers={"Content-Type": "text/plain"}).json()["object_id"]
    assert verify(service)[0] == 0
    intact = storage.get("photos", f"images/{preview}.jpg")
    storage.change("photos", f"images/{payload}.jpg", flip_bit(1000))
    storage.change("photos", f"images/{preview}.jpg", flip_bit(index_of(intact)["payload"][0] + 10))
    storage.change("photos", f"images/{index}.jpg", flip_bit(-FOOTER.size - 10))
    storage.change("photos", f"images/{truncated}.jpg", lambda record: record[:-100])
    storage.change("photos", f"objects/{text}", flip_bit(0))
    storage.put("photos", "README", b"stray")
    storage.add_leftover("photos")

    code, summary, findings = verify(service, "--leftover-age=0")
    assert code == 1
    assert [finding["problem"] for finding in findings].count("leftover") == 1
    problems = {
        finding.get("id", finding.get("name")): finding["problem"] for finding in findings if finding["problem"] != "leftover"
    }
    assert problems == {
        payload: "damaged: the payload fails its CRC",
        preview: "damaged: preview 160 fails its CRC",
        index: "damaged: the index fails its CRC",
        truncated: "damaged: the footer is missing",
        text: "damaged: the payload fails its CRC",
        "photos/README": "stray",
    }
    assert (summary["records"], summary["good"], summary["damaged"], summary["strays"], summary["leftovers"]) == (6, 1, 5, 1, 1)

    code, summary, findings = verify(service, "--repair")
    assert (code, summary["repaired"], summary["damaged"]) == (1, 1, 4)
    assert summary["leftovers"] == 0, "it is too recent: a save may be writing it"
    assert storage.get("photos", f"images/{preview}.jpg") == intact
    assert "repaired: preview 160 fails its CRC" in {finding["problem"] for finding in findings}
    assert verify(service)[1]["damaged"] == 4
    response = service.get(f"/1/buckets/photos/images/{preview}?with_meta=1")
    assert (response.content, response.headers["X-Luna-Meta-name"]) == (with_comment(IMAGE, "2"), "Ada")
    assert service.get(f"/1/buckets/photos/images/{valid}").content == with_comment(IMAGE, "0")


def test_deep_reports_records_with_valid_checksums_that_cannot_be_decoded(service: Service, storage: RawStorage) -> None:
    """A memory error can cause this: the checksums were computed from bytes that were already damaged."""
    image_id, zip_id = save(service), str(uuid4())
    service.put(f"/1/buckets/photos/objects/{zip_id}", b"PK\x05\x06" + bytes(18), headers={"Content-Type": "application/zip"})
    assert verify(service, "--deep")[0] == 0
    storage.change("photos", f"images/{image_id}.jpg", replace_payload_by_zeros)
    storage.change("photos", f"objects/{zip_id}", replace_payload_by_zeros)
    assert verify(service)[0] == 0
    for options in ((), ("--repair",)):
        code, summary, findings = verify(service, "--deep", *options)
        assert (code, summary["damaged"]) == (1, 2)
        assert {finding["id"]: finding["problem"] for finding in findings} == {
            image_id: "damaged: the payload cannot be decoded",
            zip_id: "damaged: the payload does not match its content type: application/zip",
        }


@on_disk_and_s3
def test_repair_while_clients_save_loses_no_save(service: Service, storage: RawStorage) -> None:
    last = {save(service, number): number for number in range(15)}
    for image_id in last:
        storage.change(
            "photos",
            f"images/{image_id}.jpg",
            flip_bit(index_of(storage.get("photos", f"images/{image_id}.jpg"))["payload"][0]),
        )
    ended = Event()

    def load() -> None:
        number = 100
        while not ended.is_set():
            for image_id in list(last)[:5]:
                number += 1
                assert service.put(f"/1/buckets/photos/images/{image_id}", with_comment(IMAGE, str(number))).status_code == 200
                last[image_id] = number

    writer = Thread(target=load)
    writer.start()
    try:
        code, summary, _ = verify(service, "--repair")
    finally:
        ended.set()
        writer.join()
    assert (code, summary["damaged"], summary["failed"]) == (0, 0, 0)
    assert summary["repaired"] >= 10
    for image_id, number in last.items():
        assert service.get(f"/1/buckets/photos/images/{image_id}").content == with_comment(IMAGE, str(number))
    assert verify(service, "--deep")[1]["good"] == 15


def test_ctrl_c_ends_with_a_summary(service: Service, storage: RawStorage) -> None:
    for number in range(20):
        storage.change("photos", f"images/{save(service, number)}.jpg", flip_bit(0))
    command = (COMMAND, "verify", "--rate=4", "--json")
    with subprocess.Popen(command, env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"luna-image-store: interrupted\n"
    assert 0 < json.loads(out.splitlines()[-1])["summary"]["damaged"] < 20


def test_terminal_shows_a_progress_bar_and_lines_of_text(service: Service, storage: RawStorage) -> None:
    image_id = save(service)
    storage.change("photos", f"images/{image_id}.jpg", flip_bit(0))
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (25, 80))
    command = (COMMAND, "verify")
    result = subprocess.run(command, env=service.environment, stdout=subprocess.PIPE, stderr=end, text=True, timeout=60)
    assert b"verifying" in os.read(terminal, 10000)
    os.close(terminal)
    os.close(end)
    lines = result.stdout.splitlines()
    assert f"photos images {image_id}: damaged: the payload fails its CRC" in lines
    assert {"records: 1", "damaged: 1"} <= set(lines)
    assert run(service, "verify").stderr == ""


def test_files_beside_the_buckets_are_strays_on_a_disk(service: Service) -> None:
    (service.root / "others" / "images").mkdir(parents=True)
    assert {finding["name"] for finding in verify(service)[2]} == {"others"}
    (service.root / os.fsdecode(b"\xff\n")).touch()
    service.environment["PYTHONIOENCODING"] = "utf-8:strict"
    assert r"'\udcff\n': stray" in run(service, "verify").stdout.splitlines()
    (service.root / os.fsdecode(b"\xff\n")).unlink()
    assert verify(service, "--bucket=photos")[2] == []


@pytest.mark.parametrize("command", ["verify", "stats"])
def test_missing_bucket_or_directory_is_refused(service: Service, command: str) -> None:
    result = run(service, command, "--bucket=missing")
    assert (result.returncode, result.stderr) == (2, "luna-image-store: no such bucket: missing\n")
    service.environment["LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH"] = str(service.root / "missing")
    result = run(service, command)
    assert result.returncode == 2
    assert "LOCAL_STORAGE.PATH" in result.stderr
    assert not (service.root / "missing").exists()


def test_rate_limits_the_records_per_second(service: Service) -> None:
    for number in range(10):
        save(service, number)
    assert verify(service, "--rate=5")[1]["seconds"] >= 1.7


def test_stats_count_records_and_bytes(service: Service, storage: RawStorage) -> None:
    names = [f"images/{save(service, number)}.jpg" for number in range(3)]
    service.post("/1/buckets/photos/objects", b"text", headers={"Content-Type": "text/plain"})
    storage.put("photos", "README", b"stray")
    service.make_bucket("empty")
    result = run(service, "stats", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    *rows, last = map(json.loads, result.stdout.splitlines())
    stats = {(row["bucket"], row["kind"]): row for row in rows}
    images, size = stats["photos", "images"], len(storage.get("photos", names[0]))
    assert (images["records"], images["bytes"]) == (3, sum(len(storage.get("photos", name)) for name in names))
    assert size / 1.2 <= images["median"] <= images["largest"] <= size * 1.2
    assert 0 < images["previews_share"] < 1
    assert stats["photos", "objects"]["records"] == 1
    assert stats["empty", "images"]["records"] == 0
    assert last["summary"] == {"buckets": 2, "records": 4, "bytes": images["bytes"] + stats["photos", "objects"]["bytes"]}
    assert "records: 4" in run(service, "stats").stdout.splitlines()
