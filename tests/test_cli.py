import json

import pytest
import yaml
from click.testing import CliRunner

from luna_image_store import __version__
from luna_image_store.cli import main
from luna_image_store.settings import FILE_VARIABLE, PREFIX, load, masked


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, **environ: CliRunner().invoke(main, arguments, env=environ)


def test_version_is_printed(run):
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"luna-image-store, version {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["serve", "-h"], ["config", "-h"], ["openapi", "-h"], ["verify", "-h"], ["stats", "-h"]]
)
def test_help_is_printed(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_an_unknown_command_is_refused(run):
    assert run("explode").exit_code == 2


def test_the_settings_are_printed_as_json_with_secrets_masked(run):
    result = run("config", **{f"{PREFIX}S3__SECRET_ACCESS_KEY": "secret", f"{PREFIX}IMAGES__MAX_SIZE": "7"})
    printed = json.loads(result.stdout)
    assert printed["S3"]["SECRET_ACCESS_KEY"] == "***"
    assert printed["IMAGES"]["MAX_SIZE"] == 7
    assert printed["OBJECTS"] == masked(load(environ={}))["OBJECTS"]


def test_the_named_settings_file_is_read(run, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[IMAGES]\nMAX_SIZE = 8\n")
    for result in (run("config", "--config", str(path)), run("config", **{FILE_VARIABLE: str(path)})):
        assert json.loads(result.stdout)["IMAGES"]["MAX_SIZE"] == 8


@pytest.mark.parametrize(
    ("command", "code"),
    [(("config",), 2), (("config", "--check"), 2), (("config", "--show"), 2), (("verify",), 2), (("stats",), 2), (("serve",), 1)],
)
def test_invalid_settings_end_a_command_with_a_message(run, command, code, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[IMAGES]\nMAX_SIZE = -1\n")
    result = run(*command, "--config", str(path))
    assert result.exit_code == code
    assert "luna-image-store: IMAGES.MAX_SIZE: " in result.output
    assert str(path) in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == [path]


def test_config_check_prints_ok_for_valid_settings_and_creates_no_files(run, tmp_path):
    result = run("config", "--check", **{f"{PREFIX}S3__SECRET_ACCESS_KEY": "secret"})
    assert (result.exit_code, result.stdout) == (0, "OK\n")
    assert list(tmp_path.iterdir()) == []


def test_each_setting_is_printed_with_its_source(run, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('[IMAGES]\nMAX_SIZE = 8\nMAX_PIXELS = 9\n[S3]\nSECRET_ACCESS_KEY = "secret"\n')
    variable = f"{PREFIX}IMAGES__MAX_PIXELS"
    lines = run("config", "--show", "--config", str(path), **{variable: "10"}).stdout.splitlines()
    assert f"IMAGES.MAX_SIZE = 8 ({path})" in lines
    assert f"IMAGES.MAX_PIXELS = 10 ({variable})" in lines
    assert f'S3.SECRET_ACCESS_KEY = "***" ({path})' in lines
    assert "IMAGES.JPEG_QUALITY = 95 (default)" in lines
    assert len(lines) == sum(len(section) for section in masked(load(environ={})).values())


def test_the_openapi_document_is_printed(run):
    result = run("openapi")
    assert result.exit_code == 0
    assert yaml.load(result.stdout, yaml.CSafeLoader)["info"]["version"] == __version__
