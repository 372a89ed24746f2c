"""The files in deploy/systemd are valid, and match the settings and the nginx site."""

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from luna_image_store.settings import load, masked
from tests.machine import need, tool

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = ("luna-image-store.service", "luna-image-store.socket")
MAX_EXPOSURE = 20  # tenths of the exposure level of `systemd-analyze security`


def read_unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "systemd" / name)
    return unit


SERVICE, SOCKET = (read_unit(name) for name in UNITS)


def run(*command: object) -> str:
    done = subprocess.run([tool(str(command[0])), *map(str, command[1:])], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(re.sub("/opt/luna-image-store/current/bin/luna-image-store", shutil.which("true") or "", text))
    assert run("systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in UNITS)) == ""


def test_the_exposure_level_of_the_service_is_low() -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", DEPLOY / "systemd" / UNITS[0])


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Create the users and directories of sysusers.conf and tmpfiles.conf under another root directory."""
    need(os.geteuid() == 0, "the rights of root")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("root:x:0:\nwww-data:x:33:\n")
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    run("systemd-sysusers", f"--root={tmp_path}", DEPLOY / "systemd/sysusers.conf")
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create", DEPLOY / "systemd/tmpfiles.conf")
    return tmp_path


def test_the_user_cannot_log_in(system: Path) -> None:
    (line,) = (line for line in (system / "etc/passwd").read_text().splitlines() if line.startswith("luna-image-store:"))
    assert line.endswith("/nologin")
    assert line.split(":")[0] == SERVICE["Service"]["User"] == SERVICE["Service"]["Group"]


def test_only_nginx_reaches_the_socket_and_only_the_service_its_data(system: Path) -> None:
    def owners(path: str) -> tuple[int, int, int]:
        status = (system / path).stat()
        return status.st_uid, status.st_gid, status.st_mode & 0o7777

    user = int(re.findall("^luna-image-store:[^:]*:([0-9]+):", (system / "etc/passwd").read_text(), re.MULTILINE)[0])
    assert owners("run/luna-image-store") == (0, 33, 0o750)
    assert owners("var/lib/luna-image-store") == (user, user, 0o750)
    assert (SOCKET["Socket"]["SocketGroup"], SOCKET["Socket"]["SocketMode"]) == ("www-data", "0660")


def test_all_files_use_the_same_paths() -> None:
    site = (DEPLOY / "nginx/luna-image-store.conf").read_text()
    assert f"server unix:{SOCKET['Socket']['ListenStream']} " in site
    service, settings = SERVICE["Service"], load(str(DEPLOY / "disk.toml"), {})
    assert f"/var/lib/{service['StateDirectory']}" == settings.local_storage.path == service["WorkingDirectory"]
    assert service["ExecStart"].endswith(" serve --config /etc/luna-image-store/settings.toml")
    assert UNITS[1] in SERVICE["Unit"]["Requires"]
    assert UNITS[1] in SERVICE["Install"]["Also"]


def test_systemd_waits_for_running_requests_before_it_kills_the_service() -> None:
    http = load(None, {}).http
    assert int(SERVICE["Service"]["TimeoutStopSec"]) > http.drain_time + 2 * http.graceful_timeout


@pytest.mark.parametrize("name", ["disk.toml", "s3.toml"])
def test_short_settings_files_have_no_defaults(name: str) -> None:
    sections, settings, defaults = (
        tomllib.loads((DEPLOY / name).read_text()),
        masked(load(str(DEPLOY / name), {})),
        masked(load(None, {})),
    )
    for section, values in sections.items():
        for key, value in values.items():
            assert settings[section][key] == value != defaults[section][key]
