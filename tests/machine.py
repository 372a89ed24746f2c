"""What tests want of the machine: free ports, programs, and time."""

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
    """Return what the condition returns, once it is true."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(pause)
    return value


def _my_ports() -> range:
    """Give ports that no other process of this test run takes. Clients get theirs from above them, see ip_local_port_range."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(10_000 + 5_000 * number, 15_000 + 5_000 * number)


_ports = cycle(random.sample(_my_ports(), 5_000))


def free_port() -> int:
    """Find a port that nobody listens on, and that nothing else will take before it is used."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", port := next(_ports))):
            return port


def need(possible: object, what: str) -> None:
    """Skip where the machine lacks something; in CI nothing may be skipped unseen."""
    if not possible:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"this needs {what}")


def tool(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    need(path, name)
    return str(path)
