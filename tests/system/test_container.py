"""The health check of the container image, on a TCP port and on a unix socket."""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Start
from .service import REPOSITORY, Service

IS_ALIVE = REPOSITORY / "deploy/container/is_alive.py"


def exit_code(service: Service) -> int:
    return subprocess.run((sys.executable, IS_ALIVE), env=service.environment, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("address", ["", "unix:{folder}/http.sock"])
def test_health_check_succeeds_only_while_the_service_runs(start: Start, tmp_path: Path, address: str) -> None:
    service = start(**({"HTTP__BIND": address.format(folder=tmp_path)} if address else {}))
    assert exit_code(service) == 0
    assert service.stop() == 0
    assert exit_code(service) != 0
