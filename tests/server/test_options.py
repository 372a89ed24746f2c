"""gunicorn's options, and the checks of a start."""

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
    """Return a function that loads settings. All paths are in a directory of the test, and nothing is logged."""
    defaults = {
        "LOCAL_STORAGE__PATH": str(tmp_path / "storage"),
        "HTTP__DRAIN_FILE": str(tmp_path / "draining"),
        "LUNA_IMAGE_STORE_LOGGER__LOG_TO_STDOUT": "false",
    }
    return lambda **values: load(environ={PREFIX + name: value for name, value in {**defaults, **values}.items()})


@pytest.mark.parametrize(
    ("values", "workers", "threads", "connections"),
    [
        ({}, 2 * CORES, 8, 12),
        ({"STORAGE__TYPE": "s3"}, CORES, 8, 12),
        ({"HTTP__WORKERS": "7", "HTTP__THREADS": "3"}, 7, 3, 12),
        ({"HTTP__THREADS": "1"}, 2 * CORES, 1, 12),
        ({"HTTP__CONNECTIONS": "500"}, 2 * CORES, 8, 500),
    ],
    ids=["disk", "s3", "workers and threads", "one thread", "connections"],
)
def test_settings_and_storage_determine_workers_threads_and_connections(settings, values, workers, threads, connections):
    result = options(settings(**values))
    assert (result["workers"], result["threads"], result["worker_connections"]) == (workers, threads, connections)


def test_address_and_timeouts_are_gunicorn_options(settings):
    result = options(settings(HTTP__BIND="unix:/run/x.sock", HTTP__REQUEST_TIMEOUT="7", HTTP__GRACEFUL_TIMEOUT="9"))
    assert (result["bind"], result["timeout"], result["graceful_timeout"]) == ("unix:/run/x.sock", 7, 9)


def test_a_start_removes_temporary_files_and_the_drain_file(settings, tmp_path):
    (tmp_path / "storage/.tmp").mkdir(parents=True)
    (tmp_path / "storage/.tmp/save").touch()
    (tmp_path / "draining").touch()
    startup.check_startup(settings())
    options(settings())["on_starting"](SimpleNamespace(master_pid=0))
    assert list((tmp_path / "storage/.tmp").iterdir()) == []
    assert not (tmp_path / "draining").exists()


def test_the_start_fails_if_the_drain_file_cannot_be_removed(settings, tmp_path):
    (tmp_path / "draining").mkdir()
    with pytest.raises(SettingsError, match=r"^HTTP\.DRAIN_FILE: "):
        options(settings())["on_starting"](SimpleNamespace(master_pid=0))


@pytest.mark.parametrize(
    "values",
    [
        {"LOCAL_STORAGE__PATH": "/dev/null/storage"},
        {"STORAGE__TYPE": "s3", "S3__ACCESS_KEY_ID": "key without a secret"},
        {"STORAGE__TYPE": "s3", "S3__ACCESS_KEY_ID": "key", "S3__SECRET_ACCESS_KEY": "secret", "S3__REGION": "no region"},
    ],
    ids=["path", "key", "region"],
)
def test_the_start_fails_if_the_storage_cannot_be_used(settings, values):
    with pytest.raises(SettingsError, match=r"^(LOCAL_STORAGE\.PATH|S3): cannot use .*: "):
        startup.check_startup(settings(**values))


def test_the_service_starts_while_the_s3_service_is_down(settings):
    values = {"S3__ENDPOINT_URL": "http://127.0.0.1:9", "S3__ACCESS_KEY_ID": "key", "S3__SECRET_ACCESS_KEY": "secret"}
    startup.check_startup(settings(STORAGE__TYPE="s3", **values))


def test_a_client_timeout_is_logged_without_a_traceback(settings, caplog):
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
