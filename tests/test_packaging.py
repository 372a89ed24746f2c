import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import luna_image_store

PROJECT = Path(luna_image_store.__file__).parents[1]
SOURCES = ("setup.py", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE", "luna_image_store")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, without files of earlier builds."""
    copy = tmp_path_factory.mktemp("project")
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, copy)
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check")
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (copy / "dist").glob("*.whl")
    with ZipFile(path) as archive:
        yield archive


def test_the_wheel_has_every_module(wheel):
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "luna_image_store").rglob("*.py")}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == modules
    assert "luna_image_store/py.typed" in wheel.namelist()


@pytest.mark.parametrize("folder", ["manual", "static"])
def test_the_wheel_has_the_documents(wheel, folder):
    paths = [path for path in (PROJECT / "luna_image_store" / folder).rglob("[!.]*") if path.is_file()]
    for path in paths:
        assert wheel.read(str(path.relative_to(PROJECT))) == path.read_bytes()
    names = {path.name for path in paths}
    assert names >= ({"index.html", "searchindex.js"} if folder == "manual" else {"spec.html", "redoc.standalone.js"})


def test_the_wheel_has_the_command(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert wheel.read(name).decode().split() == ["[console_scripts]", "luna-image-store", "=", "luna_image_store.cli:main"]


def test_the_wheel_has_its_name_version_and_licence(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    metadata = wheel.read(name).decode()
    assert "\nName: luna-image-store\n" in metadata
    assert f"\nVersion: {luna_image_store.__version__}\n" in metadata
    assert any(name.endswith("LICENSE") for name in wheel.namelist())
    assert not any(name.startswith("tests") for name in wheel.namelist())
