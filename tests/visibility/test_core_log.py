"""What gRPC's core writes about handshakes: read, counted by reason, bounded, and kept apart from our own log."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from visibility.core_log import FILE, REASONS, CoreLog, reason_of

# As grpcio 1.80 writes them.
_LINE = "I1127 19:00:53.033942    8261 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "
_VERIFY = "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
_CONTEXT = ": Invalid certificate verification context"
LINES = {
    f"error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE{_CONTEXT}": "NO_CERTIFICATE",
    f"{_VERIFY}unable to get local issuer certificate": "UNTRUSTED",
    f"{_VERIFY}self signed certificate in certificate chain": "UNTRUSTED",
    f"{_VERIFY}certificate has expired": "EXPIRED",
    f"{_VERIFY}certificate is not yet valid": "NOT_YET_VALID",
    f"{_VERIFY}unsupported certificate purpose": "BAD_CERTIFICATE",
    f"error:10000438:SSL routines:OPENSSL_internal:TLSV1_ALERT_INTERNAL_ERROR{_CONTEXT}": "PEER_REFUSED",
    f"error:1000009c:SSL routines:OPENSSL_internal:HTTP_REQUEST{_CONTEXT}": "NOT_TLS",
    f"error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER{_CONTEXT}": "NOT_TLS",
    f"error:100000f0:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL{_CONTEXT}": "NO_COMMON_TLS",
    "error:10000001:SSL routines:OPENSSL_internal:SOMETHING_NEW": "OTHER",
}


@pytest.fixture
def core() -> Iterator[tuple[CoreLog, int]]:
    """Return a log, and a descriptor by which a core writes into it."""
    descriptor = os.memfd_create("core")
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    yield CoreLog(os.dup(descriptor)), descriptor
    os.close(descriptor)


@pytest.mark.parametrize(("text", "reason"), LINES.items())
def test_reasons(text: str, reason: str) -> None:
    """Each line of the core has its reason."""
    assert reason_of((_LINE + text).encode()) == reason


@given(st.binary(max_size=600))
def test_any_line(line: bytes) -> None:
    """Whatever stands in a line, the reason is one of the few, or the line is about something else."""
    assert reason_of(line) in {None, *REASONS}
    assert reason_of(_LINE.encode() + line.replace(b"\n", b"")) in REASONS


def test_lines_in_pieces(core: tuple[CoreLog, int]) -> None:
    """A line counts once, when it is whole, however it comes."""
    log, descriptor = core
    octets = f"{_LINE}{_VERIFY}certificate has expired\nW1127 something else\n".encode()
    for at in range(len(octets)):
        os.write(descriptor, octets[at : at + 1])
        log.look()
    assert log.failed == {"EXPIRED": 1}


def test_a_flood(core: tuple[CoreLog, int]) -> None:
    """The file is emptied when it has become long, and nothing that was read is counted twice."""
    log, descriptor = core
    line = f"{_LINE}{_VERIFY}certificate has expired\n".encode()
    written = 0
    while written < 12_000:
        written += os.write(descriptor, 500 * line) // len(line)
        log.look()
    for _ in range(20):
        log.look()
    assert log.failed == {"EXPIRED": written}
    assert os.fstat(descriptor).st_size < 2 << 20


_PROGRAM = """
import os, sys
from pathlib import Path
from visibility import core_log
log = core_log.begin()
assert core_log.present() is log
folder = Path(sys.argv[1])
print("ours", file=sys.stderr)
os.write(2, b"early\\n")
left = log.keep_in(folder)
print("left", left, file=sys.stderr)
os.write(2, b"Handshake failed with error X: HTTP_REQUEST\\n")
log.look()
print("failed", dict(log.failed), file=sys.stderr)
if sys.argv[2] == "dies":
    os.write(2, b"the interpreter dies\\n")
    os.abort()
log.end()
"""


def run(folder: Path, how: str) -> list[str]:
    """Run a process that writes to descriptor 2 as the core does; the lines of its standard error."""
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), how], capture_output=True, text=True, timeout=60, check=False
    )
    assert (process.returncode == 0) == (how == "ends")
    return process.stderr.splitlines()


def test_in_a_process(tmp_path: Path) -> None:
    """Our own log stays on standard error, the core's goes into the file, and what a dead process left is found."""
    assert run(tmp_path, "ends") == ["ours", "left b''", "failed {'NOT_TLS': 1}"]
    assert (tmp_path / FILE).read_bytes() == b""
    assert run(tmp_path, "dies") == ["ours", "left b''", "failed {'NOT_TLS': 1}"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    (_, left, _) = run(tmp_path, "ends")
    assert left.endswith("the interpreter dies\\n'")


def test_a_file_that_is_a_link(tmp_path: Path) -> None:
    """Nobody makes the process write somewhere else."""
    target = tmp_path / "somewhere"
    (tmp_path / FILE).symlink_to(target)
    log = CoreLog(os.memfd_create("core"))
    with pytest.raises(OSError, match=r"loop|symbolic"):
        log.keep_in(tmp_path)
    assert not target.exists()
