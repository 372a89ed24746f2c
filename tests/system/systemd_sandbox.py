"""Run a program in the sandbox of a systemd unit: `systemd_sandbox.py UNIT PROGRAM [ARGUMENT]...`

The sandbox limits system calls, socket families and capabilities. It forbids memory that is writable and executable.
Debian's Python runs this script, because python3-seccomp is a Debian package.
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


def read_unit(path: str) -> dict[str, list[str]]:
    """Return the values of each key of a unit file. A key can occur more than once."""
    values: dict[str, list[str]] = {}
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition("=")
        values.setdefault(key, []).append(value)
    return values


def expand_group(name: str) -> Iterator[str]:
    """Yield the system calls of a group, which can contain other groups."""
    if not name.startswith("@"):
        yield name
        return
    listed = subprocess.run(("systemd-analyze", "syscall-filter", name), check=True, capture_output=True, text=True).stdout
    for line in map(str.strip, listed.splitlines()[1:]):
        if line and not line.startswith("#"):
            yield from expand_group(line)


def allowed_calls(lines: list[str]) -> set[str]:
    """Return the system calls that the filter lines allow. A line that begins with ~ removes system calls."""
    calls: set[str] = set()
    for line in filter(None, lines):
        named = {call for group in line.lstrip("~").split() for call in expand_group(group)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def enter_sandbox(service: dict[str, list[str]]) -> None:
    """Apply the restrictions of the unit to this process."""
    syscall_filter = seccomp.SyscallFilter(seccomp.ERRNO(1))
    for call in allowed_calls(service["SystemCallFilter"]) - {"socket"}:
        with suppress(RuntimeError):  # this architecture does not have the call
            syscall_filter.add_rule(seccomp.ALLOW, call)
    for family in service["RestrictAddressFamilies"][0].split():
        syscall_filter.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, int(socket.AddressFamily[family])))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert service["CapabilityBoundingSet"] == [""]
    for capability in range(LAST_CAPABILITY + 1):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert service["MemoryDenyWriteExecute"] == ["yes"]
    prctl(PR_SET_MDWE, 1, 0, 0, 0)  # Linux 6.3 and later support it
    syscall_filter.load()


if __name__ == "__main__":
    enter_sandbox(read_unit(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
