"""How often the storage is probed, and how long callers wait for the result."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from luna_image_store.errors import StorageTimeout, StorageUnavailable
from luna_image_store.logs import request_id
from luna_image_store.storage.probe import CachedProbe
from tests.machine import wait_until


class Disk:
    """A storage to probe, which may hang or fail."""

    def __init__(self):
        self.is_responding = threading.Event()
        self.is_responding.set()
        self.error = None
        self.checks = self.running = self.max_running = 0
        self.request_ids = []

    def check(self):
        self.checks += 1
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        self.request_ids.append(request_id.get())
        assert self.is_responding.wait(60)
        self.running -= 1
        if self.error:
            raise self.error


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.is_responding.set()


def test_calls_within_the_ttl_get_the_same_result(disk):
    cached = CachedProbe(disk.check, ttl=1000)
    assert len({cached.result() for _ in range(100)}) == 1
    assert disk.checks == 1


def test_after_a_failed_run_callers_wait_only_for_the_ttl(disk):
    cached = CachedProbe(disk.check, timeout=1000, ttl=0.1)
    disk.error = StorageUnavailable("health check")
    assert cached.result().error is disk.error
    time.sleep(0.2)
    disk.is_responding.clear()
    assert cached.result().error is disk.error
    assert disk.checks == 2


def test_a_result_expires_after_the_ttl(disk):
    cached = CachedProbe(disk.check, ttl=0.2)
    for error in (None, StorageUnavailable("health check"), None):
        disk.error = error
        wait_until(lambda error=error: cached.result().error is error)
    assert disk.checks >= 3


def test_callers_time_out_while_one_run_hangs(disk, caplog):
    disk.is_responding.clear()
    cached = CachedProbe(disk.check, timeout=0.2, ttl=0.2)
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda _: cached.result(), range(10)))
    time.sleep(0.4)
    results.append(cached.result())
    assert {type(result.error) for result in results} == {StorageTimeout}
    assert (disk.checks, disk.max_running) == (1, 1)
    assert caplog.text.count("no answer yet") == 1
    disk.is_responding.set()
    wait_until(lambda: not cached.result().error)


def test_a_run_logs_with_the_id_of_the_request_that_started_it(disk):
    token = request_id.set("1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a")
    CachedProbe(disk.check).result()
    request_id.reset(token)
    assert disk.request_ids == ["1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"]


def test_an_unexpected_exception_of_the_probe_is_raised(disk):
    disk.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        CachedProbe(disk.check).result()
