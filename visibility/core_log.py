"""What gRPC's core writes by itself: the only place that says why a TLS handshake failed.

The core logs to file descriptor 2, past every handler, unredacted, and has no other way to tell of a handshake that
was refused: no certificate, an expired one, one of an authority that is not trusted. So a server moves its own log to a
copy of that descriptor and gives the core a file instead, which is read about once a second, counted by reason, and
emptied. No line of it is passed on as it is. It has no addresses: who it was cannot be told.

Whatever else writes there (the interpreter that dies, for one) ends in the same file. In a directory it outlives the
process, and the next start finds it.

`begin` has to run before grpc is imported, which reads GRPC_VERBOSITY then and never again. Level INFO is what has
these lines; gRPC itself prints a warning about that level, into the file.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections import Counter
from pathlib import Path

FILE = "core.log"  # in the directory of whoever serves
VERBOSITY = "GRPC_VERBOSITY"
OTHER = "OTHER"
_ERRORS = 2  # the descriptor of standard error
_READ_BYTES = 256 << 10  # at one look: about a thousand failures
_EMPTY_BYTES = 1 << 20
_LEFT_BYTES = 4096
_FAILED = re.compile(rb"Handshake failed with error ([^\r\n]{0,400})")
# The first that is found in a line counts. The names are those of `certs.errors.Reason` where it has one.
_REASONS: tuple[tuple[bytes, str], ...] = (
    (b"PEER_DID_NOT_RETURN_A_CERTIFICATE", "NO_CERTIFICATE"),
    (b"certificate has expired", "EXPIRED"),
    (b"certificate is not yet valid", "NOT_YET_VALID"),
    (b"local issuer certificate", "UNTRUSTED"),
    (b"get issuer certificate", "UNTRUSTED"),
    (b"self-signed certificate", "UNTRUSTED"),
    (b"self signed certificate", "UNTRUSTED"),
    (b"certificate signature failure", "UNTRUSTED"),
    (b"CERTIFICATE_VERIFY_FAILED", "BAD_CERTIFICATE"),
    (b"_ALERT_", "PEER_REFUSED"),  # it does not like us: our certificate, mostly
    (b"HTTP_REQUEST", "NOT_TLS"),
    (b"PROXY_REQUEST", "NOT_TLS"),
    (b"WRONG_VERSION_NUMBER", "NOT_TLS"),
    (b"UNSUPPORTED_PROTOCOL", "NO_COMMON_TLS"),
    (b"NO_SHARED_CIPHER", "NO_COMMON_TLS"),
    (b"NO_COMMON_SIGNATURE_ALGORITHMS", "NO_COMMON_TLS"),
    (b"NO_SHARED_GROUP", "NO_COMMON_TLS"),
)
REASONS = frozenset(name for _, name in _REASONS) | {OTHER}


def reason_of(line: bytes) -> str | None:
    """Return why the handshake of which a line of the core tells failed; None for a line about something else."""
    found = _FAILED.search(line)
    if found is None:
        return None
    return next((name for mark, name in _REASONS if mark in found[1]), OTHER)


class CoreLog:
    """The file behind descriptor 2. Belongs to one event loop once it serves."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: the file, open for reading and appending; it belongs to this from now on."""
        self._descriptor = descriptor
        self._read = 0
        self._half = b""  # a line whose end has not been written yet
        self.failed: Counter[str] = Counter()  # handshakes, by reason

    def keep_in(self, directory: Path) -> bytes:
        """Write to a file in `directory` from now on; return what an earlier process left there, its end, if any.

        Raises OSError: then everything stays as it is.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(directory / FILE, flags, 0o600)
        size = os.fstat(descriptor).st_size
        left = os.pread(descriptor, _LEFT_BYTES, max(0, size - _LEFT_BYTES))
        os.ftruncate(descriptor, 0)
        self.look()
        os.dup2(descriptor, _ERRORS)
        os.close(self._descriptor)
        self._descriptor, self._read, self._half = descriptor, 0, b""
        return left

    def look(self) -> None:
        """Count what has been written since the last look. It takes some hundred microseconds at most."""
        octets = os.pread(self._descriptor, _READ_BYTES, self._read)
        self._read += len(octets)
        *lines, half = (self._half + octets).split(b"\n")
        self._half = half[-_LEFT_BYTES:]
        for line in lines:
            reason = reason_of(line)
            if reason is not None:
                self.failed[reason] += 1
        if self._read > _EMPTY_BYTES:
            os.ftruncate(self._descriptor, 0)  # the core appends: it goes on at the beginning
            self._read = 0

    def end(self) -> None:
        """The process ends in order: nothing of the file is worth keeping."""
        self.look()
        os.ftruncate(self._descriptor, 0)
        self._read = 0


def begin() -> CoreLog:
    """Give the core a file in memory, and this process's own log what was standard error. Raises OSError."""
    os.environ[VERBOSITY] = "INFO"
    sys.stderr.flush()
    descriptor = os.memfd_create(FILE, os.MFD_CLOEXEC)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    own = os.dup(_ERRORS)
    os.dup2(descriptor, _ERRORS)
    stream = os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    sys.stderr = sys.__stderr__ = stream  # type: ignore[misc]  # the interpreter falls back to the second one
    _present.append(CoreLog(descriptor))
    return _present[-1]


_present: list[CoreLog] = []  # of this process, as the descriptor is; empty or one


def present() -> CoreLog | None:
    """Return what `begin` has begun in this process."""
    return _present[-1] if _present else None
