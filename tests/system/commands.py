"""The tools of the command, run as an operator runs them."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ..swift import Account
from .service import BIN

PATIENCE = 120  # seconds
BOUND_BY_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@dataclass(frozen=True)
class Ended:
    """How a tool ended, and what it told with --json."""

    code: int
    findings: list[Mapping[str, Any]]
    summary: Mapping[str, Any]
    errors: str


def luna(*arguments: object, before: tuple[str, ...] = (), **settings: object) -> Ended:
    """Run a tool to its end."""
    with running(*arguments, before=before, **settings) as process:
        return ended(process)


@contextmanager
def running(*arguments: object, before: tuple[str, ...] = (), **settings: object) -> Iterator[subprocess.Popen[str]]:
    """Run a tool meanwhile, with settings such as LOCAL_STORAGE__PATH=...; `before` is what runs it."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("LUNA_IMAGE_STORE")}
    given = {f"LUNA_IMAGE_STORE{key if key.startswith('_') else f'__{key}'}": str(value) for key, value in settings.items()}
    command = [*before, str(BIN / "luna-image-store"), *map(str, arguments), "--json"]
    with subprocess.Popen(command, env=others | given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> Ended:
    output, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors, errors
    lines = [json.loads(line) for line in output.splitlines()]
    findings = [line for line in lines if "summary" not in line]
    return Ended(process.returncode, findings, lines[-1]["summary"] if len(findings) < len(lines) else {}, errors)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a tool, and see its processes end by themselves."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, 30)
        for child in alive:
            child.kill()
        assert not alive


def settings_file(path: Path, account: Account) -> Path:
    """Write settings for a storage on S3, all but the secret key."""
    path.write_text(
        f'[STORAGE]\nTYPE = "s3"\n[S3]\nENDPOINT_URL = "{account.endpoint}"\nREGION = "us-east-1"\n'
        f'ACCESS_KEY_ID = "{account.access_key}"\nADDRESSING_STYLE = "path"\n'
    )
    return path
