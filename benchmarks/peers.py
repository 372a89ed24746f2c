"""Installing the peers under `build/`: apart from the service's environment, since some of them pull plain Pillow."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LISTS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True)
class Peers:
    """Where things are: thumbor's command, Node's packages, the packages that ship photographs, a Python with matplotlib."""

    thumbor: Path
    node: Path
    photographs: Path
    python: Path


def install(folder: Path) -> Peers:
    """Install what is missing or out of date."""
    venv, photographs, node = folder / "venv", folder / "photographs", folder / "node"
    places = Peers(venv / "bin/thumbor", node, photographs, venv / "bin/python")
    wanted = "".join(path.read_text() for path in sorted(LISTS.rglob("*")) if path.is_file())
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return places
    for place in (venv, photographs, node):
        shutil.rmtree(place, ignore_errors=True)
    print("installing the peers ...", flush=True)
    _run(sys.executable, "-m", "venv", venv)
    pip = (venv / "bin/pip", "--disable-pip-version-check", "--quiet", "install", "-r")
    _run(*pip, LISTS / "requirements.txt")
    _run(*pip, LISTS / "photographs.txt", "--no-deps", "--target", photographs)
    shutil.copytree(LISTS / "node", node)
    _run("npm", "install", "--prefix", node, "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    stamp.write_text(wanted)
    return places


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
