"""The options that gunicorn gets, and what stops a start."""

import logging
import os
from types import SimpleNamespace

import pytest

from luna_image_store.server import startup
from luna_image_store.server.options import options
from luna_image_store.settings import PREFIX, SettingsError, load

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def settings(tmp_path):
    """Load settings that keep everything in a directory of the test and log nothing."""
    fixed = {
        "LOCAL_STORAGE__PATH": str(tmp_path / "storage"),
        "HTTP__DRAIN_FILE": str(tmp_path / "draining"),
        "LUNA_IMAGE_STORE_LOGGER__LOG_TO_STDOUT": "false",
    }
    return lambda **given: load(environ={PREFIX + name: value for name, value in {**fixed, **given}.items()})


@pytest.mark.parametrize(
    ("given", "workers", "threads", "connections"),
    [
        ({}, 2 * CORES, 8, 12),
        ({"STORAGE__TYPE": "s3"}, CORES, 8, 12),
        ({"HTTP__WORKERS": "7", "HTTP__THREADS": "3"}, 7, 3, 12),
        ({"HTTP__THREADS": "1"}, 2 * CORES, 1, 12),
        ({"HTTP__CONNECTIONS": "500"}, 2 * CORES, 8, 500),
    ],
    ids=["disk", "s3", "set", "one thread", "connections"],
)
def test_workers_threads_and_connections_follow_the_storage_unless_they_are_set(settings, given, workers, threads, connections):
    chosen = options(settings(**given))
    assert (chosen["workers"], chosen["threads"], chosen["worker_connections"]) == (workers, threads, connections)


def test_the_server_listens_and_waits_as_the_settings_say(settings):
    chosen = options(settings(HTTP__BIND="unix:/run/x.sock", HTTP__REQUEST_TIMEOUT="7", HTTP__GRACEFUL_TIMEOUT="9"))
    assert (chosen["bind"], chosen["timeout"], chosen["graceful_timeout"]) == ("unix:/run/x.sock", 7, 9)


def test_a_start_sweeps_the_storage_and_ends_the_draining_of_the_last_one(settings, tmp_path):
    (tmp_path / "storage/.tmp").mkdir(parents=True)
    (tmp_path / "storage/.tmp/save").touch()
    (tmp_path / "draining").touch()
    startup.check_startup(settings())
    options(settings())["on_starting"](SimpleNamespace(master_pid=0))
    assert list((tmp_path / "storage/.tmp").iterdir()) == []
    assert not (tmp_path / "draining").exists()


def test_a_drain_file_that_cannot_be_removed_stops_the_start(settings, tmp_path):
    (tmp_path / "draining").mkdir()
    with pytest.raises(SettingsError, match=r"^HTTP\.DRAIN_FILE: "):
        options(settings())["on_starting"](SimpleNamespace(master_pid=0))


@pytest.mark.parametrize(
    "given",
    [
        {"LOCAL_STORAGE__PATH": "/dev/null/storage"},
        {"STORAGE__TYPE": "s3", "S3__ACCESS_KEY_ID": "key without a secret"},
        {"STORAGE__TYPE": "s3", "S3__ACCESS_KEY_ID": "key", "S3__SECRET_ACCESS_KEY": "secret", "S3__REGION": "no region"},
    ],
    ids=["path", "key", "region"],
)
def test_a_storage_that_cannot_be_used_stops_the_start(settings, given):
    with pytest.raises(SettingsError, match=r"^(LOCAL_STORAGE\.PATH|S3): cannot use .*: "):
        startup.check_startup(settings(**given))


def test_an_s3_service_that_is_down_does_not_stop_the_start(settings):
    given = {"S3__ENDPOINT_URL": "http://127.0.0.1:9", "S3__ACCESS_KEY_ID": "key", "S3__SECRET_ACCESS_KEY": "secret"}
    startup.check_startup(settings(STORAGE__TYPE="s3", **given))


def test_the_logger_of_the_server_reports_a_slow_client_without_a_traceback(settings, caplog):
    logger = options(settings())["logger_class"](SimpleNamespace())
    caplog.set_level(logging.INFO)
    for error, line in ((BlockingIOError(), "client timeout: connection closed"), (OSError("no disk"), "Socket error")):
        caplog.clear()
        try:
            raise error
        except OSError:
            logger.exception("Socket error processing request.")
        assert line in caplog.text
        assert ("Traceback" in caplog.text) is (line == "Socket error")
