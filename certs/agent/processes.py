"""Which process is at the other end of a Unix socket: user, group, executable, as the kernel says.

The process is held by a pidfd while its executable is looked at, and must still be alive afterwards: a process id that
was given to another process in between is not believed. What was seen counts for the connection. The executable is told
by /proc, which the agent may read for its own user's processes, or for all with CAP_SYS_PTRACE; where it may not, it is
unknown and fits no entry that asks for it. The same goes for a path that leads to another file there than here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certs.errors import AttestationRefused
from smsgw.v1.certificate_service_pb2 import RegistrationEntry

MAX_EXECUTABLE_BYTES: Final = 1024 * 1024 * 1024
_SO_PEERPIDFD: Final = 77  # Linux 6.5
_CREDENTIALS: Final = struct.Struct("3i")
_MAX_DIGESTS: Final = 256
_Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """What is known of a process; None for what could not be seen.

    Attributes:
        pid, uid, gid: when it connected.
        path: its executable, without symbolic links.
        sha256: of its executable, lower-case hexadecimal.
    """

    pid: int
    uid: int
    gid: int
    path: str | None = None
    sha256: str | None = None

    def fits(self, entry: RegistrationEntry) -> bool:
        """Say whether every selector of the entry holds. An entry without a uid fits nobody."""
        return (
            entry.HasField("uid")
            and entry.uid == self.uid
            and (not entry.HasField("gid") or entry.gid == self.gid)
            and (not entry.path or entry.path == self.path)
            and (not entry.sha256 or entry.sha256 == self.sha256)
        )


class Attestor:
    """Reads the facts; keeps digests of executables that have not changed. Called on threads, one connection each."""

    def __init__(self) -> None:
        self._digests: OrderedDict[_Identity, str] = OrderedDict()

    def attest(self, connection: socket.socket, *, digest: bool) -> ProcessFacts:
        """Return who is at the other end; the executable's digest is made only when `digest` says so.

        Raises AttestationRefused when the process is gone, or the kernel does not tell.
        """
        try:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, gid = _CREDENTIALS.unpack(raw)
            with _held(connection, pid) as pidfd:
                path, sha256 = self._executable(pid, digest=digest)
                if select.select([pidfd], [], [], 0)[0]:  # readable: it has ended
                    raise AttestationRefused(f"the process {pid} ended while it was looked at")
        except OSError as refused:
            raise AttestationRefused(f"who connects cannot be seen: {refused.strerror}") from refused
        return ProcessFacts(pid=pid, uid=uid, gid=gid, path=path, sha256=sha256)

    def _executable(self, pid: int, *, digest: bool) -> tuple[str | None, str | None]:
        link = Path(f"/proc/{pid}/exe")
        try:
            path = str(link.readlink())
            here = _is_same(link, path)
            return path if here else None, self._digest(link) if digest else None
        except OSError:
            return None, None

    def _digest(self, link: Path) -> str | None:
        """Return the digest of the file that runs, opened through /proc so that it is that file. Raises OSError."""
        with link.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_EXECUTABLE_BYTES:
                return None
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = self._digests.get(key)
            if known is None:
                known = hashlib.file_digest(file, "sha256").hexdigest()
                self._digests[key] = known
                while len(self._digests) > _MAX_DIGESTS:
                    self._digests.popitem(last=False)
            return known


def _is_same(link: Path, path: str) -> bool:
    """Say whether `path` leads to what runs: it does not when it was replaced, or in another mount namespace."""
    try:
        return link.samefile(path)
    except OSError:
        return False


@contextlib.contextmanager
def _held(connection: socket.socket, pid: int) -> Iterator[int]:
    """Give a descriptor of the peer process: the kernel's own where it has one. Raises OSError."""
    try:
        pidfd = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))[0]
    except OSError:
        pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)
