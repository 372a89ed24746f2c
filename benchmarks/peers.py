"""Install the peers under `build/`, separate from the environment of the service: some of them install plain Pillow."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True)
class Peers:
    """Paths: the thumbor command, the Node packages, the packages with photographs, a Python with matplotlib."""

    thumbor: Path
    node: Path
    photographs: Path
    python: Path


def install(folder: Path) -> Peers:
    """Install missing or outdated peers."""
    venv, photographs, node = folder / "venv", folder / "photographs", folder / "node"
    paths = Peers(venv / "bin/thumbor", node, photographs, venv / "bin/python")
    requirements = "".join(path.read_text() for path in sorted(PEERS.rglob("*")) if path.is_file())
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == requirements:
        return paths
    for path in (venv, photographs, node):
        shutil.rmtree(path, ignore_errors=True)
    print("installing the peers ...", flush=True)
    _run(sys.executable, "-m", "venv", venv)
    pip = (venv / "bin/pip", "--disable-pip-version-check", "--quiet", "install", "-r")
    _run(*pip, PEERS / "requirements.txt")
    _run(*pip, PEERS / "photographs.txt", "--no-deps", "--target", photographs)
    shutil.copytree(PEERS / "node", node)
    _run("npm", "install", "--prefix", node, "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    stamp.write_text(requirements)
    return paths


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
