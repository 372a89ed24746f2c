"""How often the storage is looked at, and how long anybody waits for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from luna_image_store.errors import StorageTimeout, StorageUnavailable
from luna_image_store.logs import request_id
from luna_image_store.storage.probe import CachedProbe
from tests.machine import wait_until


class Disk:
    """What is checked: it may hang, and it may be broken."""

    def __init__(self):
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.fault = None
        self.checks = self.at_once = self.most_at_once = 0
        self.asked_by = []

    def check(self):
        self.checks += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked_by.append(request_id.get())
        assert self.goes_on.wait(60)
        self.at_once -= 1
        if self.fault:
            raise self.fault


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.goes_on.set()


def test_who_asks_soon_after_another_gets_the_same_finding(disk):
    asked = CachedProbe(disk.check, ttl=1000)
    assert len({asked.result() for _ in range(100)}) == 1
    assert disk.checks == 1


def test_while_it_is_known_to_be_broken_nobody_waits_for_long(disk):
    asked = CachedProbe(disk.check, timeout=1000, ttl=0.1)
    disk.fault = StorageUnavailable("health check")
    assert asked.result().fault is disk.fault
    time.sleep(0.2)
    disk.goes_on.clear()
    assert asked.result().fault is disk.fault
    assert disk.checks == 2


def test_a_finding_is_kept_for_a_moment_only(disk):
    asked = CachedProbe(disk.check, ttl=0.2)
    for fault in (None, StorageUnavailable("health check"), None):
        disk.fault = fault
        wait_until(lambda fault=fault: asked.result().fault is fault)
    assert disk.checks >= 3


def test_nobody_waits_for_a_disk_that_hangs_and_it_is_looked_at_once(disk, caplog):
    disk.goes_on.clear()
    asked = CachedProbe(disk.check, timeout=0.2, ttl=0.2)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: asked.result(), range(10)))
    time.sleep(0.4)
    found.append(asked.result())
    assert {type(finding.fault) for finding in found} == {StorageTimeout}
    assert (disk.checks, disk.most_at_once) == (1, 1)
    assert caplog.text.count("no answer yet") == 1
    disk.goes_on.set()
    wait_until(lambda: not asked.result().fault)


def test_a_check_logs_under_the_id_of_the_request_that_caused_it(disk):
    token = request_id.set("1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a")
    CachedProbe(disk.check).result()
    request_id.reset(token)
    assert disk.asked_by == ["1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"]


def test_a_fault_of_the_check_itself_is_not_hidden(disk):
    disk.fault = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        CachedProbe(disk.check).result()
