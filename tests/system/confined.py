"""Run a program in the bounds of a unit of systemd: `confined.py UNIT PROGRAM [ARGUMENT]...`

Its system calls, its kinds of sockets, its capabilities, and no memory that can be both written and executed. Debian's Python runs
it: python3-seccomp is a package of Debian's.
"""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import seccomp

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 24, 38, 65
LAST_CAPABILITY = 40


def keys(path: str) -> dict[str, list[str]]:
    """Read a unit; a key may stand more than once."""
    found: dict[str, list[str]] = {}
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


def expanded(name: str) -> Iterator[str]:
    """Give the system calls of a group, which may hold others."""
    if not name.startswith("@"):
        yield name
        return
    listed = subprocess.run(("systemd-analyze", "syscall-filter", name), check=True, capture_output=True, text=True).stdout
    for line in map(str.strip, listed.splitlines()[1:]):
        if line and not line.startswith("#"):
            yield from expanded(line)


def allowed(lines: list[str]) -> set[str]:
    """Give the system calls that lists of groups allow; a list that begins with ~ takes away."""
    calls: set[str] = set()
    for line in filter(None, lines):
        named = {call for group in line.lstrip("~").split() for call in expanded(group)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def confine(service: dict[str, list[str]]) -> None:
    """Give up all that the unit does not leave."""
    bounds = seccomp.SyscallFilter(seccomp.ERRNO(1))
    for call in allowed(service["SystemCallFilter"]) - {"socket"}:
        with suppress(RuntimeError):  # a call of another architecture
            bounds.add_rule(seccomp.ALLOW, call)
    for family in service["RestrictAddressFamilies"][0].split():
        bounds.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, int(socket.AddressFamily[family])))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert service["CapabilityBoundingSet"] == [""]
    for capability in range(LAST_CAPABILITY + 1):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert service["MemoryDenyWriteExecute"] == ["yes"]
    prctl(PR_SET_MDWE, 1, 0, 0, 0)  # Linux 6.3 and later have it
    bounds.load()


if __name__ == "__main__":
    confine(keys(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
