"""verify and stats, run as an operator runs them: beside the service, on a disk and on S3."""

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
from .kept import Kept
from .pictures import marked, picture
from .service import BIN, REPOSITORY, Service

COMMAND = str(BIN / "luna-image-store")
FOOTER = Struct("<IIHH4s")
PICTURE = picture()


def run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (COMMAND, *arguments)
    return subprocess.run(command, env=service.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def verify(service: Service, *options: str) -> tuple[int, dict[str, int], list[dict[str, str]]]:
    """Run it, and give its exit code, its summary and its findings."""
    result = run(service, "verify", "--json", "--rate=0", *options)
    *findings, last = map(json.loads, result.stdout.splitlines())
    return result.returncode, last["summary"], findings


def save(service: Service, number: int = 0, **headers: str) -> str:
    data = marked(PICTURE, str(number))
    return str(service.post("/1/buckets/pictures/images", data, headers=headers).json()["image_id"])


def index_of(record: bytes) -> Any:
    length = FOOTER.unpack(record[-FOOTER.size :])[0]
    return json.loads(record[-FOOTER.size - length : -FOOTER.size])


def flipped(place: int) -> Callable[[bytes], bytes]:
    """Flip a bit, at a place that is counted from the end where it is negative."""

    def flip(record: bytes) -> bytes:
        data = bytearray(record)
        data[place] ^= 1
        return bytes(data)

    return flip


def emptied(record: bytes) -> bytes:
    """Make a record whose sums are right over a payload of zeros."""
    index = index_of(record)
    length = index["payload"][0]
    payload = bytes(length)
    index.update(payload=[length, crc32(payload)], etag=xxh3_128(payload).hexdigest())
    text = json.dumps(index).encode()
    end = len(record) - FOOTER.size - FOOTER.unpack(record[-FOOTER.size :])[0]
    return payload + record[length:end] + text + FOOTER.pack(len(text), crc32(text), 1, 0, b"LISR")


@on_disk_and_s3
def test_each_kind_of_damage_is_found_and_what_can_be_mended_is_mended(service: Service, kept: Kept) -> None:
    good, payload, preview, index, truncated = (save(service, number, **{"X-Luna-Meta-name": "Ada"}) for number in range(5))
    text = service.post("/1/buckets/pictures/objects", b"text", headers={"Content-Type": "text/plain"}).json()["object_id"]
    assert verify(service)[0] == 0
    whole = kept.get("pictures", f"images/{preview}.jpg")
    kept.change("pictures", f"images/{payload}.jpg", flipped(1000))
    kept.change("pictures", f"images/{preview}.jpg", flipped(index_of(whole)["payload"][0] + 10))
    kept.change("pictures", f"images/{index}.jpg", flipped(-FOOTER.size - 10))
    kept.change("pictures", f"images/{truncated}.jpg", lambda record: record[:-100])
    kept.change("pictures", f"objects/{text}", flipped(0))
    kept.put("pictures", "README", b"stray")
    kept.leave("pictures")

    code, summary, findings = verify(service, "--leftover-age=0")
    assert code == 1
    assert [finding["problem"] for finding in findings].count("leftover") == 1
    found = {finding.get("id", finding.get("name")): finding["problem"] for finding in findings if finding["problem"] != "leftover"}
    assert found == {
        payload: "damaged: the payload fails its CRC",
        preview: "damaged: preview 160 fails its CRC",
        index: "damaged: the index fails its CRC",
        truncated: "damaged: the footer is missing",
        text: "damaged: the payload fails its CRC",
        "pictures/README": "stray",
    }
    assert (summary["records"], summary["good"], summary["damaged"], summary["strays"], summary["leftovers"]) == (6, 1, 5, 1, 1)

    code, summary, findings = verify(service, "--repair")
    assert (code, summary["repaired"], summary["damaged"]) == (1, 1, 4)
    assert summary["leftovers"] == 0, "so young it may be under way still"
    assert kept.get("pictures", f"images/{preview}.jpg") == whole
    assert "repaired: preview 160 fails its CRC" in {finding["problem"] for finding in findings}
    assert verify(service)[1]["damaged"] == 4
    answer = service.get(f"/1/buckets/pictures/images/{preview}?with_meta=1")
    assert (answer.content, answer.headers["X-Luna-Meta-name"]) == (marked(PICTURE, "2"), "Ada")
    assert service.get(f"/1/buckets/pictures/images/{good}").content == marked(PICTURE, "0")


def test_what_is_sound_but_can_not_be_decoded_is_found_with_deep(service: Service, kept: Kept) -> None:
    """As a fault of the memory would leave it: the sums were made over bytes that were damaged already."""
    image_id, zip_id = save(service), str(uuid4())
    service.put(f"/1/buckets/pictures/objects/{zip_id}", b"PK\x05\x06" + bytes(18), headers={"Content-Type": "application/zip"})
    assert verify(service, "--deep")[0] == 0
    kept.change("pictures", f"images/{image_id}.jpg", emptied)
    kept.change("pictures", f"objects/{zip_id}", emptied)
    assert verify(service)[0] == 0
    for options in ((), ("--repair",)):
        code, summary, findings = verify(service, "--deep", *options)
        assert (code, summary["damaged"]) == (1, 2)
        assert {finding["id"]: finding["problem"] for finding in findings} == {
            image_id: "damaged: the payload cannot be decoded",
            zip_id: "damaged: the payload does not match its content type: application/zip",
        }


@on_disk_and_s3
def test_previews_are_mended_while_the_service_works_and_no_save_is_lost(service: Service, kept: Kept) -> None:
    last = {save(service, number): number for number in range(15)}
    for image_id in last:
        kept.change(
            "pictures", f"images/{image_id}.jpg", flipped(index_of(kept.get("pictures", f"images/{image_id}.jpg"))["payload"][0])
        )
    ended = Event()

    def load() -> None:
        number = 100
        while not ended.is_set():
            for image_id in list(last)[:5]:
                number += 1
                assert service.put(f"/1/buckets/pictures/images/{image_id}", marked(PICTURE, str(number))).status_code == 200
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
        assert service.get(f"/1/buckets/pictures/images/{image_id}").content == marked(PICTURE, str(number))
    assert verify(service, "--deep")[1]["good"] == 15


def test_ctrl_c_tells_what_was_done(service: Service, kept: Kept) -> None:
    for number in range(20):
        kept.change("pictures", f"images/{save(service, number)}.jpg", flipped(0))
    command = (COMMAND, "verify", "--rate=4", "--json")
    with subprocess.Popen(command, env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"luna-image-store: interrupted\n"
    assert 0 < json.loads(out.splitlines()[-1])["summary"]["damaged"] < 20


def test_a_person_gets_lines_of_text_and_a_bar_on_a_terminal(service: Service, kept: Kept) -> None:
    image_id = save(service)
    kept.change("pictures", f"images/{image_id}.jpg", flipped(0))
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (25, 80))
    command = (COMMAND, "verify")
    result = subprocess.run(command, env=service.environment, stdout=subprocess.PIPE, stderr=end, text=True, timeout=60)
    assert b"verifying" in os.read(terminal, 10000)
    os.close(terminal)
    os.close(end)
    lines = result.stdout.splitlines()
    assert f"pictures images {image_id}: damaged: the payload fails its CRC" in lines
    assert {"records: 1", "damaged: 1"} <= set(lines)
    assert run(service, "verify").stderr == ""


def test_what_lies_beside_the_buckets_is_told_on_a_disk(service: Service) -> None:
    (service.root / "others" / "images").mkdir(parents=True)
    assert {finding["name"] for finding in verify(service)[2]} == {"others"}
    (service.root / os.fsdecode(b"\xff\n")).touch()
    service.environment["PYTHONIOENCODING"] = "utf-8:strict"
    assert r"'\udcff\n': stray" in run(service, "verify").stdout.splitlines()
    (service.root / os.fsdecode(b"\xff\n")).unlink()
    assert verify(service, "--bucket=pictures")[2] == []


@pytest.mark.parametrize("tool", ["verify", "stats"])
def test_what_can_not_be_meant_is_refused(service: Service, tool: str) -> None:
    result = run(service, tool, "--bucket=missing")
    assert (result.returncode, result.stderr) == (2, "luna-image-store: there is no bucket missing\n")
    service.environment["LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH"] = str(service.root / "missing")
    result = run(service, tool)
    assert result.returncode == 2
    assert "LOCAL_STORAGE.PATH" in result.stderr
    assert not (service.root / "missing").exists()


def test_records_are_read_no_faster_than_is_said(service: Service) -> None:
    for number in range(10):
        save(service, number)
    assert verify(service, "--rate=5")[1]["seconds"] >= 1.7


def test_stats_count_records_and_bytes(service: Service, kept: Kept) -> None:
    names = [f"images/{save(service, number)}.jpg" for number in range(3)]
    service.post("/1/buckets/pictures/objects", b"text", headers={"Content-Type": "text/plain"})
    kept.put("pictures", "README", b"stray")
    service.make_bucket("empty")
    result = run(service, "stats", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    *rows, last = map(json.loads, result.stdout.splitlines())
    found = {(row["bucket"], row["kind"]): row for row in rows}
    images, size = found["pictures", "images"], len(kept.get("pictures", names[0]))
    assert (images["records"], images["bytes"]) == (3, sum(len(kept.get("pictures", name)) for name in names))
    assert size / 1.2 <= images["median"] <= images["largest"] <= size * 1.2
    assert 0 < images["previews_share"] < 1
    assert found["pictures", "objects"]["records"] == 1
    assert found["empty", "images"]["records"] == 0
    assert last["summary"] == {"buckets": 2, "records": 4, "bytes": images["bytes"] + found["pictures", "objects"]["bytes"]}
    assert "records: 4" in run(service, "stats").stdout.splitlines()
