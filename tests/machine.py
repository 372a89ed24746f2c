"""What tests want of the machine: free ports, programs, and time."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Give what the condition gives, once it is true."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.01)
    return value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def need(possible: object, what: str) -> None:
    """Skip where the machine lacks something; in CI nothing may be skipped unseen."""
    if not possible:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"this needs {what}")


def tool(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    need(path, name)
    return str(path)
