"""Runs a command under the system calls that a systemd unit leaves it, as the kernel enforces them.

systemd has to be process 1 to confine a service. Where it is not, this does by libseccomp what the unit's lines say:
SystemCallFilter= (sets expanded by `systemd-analyze syscall-filter`), SystemCallErrorNumber=EPERM,
RestrictAddressFamilies=, MemoryDenyWriteExecute= and NoNewPrivileges=.

    python confine.py UNIT COMMAND...
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL = 4  # SCMP_CMP_EQ
_NO_NEW_PRIVILEGES, _MDWE, _REFUSE_EXEC_GAIN = 38, 65, 1  # prctl(2)


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def lines(unit: str, key: str) -> list[str]:
    """Return what a unit says under a key, a line each."""
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def expand(name: str) -> Iterator[str]:
    """Yield the system calls of a set, or the one that is named."""
    if not name.startswith("@"):
        yield name
        return
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    for line in told.stdout.splitlines()[1:]:
        entry = line.strip()
        if entry and not entry.startswith("#"):
            yield from expand(entry)


def allowed(unit: str) -> set[str]:
    """Return the system calls that the unit's filter leaves: the first line allows, those with a tilde take away."""
    found: set[str] = set(expand("@default"))
    for line in lines(unit, "SystemCallFilter"):
        names = {call for name in line.removeprefix("~").split() for call in expand(name)}
        found = found - names if line.startswith("~") else found | names
    return found


def confine(unit: str) -> None:
    """Confine this process and all that it becomes. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_ERRNO | errno.EPERM))
    families = [getattr(socket, name) for line in lines(unit, "RestrictAddressFamilies") for name in line.split()]
    for name in sorted(allowed(unit)):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # of another architecture
            continue
        if name != "socket":
            _require(seccomp.seccomp_rule_add_array(context, _ALLOW, number, 0, None), name)
        for family in families if name == "socket" else ():
            rule = _Comparison(0, _EQUAL, int(family), 0)
            _require(seccomp.seccomp_rule_add_array(context, _ALLOW, number, 1, ctypes.byref(rule)), name)
    if lines(unit, "MemoryDenyWriteExecute") == ["true"]:
        _require(libc.prctl(_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0), "PR_SET_MDWE")
    if lines(unit, "NoNewPrivileges") == ["true"]:
        _require(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _require(seccomp.seccomp_load(context), "seccomp_load")


def _require(code: int, what: str) -> None:
    if code != 0:
        raise OSError(-code if code < -1 else ctypes.get_errno(), what)


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - a test's own command
