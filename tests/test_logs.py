import json
import logging
import logging.config
import os
import re
import subprocess
import sys
from datetime import datetime

import pytest

from luna_image_store.app import create_app
from luna_image_store.logs import FILE_NAME, configuration, request_id
from luna_image_store.settings import SettingsError, load
from tests import sample_images
from tests.api.client import IMAGE_URL, Client

PREFIX = "LUNA_IMAGE_STORE__LUNA_IMAGE_STORE_LOGGER__"
ID = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
HEADERS = {"Luna-Request-Id": ID}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


class FailingResource:
    def on_get(self, req, resp):
        raise RuntimeError("boom")


@pytest.fixture
def configure(monkeypatch):
    """Return a function that configures logging as the service does. Restore the old configuration at the end."""
    root, pil = logging.getLogger(), logging.getLogger("PIL")
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    level, token = pil.level, request_id.set("-")

    def configure(**settings):
        settings = load(environ={PREFIX + name: value for name, value in settings.items()})
        logging.config.dictConfig(configuration(settings.logger))

    yield configure
    for handler in root.handlers:
        handler.close()
    pil.setLevel(level)
    request_id.reset(token)


@pytest.fixture
def client(storage):
    storage.create_bucket("photos")
    app = create_app(load(environ={}), storage)
    app.add_route("/failing", FailingResource())
    return Client(app)


def test_a_text_line_has_time_level_request_id_and_message(configure, capsys):
    configure()
    logging.getLogger("any").warning("what %s", "happened")
    assert re.fullmatch(rf"{TIME} WARNING - what happened\n", capsys.readouterr().out)


def test_a_json_line_has_the_same_fields(configure, capsys):
    configure(FORMAT="json")
    logging.getLogger("any").warning("what\nhappened")
    line = json.loads(capsys.readouterr().out)
    assert re.fullmatch(TIME, line.pop("asctime"))
    assert line == {"levelname": "WARNING", "request_id": "-", "message": "what\nhappened"}


@pytest.mark.parametrize("form", ["default", "json"])
def test_times_can_be_in_utc(configure, capsys, form):
    configure(FORMAT=form, LOG_TIME="UTC")
    logging.getLogger("any").warning("message")
    time = datetime.fromisoformat(re.search(TIME, capsys.readouterr().out)[0])
    assert time.utcoffset().total_seconds() == 0
    assert abs((datetime.now(time.tzinfo) - time).total_seconds()) < 10


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_lines_below_the_level_are_not_logged(configure, capsys, level):
    configure(LOG_LEVEL=level)
    names = ["DEBUG", "INFO", "WARNING", "ERROR"]
    for name in names:
        logging.getLogger("any").log(getattr(logging, name), "message")
    assert re.findall("[A-Z]{4,}", capsys.readouterr().out.replace("T", "t")) == [
        name.replace("T", "t") for name in names[names.index(level) :]
    ]


def test_debug_lines_of_pillow_are_not_logged(configure, capsys):
    configure(LOG_LEVEL="DEBUG")
    sample_images.decoded(sample_images.encoded(sample_images.quadrants(), "PNG"))
    assert capsys.readouterr().out == ""


def test_a_request_is_one_line_with_method_route_status_length_and_time(configure, client, capsys):
    configure()
    response = client.simulate_get("/version", headers=HEADERS)
    line = capsys.readouterr().out
    assert re.fullmatch(rf"{TIME} INFO {ID} GET /version 200 {len(response.content)} bytes 0\.\d{{6}} s\n", line)


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("PUT", IMAGE_URL, "/1/buckets/{bucket}/images/{image_id}", 200),
        ("GET", IMAGE_URL, "/1/buckets/{bucket}/images/{image_id}", 404),
        ("GET", f"{IMAGE_URL}_x", "/1/buckets/{bucket}/images/{image_id}_{size}", 404),
        ("PATCH", "/version", "/version", 405),
        ("DELETE", "/1/buckets/photos", "/1/buckets/{bucket}", 202),
        ("GET", "/1/buckets", "/1/buckets", 200),
        ("GET", "/missing", "-", 404),
        ("GET", "/failing", "/failing", 500),
    ],
)
def test_the_json_access_line_has_the_fields_of_the_request(configure, client, capsys, method, path, route, status):
    configure(FORMAT="json", LOG_LEVEL="INFO")
    response = client.simulate_request(method, path, body=sample_images.jpeg(), headers=HEADERS)
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["method"], line["route"], line["status"]) == (method, route, status) == (method, route, response.status_code)
    assert (line["request_id"], line["bytes"]) == (ID, len(response.content))
    assert 0 < line["seconds"] < 10


@pytest.mark.parametrize("suffix", ["", "_33"])
def test_the_access_line_has_the_length_of_the_content(configure, client, capsys, suffix):
    client.put_image()
    configure(FORMAT="json")
    response = client.simulate_get(IMAGE_URL + suffix)
    assert json.loads(capsys.readouterr().out)["bytes"] == len(response.content)


def test_the_access_line_has_the_length_of_a_range_of_a_large_object(configure, client, capsys):
    url = client.put_object(b"x" * 2**21)
    configure(FORMAT="json")
    client.simulate_get(url, headers={"Range": "bytes=100-"})
    assert json.loads(capsys.readouterr().out)["bytes"] == 2**21 - 100


def test_every_line_of_a_request_has_its_id(configure, client, capsys, root):
    client.put_image()
    for path in (root / "photos/images").glob("*/*.jpg"):
        path.write_bytes(b"damaged")
    configure(LOG_LEVEL="DEBUG")
    client.simulate_get(IMAGE_URL, headers=HEADERS)
    client.simulate_put(IMAGE_URL, body=b"not an image", headers=HEADERS)
    client.simulate_get("/failing", headers=HEADERS)
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(TIME, line)]
    assert len(lines) == 6
    assert all(f" {ID} " in line for line in lines)


def test_each_request_has_another_id(configure, client, capsys):
    configure(FORMAT="json")
    responses = [client.simulate_get("/version") for _ in range(3)]
    ids = [json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()]
    assert ids == [response.headers["luna-request-id"] for response in responses]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("form", ["default", "json"])
def test_an_unexpected_error_is_logged_once_with_its_traceback(configure, client, capsys, form):
    configure(FORMAT=form)
    client.simulate_get("/failing", headers=HEADERS)
    captured = capsys.readouterr()
    assert captured.out.count("Traceback") == captured.out.count("RuntimeError: boom") == 1
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/missing"), ("POST", "/version"), ("PUT", IMAGE_URL), ("GET", IMAGE_URL), ("DELETE", "/1/buckets/x")],
)
def test_expected_errors_are_logged_without_a_traceback(configure, client, capsys, method, path):
    configure(LOG_LEVEL="DEBUG")
    assert client.simulate_request(method, path, body=b"not an image").status_code >= 400
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err


def test_lines_are_written_to_a_file_in_a_new_directory(configure, capsys, tmp_path):
    folder = tmp_path / "deep/er"
    configure(LOG_TO_FILE="true", LOG_TO_STDOUT="false", FOLDER_WITH_LOGS=str(folder))
    logging.getLogger("any").warning("message é")
    assert (folder / FILE_NAME).read_text("utf-8").endswith(" WARNING - message é\n")
    assert capsys.readouterr().out == ""


def test_a_full_log_file_is_rotated_and_five_old_files_remain(configure, tmp_path):
    configure(LOG_TO_FILE="true", LOG_TO_STDOUT="false", FOLDER_WITH_LOGS=str(tmp_path), MAX_LOG_FILE_SIZE="1")
    for number in range(80):
        logging.getLogger("any").warning("%d %s", number, "x" * 100_000)
    names = {path.name for path in tmp_path.glob("*.log*")}
    assert names == {FILE_NAME, *(f"{FILE_NAME}.{number}" for number in range(1, 6))}
    assert " 79 x" in (tmp_path / FILE_NAME).read_text()[:-100]


WRITER = """
import logging, logging.config, sys, time
from luna_image_store.logs import configuration
from luna_image_store.settings import load
logging.config.dictConfig(configuration(load().logger))
print(flush=True)
input()
for number in range(430):
    logging.getLogger("any").warning("%s %d %s", sys.argv[1], number, "x" * 3000)
    time.sleep(0.001)
"""


def test_many_processes_rotate_a_file_without_lost_lines(tmp_path):
    settings = {"LOG_TO_FILE": "true", "LOG_TO_STDOUT": "false", "FOLDER_WITH_LOGS": str(tmp_path), "MAX_LOG_FILE_SIZE": "1"}
    environment = os.environ | {PREFIX + name: value for name, value in settings.items()}
    command, pipes = (sys.executable, "-c", WRITER), {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [subprocess.Popen((*command, name), env=environment, text=True, **pipes) for name in "abcd"]
    assert [writer.stdout.readline() for writer in writers] == ["\n"] * 4
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0] * 4
    files = list(tmp_path.glob("*.log*"))
    assert len(files) > 3
    assert all(path.stat().st_size < 10**6 + 4000 for path in files)
    lines = [line for path in files for line in path.read_text().splitlines()]
    found = [re.fullmatch(rf"{TIME} WARNING - ([a-d] [0-9]+) x{{3000}}", line)[1] for line in lines]
    assert sorted(found) == sorted(f"{name} {number}" for name in "abcd" for number in range(430))


def test_an_unusable_log_directory_is_an_error_with_its_path(configure):
    with pytest.raises(SettingsError, match=r"FOLDER_WITH_LOGS: cannot use /dev/null/logs: "):
        configure(LOG_TO_FILE="true", FOLDER_WITH_LOGS="/dev/null/logs")


def test_all_logging_can_be_disabled(configure, capsys):
    configure(LOG_TO_STDOUT="false")
    logging.getLogger("any").error("message")
    assert capsys.readouterr().out == ""
