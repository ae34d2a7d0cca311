"""Judges by a trace of system calls whether replies leave after the data is on disk.

Reads what `strace -f -ttt -y` writes. On a socket that carries calls, a reply is the first large write after a large
read (the request). Before that write begins, a sync of the database must have begun after the request was read, and
have returned 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_READS = {"read", "readv", "recvfrom", "recvmsg"}
_WRITES = {"write", "writev", "sendto", "sendmsg"}
_SYNCS = {"fsync", "fdatasync"}
# A ping or a window update with its TLS record. One that comes behind a whole request says nothing of the request.
_UPKEEP_BYTES = 64
TRACED = ",".join(sorted(_READS | _WRITES | _SYNCS))

_WHOLE = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((\d+)<(.*?)>[,)].*= (-?\d+)")
_BEGUN = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((\d+)<(.*?)>.*<unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>.*= (-?\d+)")


class Call(NamedTuple):
    """One system call on a file or socket. `began` and `ended` count lines of the trace: the order in which they were
    seen to begin and to end."""

    name: str
    fd: int
    path: str
    result: int
    began: int
    ended: int


class RepliedEarly(Exception):
    """A reply left before its data was on disk."""


def read(lines: Iterable[str]) -> Iterator[Call]:
    """Yield the calls of a trace in the order of their ends."""
    open_calls: dict[str, tuple[str, int, str, int]] = {}
    for number, line in enumerate(lines):
        if found := _BEGUN.match(line):
            thread, _, name, fd, path = found.groups()
            open_calls[thread] = (name, int(fd), path, number)
        elif found := _RESUMED.match(line):
            thread, _, name, result = found.groups()
            begun = open_calls.pop(thread, None)
            if begun is not None and begun[0] == name:
                yield Call(*begun[:3], int(result), begun[3], number)
        elif found := _WHOLE.match(line):
            _, _, name, fd, path, result = found.groups()
            yield Call(name, int(fd), path, int(result), number, number)


def judge(lines: Iterable[str], *, database: str, request_bytes: int, reply_bytes: int) -> int:
    """Return how many replies were seen, each after its sync. Raises RepliedEarly for the first one that was not.

    Args:
        lines: the trace.
        database: what the paths of the database's files have in common.
        request_bytes: a request is read in pieces that sum up to this at least.
        reply_bytes: a write of so many octets is a reply; smaller ones keep the connection.
    """
    calls = list(read(lines))
    syncs = [call for call in calls if call.name in _SYNCS and database in call.path and call.result == 0]
    received: dict[int, tuple[int, int]] = {}  # socket → octets since the last reply, the line of the last of them
    replies = 0
    for call in sorted(calls, key=lambda call: call.began):
        if call.result <= 0 or database in call.path:
            continue
        octets, last = received.get(call.fd, (0, 0))
        if call.name in _READS and octets >= request_bytes and call.result <= _UPKEEP_BYTES:
            continue
        if call.name in _READS:
            received[call.fd] = (octets + call.result, call.ended)
        elif call.name in _WRITES and call.result >= reply_bytes and octets >= request_bytes:
            if not any(last < sync.began and sync.ended < call.began for sync in syncs):
                raise RepliedEarly(
                    f"a reply of {call.result} octets at line {call.began + 1}: no sync since line {last + 1}"
                )
            replies += 1
            received[call.fd] = (0, 0)
    return replies
