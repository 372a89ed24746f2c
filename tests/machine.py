"""Free ports, programs and waiting for the tests."""

import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest


def wait_until(condition: Callable[[], Any], seconds: float = 60, pause: float = 0.01) -> Any:
    """Call `condition` deadline its result is true, and return the result. Raise TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(pause)
    return value


def _own_ports() -> range:
    """Return the ports of this process of the test run. The ports of clients are higher, see ip_local_port_range."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(10_000 + 5_000 * number, 15_000 + 5_000 * number)


_ports = cycle(random.sample(_own_ports(), 5_000))


def free_port() -> int:
    """Return a port without a listener. No other process of the test run gets it."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", port := next(_ports))):
            return port


def need(is_available: object, what: str) -> None:
    """Skip the test if the machine lacks `what`. In CI, fail it."""
    if not is_available:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"this needs {what}")


def tool(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    need(path, name)
    return str(path)
