"""Commands that work on a storage do not import the web application or its libraries."""

import subprocess
import sys

import pytest

from luna_image_store.storage.disk.backend import DiskStorage

WEB = ("falcon", "gunicorn", "apispec", "luna_image_store.app", "luna_image_store.http", "luna_image_store.server")
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sorted(sys.modules)))
from luna_image_store.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats",),
        ("verify", "--deep"),
        ("export", "{folder}/out", "--bucket", "faces"),
        ("import", "{folder}/in", "--bucket", "faces"),
        ("migrate", "disk:{folder}/storage", "disk:{folder}/target"),
        ("drain",),
        ("config",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_command_does_not_import_the_web_application(tmp_path, arguments):
    DiskStorage(str(tmp_path / "storage")).create_bucket("faces")
    for name in ("in", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "settings.toml").write_text(
        f'[LOCAL_STORAGE]\nPATH = "{tmp_path}/storage"\n[HTTP]\nDRAIN_FILE = "{tmp_path}/draining"\n'
    )
    command = (sys.executable, "-c", PROGRAM, *(argument.format(folder=tmp_path) for argument in arguments))
    environment = {"LUNA_IMAGE_STORE_CONFIG": str(tmp_path / "settings.toml")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.rpartition("loaded:")[2].split()
    assert "luna_image_store.cli" in loaded
    assert set(loaded).isdisjoint(WEB)
