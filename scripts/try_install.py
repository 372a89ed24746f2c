"""Run the steps of deploy/README.md unchanged in a clean Debian 12 with its own systemd; used by `make try-install`.

It needs root and takes some minutes. Steps that download files use the network of this machine. The booted system has only a
loopback interface.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "deploy" / "README.md").read_text("utf-8")
CONTAINER = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")
# Files of this machine that are needed to reach the package indexes.
HOST_FILES = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
PACKAGES = "systemd-sysv,dbus,ca-certificates"  # debootstrap omits them; an installed Debian has them
IMAGE = "http://127.0.0.1/1/buckets/first/images/0b5e4c1a-7d52-4f0e-9a3c-2f6d8e1b7c40"
FETCH = f"curl --silent --show-error --fail --retry 3 --output again.jpg {IMAGE} && test -s again.jpg"
ENVIRONMENT = ("env", "--ignore-environment", "HOME=/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin")
BOOTED = (b"running\n", b"degraded\n")  # degraded: some units of Debian fail in a container
BACKUP = "Back up and restore"
# Four clients send requests while the service is restarted and reloaded. All responses must be 200.
LOAD = f"""
for client in 1 2 3 4; do
    while [ ! -e stop ]; do curl --silent --output /dev/null --write-out '%{{http_code}}\\n' {IMAGE}; done >codes-$client &
done
for round in 1 2 3; do
    systemctl restart luna-image-store
    sleep 1
    systemctl reload luna-image-store
    sleep 3
done
touch stop
wait
sort codes-* | uniq --count
! grep --quiet --invert-match 200 codes-*
"""

RunCommands = Callable[[str], object]


def steps(title: str, number: int = 0) -> str:
    """Return a block of commands below a heading."""
    section = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", section[1] if section else "", re.MULTILINE | re.DOTALL)
    if len(blocks) <= number:
        sys.exit(f"deploy/README.md: too few blocks of commands under {title!r}")
    return str(blocks[number])


def install_debian(root: Path) -> None:
    """Install a clean Debian, and copy the built packages to it."""
    subprocess.run(
        ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root), check=True, stdout=subprocess.DEVNULL
    )
    for name in HOST_FILES:
        if (path := Path("/", name)).exists():
            shutil.copy(path, root / name)
    (root / "root/dist").mkdir()
    for pattern in ("*.whl", "*.tar.gz"):
        (newest,) = sorted((REPOSITORY / "dist").glob(pattern))[-1:] or sys.exit("dist/ is empty: run `make dist`")
        shutil.copy(newest, root / "root/dist")


def run_without_boot(root: Path, commands: str) -> None:
    """Run commands in the system before it is booted, with the network of this machine."""
    subprocess.run((*CONTAINER, "--directory", root, "--setenv=HOME=/root", "sh", "-euxc", commands), check=True)


@contextmanager
def booted(root: Path) -> Iterator[RunCommands]:
    """Boot the system, and yield a function that runs commands in it."""
    with (root.parent / "console").open("ab") as console:
        container = subprocess.Popen(
            (*CONTAINER, "--boot", "--private-network", "--directory", root), stdout=console, stderr=console
        )
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    wait_until(lambda: children.read_text())
    enter = ("nsenter", "--all", "--target", children.read_text().split()[0], *ENVIRONMENT)
    try:
        wait_until(lambda: subprocess.run((*enter, "systemctl", "is-system-running"), capture_output=True).stdout in BOOTED)
        yield lambda commands: subprocess.run((*enter, "sh", "-euxc", f"cd /root\n{commands}"), check=True)
    finally:
        subprocess.run((*enter, "systemctl", "poweroff"), capture_output=True)
        container.wait(120)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true; exit after 120 seconds."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("the system did not start")
        time.sleep(0.2)


def main() -> None:
    """Install, boot again, upgrade, roll back, delete the data and restore them from a backup."""
    with tempfile.TemporaryDirectory(prefix="try-install-") as folder:
        root = Path(folder, "debian")
        install_debian(root)
        run_without_boot(root, steps("Install the program"))
        with booted(root) as run:
            run(steps("Install settings, service and nginx site"))
            run(steps("Store the first image"))
            run("systemd-analyze security luna-image-store.service | tail -n 1")
        run_without_boot(root, steps("Install the program"))
        with booted(root) as run:
            run(FETCH)
            run(LOAD)
            for title in ("Upgrade", "Roll back"):
                run(f"readlink /opt/luna-image-store/current\n{steps(title)}{FETCH}\nreadlink /opt/luna-image-store/current")
            delete_data = f"rm -r /var/lib/luna-image-store/*\nif {FETCH}; then exit 1; fi\n"
            run(f"{steps(BACKUP)}{delete_data}{steps(BACKUP, 1)}{FETCH}")
    print("\nThe steps of deploy/README.md succeeded.")


if __name__ == "__main__":
    main()
