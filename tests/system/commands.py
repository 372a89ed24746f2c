"""Runs the commands of `luna-image-store` like an operator."""

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

TIMEOUT = 120  # seconds
WITHOUT_ROOT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@dataclass(frozen=True)
class Result:
    """The exit code, the output with --json, and the standard error of a command."""

    code: int
    findings: list[Mapping[str, Any]]
    summary: Mapping[str, Any]
    errors: str


def luna(*arguments: object, wrapper: tuple[str, ...] = (), **settings: object) -> Result:
    """Run a command to its end."""
    with running(*arguments, wrapper=wrapper, **settings) as process:
        return wait(process)


@contextmanager
def running(*arguments: object, wrapper: tuple[str, ...] = (), **settings: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command in the background, with settings such as LOCAL_STORAGE__PATH=.... `wrapper`: a program that starts it."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("LUNA_IMAGE_STORE")}
    variables = {f"LUNA_IMAGE_STORE{key if key.startswith('_') else f'__{key}'}": str(value) for key, value in settings.items()}
    command = [*wrapper, str(BIN / "luna-image-store"), *map(str, arguments), "--json"]
    with subprocess.Popen(command, env=others | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait(process: subprocess.Popen[str]) -> Result:
    output, errors = process.communicate(timeout=TIMEOUT)
    assert "Traceback" not in errors, errors
    lines = [json.loads(line) for line in output.splitlines()]
    findings = [line for line in lines if "summary" not in line]
    return Result(process.returncode, findings, lines[-1]["summary"] if len(findings) < len(lines) else {}, errors)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command, and check that its worker processes end."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, 30)
        for child in alive:
            child.kill()
        assert not alive


def settings_file(path: Path, account: Account) -> Path:
    """Write the settings of a storage on S3, without the secret key."""
    path.write_text(
        f'[STORAGE]\nTYPE = "s3"\n[S3]\nENDPOINT_URL = "{account.endpoint}"\nREGION = "us-east-1"\n'
        f'ACCESS_KEY_ID = "{account.access_key}"\nADDRESSING_STYLE = "path"\n'
    )
    return path
