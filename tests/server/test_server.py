import logging
import os
from types import SimpleNamespace

import pytest
from luna_image_store.workers import MARGIN, SequentialWorker, ThreadedWorker

from luna_image_store.server import check, options
from luna_image_store.settings import PREFIX, SettingsError, load

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Load settings that keep everything in a directory of the test and log nothing."""
    mask = os.umask(0o022)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    fixed = {"LOCAL_STORAGE__PATH": str(tmp_path / "storage"), "LUNA_IMAGE_STORE_LOGGER__LOG_TO_STDOUT": "false"}

    def make(**settings):
        return load(environ={PREFIX + name: value for name, value in {**fixed, **settings}.items()})

    yield make
    os.umask(mask)


@pytest.mark.parametrize(
    ("given", "workers", "threads", "worker"),
    [
        ({}, 2 * CORES, 1, SequentialWorker),
        ({"STORAGE__TYPE": "s3"}, CORES, 8, ThreadedWorker),
        ({"HTTP__WORKERS": "7", "HTTP__THREADS": "3"}, 7, 3, ThreadedWorker),
        ({"STORAGE__TYPE": "s3", "HTTP__THREADS": "1"}, CORES, 1, ThreadedWorker),
    ],
)
def test_workers_and_threads_are_chosen_by_the_storage_unless_they_are_set(settings, given, workers, threads, worker):
    chosen = options(settings(**given))
    assert (chosen["workers"], chosen["threads"], chosen["worker_class"]) == (workers, threads, worker)


def test_the_server_listens_and_waits_as_the_settings_say(settings):
    chosen = options(settings(HTTP__BIND="unix:/run/x.sock", HTTP__REQUEST_TIMEOUT="7", HTTP__GRACEFUL_TIMEOUT="9"))
    assert chosen["bind"] == "unix:/run/x.sock"
    assert chosen["timeout"] == 7 + MARGIN
    assert chosen["graceful_timeout"] == 9


@pytest.mark.parametrize(("sockets", "swept"), [([], True), (["a socket of before the reload"], False)])
def test_the_storage_is_opened_and_at_a_start_swept_before_the_first_worker(settings, tmp_path, sockets, swept):
    (tmp_path / "storage/.tmp").mkdir(parents=True)
    (tmp_path / "storage/.tmp/save").touch()
    options(settings())["on_starting"](SimpleNamespace(LISTENERS=sockets))
    assert (list((tmp_path / "storage/.tmp").iterdir()) == []) is swept


@pytest.mark.parametrize(
    "given",
    [
        {"LOCAL_STORAGE__PATH": "/dev/null/storage"},
        {"STORAGE__TYPE": "s3", "S3__ACCESS_KEY_ID": "key without a secret"},
        {"STORAGE__TYPE": "s3", "S3__ACCESS_KEY_ID": "key", "S3__SECRET_ACCESS_KEY": "secret", "S3__REGION": "no region"},
    ],
)
def test_a_storage_that_cannot_be_used_stops_the_start(settings, given):
    with pytest.raises(SettingsError, match=r"^(LOCAL_STORAGE\.PATH|S3): .* can't be used: "):
        check(settings(**given))


def test_an_s3_service_that_is_down_does_not_stop_the_start(settings):
    given = {"S3__ENDPOINT_URL": "http://127.0.0.1:9", "S3__ACCESS_KEY_ID": "key", "S3__SECRET_ACCESS_KEY": "secret"}
    check(settings(STORAGE__TYPE="s3", **given)).sweep()
