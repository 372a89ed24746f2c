"""The service works in the sandbox of its systemd unit."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from ..machine import need, wait_until
from .conftest import Start, on_disk_and_s3
from .images import jpeg_size, noise_image
from .service import REPOSITORY, SERVE, Service

PYTHON = "/usr/bin/python3"  # Debian's Python: a virtual environment does not see Debian packages
UNIT = REPOSITORY / "deploy/systemd/luna-image-store.service"
IN_SANDBOX = (PYTHON, "-I", str(Path(__file__).with_name("systemd_sandbox.py")), str(UNIT))
IMAGES, OBJECTS = "/1/buckets/photos/images", "/1/buckets/photos/objects"
LARGE = b"PK\x03\x04" + bytes(2**21)


@pytest.fixture(scope="module", autouse=True)
def requirements() -> None:
    need(os.geteuid() == 0, "root, to drop capabilities")
    for command in ((PYTHON, "-I", "-c", "import seccomp"), ("systemd-analyze", "--version")):
        need(subprocess.run(command, capture_output=True).returncode == 0, "the Debian packages systemd and python3-seccomp")


def is_sandboxed(service: Service) -> bool:
    statuses = [Path(f"/proc/{worker.pid}/status").read_text() for worker in service.workers()]
    patterns = (r"Seccomp:\t2\n", r"NoNewPrivs:\t1\n", r"CapEff:\t0+\n")
    return all(re.search(pattern, status) for pattern in patterns for status in statuses)


@on_disk_and_s3
def test_sandboxed_service_saves_returns_and_deletes_records(start: Start, tmp_path: Path) -> None:
    logs = {"LOG_TO_FILE": True, "FOLDER_WITH_LOGS": tmp_path / "logs"}
    service = start(*IN_SANDBOX, *SERVE, **{f"LUNA_IMAGE_STORE_LOGGER__{key}": value for key, value in logs.items()})
    assert is_sandboxed(service)
    service.make_bucket()
    for kind in ("JPEG", "PNG", "TIFF", "GIF"):
        url = service.post(IMAGES, noise_image(300, 200, kind)).json()["url"]
        assert [jpeg_size(service.get(path).content)[0] for path in (url, f"{url}_160", f"{url}_77")] == [300, 160, 77]
    large = service.post(OBJECTS, LARGE, headers={"Content-Type": "application/zip"}).json()["url"]
    assert service.get(large).content == LARGE
    assert service.get("/healthcheck").status_code == 200
    assert service.delete("/1/buckets/photos").status_code == 202
    wait_until(lambda: service.get("/1/buckets").json() == [])
    assert not re.findall("not permitted|WARNING|ERROR|Traceback", service.log())


def test_sandboxed_service_reloads_and_stops(start: Start) -> None:
    service = start(*IN_SANDBOX, *SERVE)
    before = {worker.pid for worker in service.workers()}
    service.signal(signal.SIGHUP)
    wait_until(lambda: len(now := {worker.pid for worker in service.workers()}) == 2 and not now & before)
    assert service.get("/healthcheck").status_code == 200
    assert service.stop() == 0
    assert "not permitted" not in service.log()
