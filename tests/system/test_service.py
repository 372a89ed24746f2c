"""The serve command: its log, its signals, and refusals to start."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from ..machine import wait_until
from .conftest import Start, on_disk_and_s3
from .images import jpeg_size, noise_image
from .service import BIN, SERVE, Service, read_answer

UUID = "[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}"
REQUEST_ID = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"


def save_png(service: Service) -> dict[str, str]:
    service.make_bucket()
    answer = service.post("/1/buckets/photos/images", noise_image(300, 200, "PNG"), headers={"Luna-Request-Id": REQUEST_ID})
    assert answer.status_code == 201
    assert answer.headers["Luna-Request-Id"] == REQUEST_ID
    return dict(answer.json())


@on_disk_and_s3
def test_a_png_is_stored_as_a_jpeg_with_four_previews(start: Start) -> None:
    service = start()
    image = save_png(service)
    assert re.fullmatch(UUID, image["image_id"])
    jpeg = service.get(image["url"])
    assert jpeg.headers["Content-Type"] == "image/jpeg"
    assert jpeg_size(jpeg.content) == (300, 200)
    assert [jpeg_size(service.get(image[f"url{size}"]).content)[0] for size in (32, 64, 96, 160)] == [32, 64, 96, 160]


@on_disk_and_s3
def test_gunicorn_serves_with_the_configuration_file(start: Start) -> None:
    service = start(str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "luna_image_store.wsgi:application")
    assert jpeg_size(service.get(save_png(service)["url"]).content) == (300, 200)
    assert service.stop() == 0


@on_disk_and_s3
def test_images_survive_a_restart(start: Start) -> None:
    service = start()
    image = save_png(service)
    before = service.get(image["url"]).content
    assert service.stop() == 0
    service.start()
    assert service.get(image["url"]).content == before


def test_the_log_has_a_line_per_request(start: Start) -> None:
    service = start()
    save_png(service)
    line = f"(?m)^[0-9-]{{10}}T[0-9:.]+[+-][0-9:]+ INFO {REQUEST_ID} POST /1/buckets/{{bucket}}/images 201 [0-9]+ bytes 0.[0-9]+ s$"
    assert re.search(line.replace("{bucket}", re.escape("{bucket}")), service.log())


def test_log_lines_can_be_json_objects(start: Start) -> None:
    service = start(LUNA_IMAGE_STORE_LOGGER__FORMAT="json", LUNA_IMAGE_STORE_LOGGER__LOG_TIME="UTC")
    save_png(service)
    lines = [json.loads(line) for line in service.log().splitlines()]
    (line,) = (line for line in lines if line["request_id"] == REQUEST_ID)
    assert line.items() >= {"method": "POST", "route": "/1/buckets/{bucket}/images", "status": 201, "levelname": "INFO"}.items()
    assert line["bytes"] > 100
    assert line["seconds"] > 0
    assert line["asctime"].endswith("+00:00")


def test_the_log_can_be_a_file(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    service = start(LUNA_IMAGE_STORE_LOGGER__LOG_TO_FILE=True, LUNA_IMAGE_STORE_LOGGER__FOLDER_WITH_LOGS=folder)
    save_png(service)
    assert REQUEST_ID in (folder / "luna-image-store.log").read_text()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HTTP__COLOUR": "red"}, "HTTP__COLOUR"),
        ({"HTTP__WORKERS": "many"}, "HTTP.WORKERS"),
        ({"HTTP__WORKERS": -1}, "HTTP.WORKERS"),
        ({"HTTP__BIND": ""}, "HTTP.BIND"),
        ({"LUNA_IMAGE_STORE_LOGGER__FORMAT": "xml"}, "LUNA_IMAGE_STORE_LOGGER.FORMAT"),
        ({"STORAGE__TYPE": "tape"}, "STORAGE.TYPE"),
        ({"STORAGE__TYPE": "s3", "S3__ENDPOINT_URL": "http://user:password@127.0.0.1"}, "S3.ENDPOINT_URL"),
        ({"STORAGE__TYPE": "s3", "S3__ENDPOINT_URL": "127.0.0.1:8080"}, "S3.ENDPOINT_URL"),
        ({"LOCAL_STORAGE__PATH": "/dev/null/storage"}, "/dev/null/storage"),
        (
            {"LUNA_IMAGE_STORE_LOGGER__LOG_TO_FILE": True, "LUNA_IMAGE_STORE_LOGGER__FOLDER_WITH_LOGS": "/dev/null/logs"},
            "/dev/null/logs",
        ),
        ({"HTTP__BIND": "unix:/dev/null/http.sock"}, "/dev/null/http.sock"),
        ({"HTTP__BIND": "192.0.2.1:5020"}, "192.0.2.1"),
    ],
)
def test_the_start_fails_and_the_error_has_the_reason(tmp_path: Path, settings: dict[str, object], reason: str) -> None:
    check_refusal(tmp_path, reason, settings)


def check_refusal(tmp_path: Path, reason: str, settings: dict[str, object], *command: str) -> str:
    environment = Service(tmp_path, **settings).environment
    result = subprocess.run(command or SERVE, env=environment, capture_output=True, text=True, timeout=20)
    assert result.returncode != 0
    assert reason in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout
    return result.stderr


def test_the_error_has_the_variable_of_an_invalid_value(tmp_path: Path) -> None:
    message = check_refusal(tmp_path, "HTTP.WORKERS", {"HTTP__WORKERS": -1})
    assert "LUNA_IMAGE_STORE__HTTP__WORKERS" in message
    assert "LUNA_IMAGE_STORE__HTTP__BIND" not in message


def test_the_start_fails_if_the_settings_file_is_missing(tmp_path: Path) -> None:
    check_refusal(tmp_path, "missing.toml", {}, *SERVE, "--config", str(tmp_path / "missing.toml"))


@on_disk_and_s3
def test_a_stop_completes_the_running_request(start: Start) -> None:
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    body = noise_image()
    head = b"POST /1/buckets/photos/images HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
    with service.connection() as client:
        client.sendall(head + body[:100])
        wait_until(lambda: len(service.workers()[0].net_connections()) > 1)  # the worker has accepted the connection
        service.signal(signal.SIGTERM)
        wait_until(lambda: "term" in service.log())
        client.sendall(body[100:])
        answer = read_answer(client)
    assert answer
    assert answer.status == 201
    assert service.wait() == 0
    assert len(service.storage.ids()) == 1
    assert "Traceback" not in service.log()


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text("[IMAGES]\nMAX_SIZE = 1000\n")
    return path


def test_sighup_reloads_the_settings(start: Start, settings_file: Path) -> None:
    service = start(*SERVE, "--config", str(settings_file))
    service.make_bucket()
    assert service.post("/1/buckets/photos/images", noise_image()).status_code == 413
    before = {worker.pid for worker in service.workers()}
    settings_file.write_text("[IMAGES]\nMAX_SIZE = 1000000\n")
    service.signal(signal.SIGHUP)
    wait_until(lambda: len(now := {worker.pid for worker in service.workers()}) == 2 and not now & before)
    assert service.post("/1/buckets/photos/images", noise_image()).status_code == 201
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("content", "name"), [("[IMAGES]\nMAX_SIZE = 'huge'\n", "IMAGES.MAX_SIZE"), ("[OBJECTS]\nMAX_SIZE = 1.5\n", "OBJECTS.MAX_SIZE")]
)
def test_sighup_with_invalid_settings_keeps_the_previous_settings(
    start: Start, settings_file: Path, content: str, name: str
) -> None:
    service = start(*SERVE, "--config", str(settings_file))
    settings_file.write_text(content)
    service.signal(signal.SIGHUP)
    wait_until(lambda: name in service.log())
    assert service.get("/version").status_code == 200
    assert service.get("/config").json()["IMAGES"]["MAX_SIZE"] == 1000
    assert service.stop() == 0


def test_a_worker_keeps_its_memory_for_the_next_image(start: Start) -> None:
    """Freed memory causes page faults at the next save. They took a sixth of the time of a save."""
    service = start(HTTP__WORKERS=1)
    service.make_bucket()
    (worker,) = service.workers()

    def page_faults() -> int:
        return int(Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[7])

    def save(times: int) -> None:
        for _ in range(times):
            assert service.post("/1/buckets/photos/images", large).status_code == 201

    large = noise_image(640, 427) + bytes(100_000)  # bytes after the end of the image are stored too
    save(10)
    before = page_faults()
    save(20)
    assert page_faults() - before < 20 * 100
