"""Type the steps of deploy/README.md, as they stand, in a clean Debian 12 that runs its own systemd; `make try-install` calls it.

As root; it takes some minutes. What the steps download comes over the network of this machine. The system itself is then booted
with nothing but a loopback of its own.
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
# What this machine needs itself to reach the package indexes.
FROM_HERE = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
PACKAGES = "systemd-sysv,dbus,ca-certificates"  # of them a Debian that was not made by debootstrap has more
PICTURE = "http://127.0.0.1/1/buckets/first/images/0b5e4c1a-7d52-4f0e-9a3c-2f6d8e1b7c40"
FETCH = f"curl --silent --show-error --fail --retry 3 --output again.jpg {PICTURE} && test -s again.jpg"
ENVIRONMENT = ("env", "--ignore-environment", "HOME=/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin")
BOOTED = (b"running\n", b"degraded\n")  # the latter: a part of Debian that a container lacks
BACKUP = "Back up and restore"
# Requests go on, from four clients, while the service is restarted and reloaded; all must be answered with 200.
LOAD = f"""
for client in 1 2 3 4; do
    while [ ! -e stop ]; do curl --silent --output /dev/null --write-out '%{{http_code}}\\n' {PICTURE}; done >codes-$client &
done
for again in 1 2 3; do
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

Type = Callable[[str], object]


def steps(title: str, number: int = 0) -> str:
    """Take a block of commands that stands under a heading."""
    section = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", section[1] if section else "", re.MULTILINE | re.DOTALL)
    if len(blocks) <= number:
        sys.exit(f"deploy/README.md: too few commands under {title!r}")
    return str(blocks[number])


def make_debian(root: Path) -> None:
    """Make a clean Debian with the built files in it."""
    subprocess.run(
        ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root), check=True, stdout=subprocess.DEVNULL
    )
    for name in FROM_HERE:
        if (here := Path("/", name)).exists():
            shutil.copy(here, root / name)
    (root / "root/dist").mkdir()
    for pattern in ("*.whl", "*.tar.gz"):
        (newest,) = sorted((REPOSITORY / "dist").glob(pattern))[-1:] or sys.exit("dist/ is empty: `make dist` fills it")
        shutil.copy(newest, root / "root/dist")


def type_offline(root: Path, commands: str) -> None:
    """Run commands in the system while it is not booted; they have the network of this machine."""
    subprocess.run((*CONTAINER, "--directory", root, "--setenv=HOME=/root", "sh", "-euxc", commands), check=True)


@contextmanager
def booted(root: Path) -> Iterator[Type]:
    """Boot the system, and give a function that types commands in it."""
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
    """Wait for what a starting system will do."""
    until = time.monotonic() + 120
    while not condition():
        if time.monotonic() > until:
            sys.exit("the system does not start")
        time.sleep(0.2)


def main() -> None:
    """Install, restart the machine, upgrade, roll back, lose the data and restore them."""
    with tempfile.TemporaryDirectory(prefix="try-install-") as folder:
        root = Path(folder, "debian")
        make_debian(root)
        type_offline(root, steps("The program"))
        with booted(root) as type_in:
            type_in(steps("Settings, service, nginx"))
            type_in(steps("The first picture"))
            type_in("systemd-analyze security luna-image-store.service | tail -n 1")
        type_offline(root, steps("The program"))
        with booted(root) as type_in:
            type_in(FETCH)
            type_in(LOAD)
            for title in ("Upgrade", "Roll back"):
                type_in(f"readlink /opt/luna-image-store/current\n{steps(title)}{FETCH}\nreadlink /opt/luna-image-store/current")
            lost = f"rm -r /var/lib/luna-image-store/*\nif {FETCH}; then exit 1; fi\n"
            type_in(f"{steps(BACKUP)}{lost}{steps(BACKUP, 1)}{FETCH}")
    print("\nThe steps of deploy/README.md do what they say.")


if __name__ == "__main__":
    main()
