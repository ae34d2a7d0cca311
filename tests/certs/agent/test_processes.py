"""Who is at the other end of a socket, as the kernel says."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certs.agent.processes import Attestor, ProcessFacts
from certs.errors import AttestationRefused
from smsgw.v1.certificate_service_pb2 import RegistrationEntry

CLIENT = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nsys.stdin.read()\n"


@contextmanager
def connected(folder: Path, python: Path) -> Iterator[tuple[socket.socket, subprocess.Popen[str]]]:
    """Give our end of a connection that another process made, run by this executable."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)
        process = subprocess.Popen(
            [python, "-c", CLIENT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONHOME": sys.base_prefix},
        )  # fmt: skip
        try:
            accepted, _ = listener.accept()
            with accepted:
                yield accepted, process
        finally:
            process.kill()
            process.communicate()


def real_python() -> Path:
    """Return the interpreter itself, without links."""
    return Path(sys.executable).resolve()


def test_another_process(tmp_path: Path) -> None:
    """User, group, path and digest of the process that connected are told; the digest only when it is asked for."""
    with connected(tmp_path, real_python()) as (ours, process):
        facts = Attestor().attest(ours, digest=True)
        digest = hashlib.sha256(real_python().read_bytes()).hexdigest()
        assert facts == ProcessFacts(
            pid=process.pid, uid=os.getuid(), gid=os.getgid(), path=str(real_python()), sha256=digest
        )
        assert Attestor().attest(ours, digest=False).sha256 is None


def test_digest_is_of_what_runs(tmp_path: Path) -> None:
    """When the file at the path was exchanged, the path is not believed, and the digest is of the file that runs."""
    copy = tmp_path / "python"
    shutil.copyfile(real_python(), copy)
    copy.chmod(0o700)
    with connected(tmp_path, copy) as (ours, _):
        copy.unlink()
        copy.write_bytes(b"another")
        facts = Attestor().attest(ours, digest=True)
        assert facts.path is None
        assert facts.sha256 == hashlib.sha256(real_python().read_bytes()).hexdigest()


def test_a_process_that_has_ended(tmp_path: Path) -> None:
    """A process that is gone is not believed: its number may be another's by now."""
    with connected(tmp_path, real_python()) as (ours, process):
        process.kill()
        process.wait(30)
        with pytest.raises(AttestationRefused):
            Attestor().attest(ours, digest=False)


def test_no_unix_socket() -> None:
    """A socket without credentials gives no facts."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        pytest.raises(AttestationRefused),
    ):
        Attestor().attest(client, digest=False)


FACTS = ProcessFacts(pid=1, uid=1001, gid=1002, path="/usr/bin/billing", sha256="ab" * 32)


@pytest.mark.parametrize(
    ("selectors", "fits"),
    [
        ({"uid": 1001}, True),
        ({"uid": 1001, "gid": 1002, "path": "/usr/bin/billing", "sha256": "ab" * 32}, True),
        ({}, False),
        ({"gid": 1002}, False),
        ({"uid": 0}, False),
        ({"uid": 1001, "gid": 0}, False),
        ({"uid": 1001, "path": "/usr/bin/bill"}, False),
        ({"uid": 1001, "sha256": "cd" * 32}, False),
    ],
)
def test_every_selector_must_hold(selectors: dict[str, object], fits: bool) -> None:
    """An entry fits when each of its selectors does; one without a uid fits nobody."""
    assert FACTS.fits(RegistrationEntry(**selectors)) is fits  # type: ignore[arg-type]  # fields by name


def test_what_could_not_be_seen_fits_nothing() -> None:
    """Without path and digest, an entry that asks for them does not fit."""
    unseen = ProcessFacts(pid=1, uid=1001, gid=1002)
    assert unseen.fits(RegistrationEntry(uid=1001))
    assert not unseen.fits(RegistrationEntry(uid=1001, path="/usr/bin/billing"))
    assert not unseen.fits(RegistrationEntry(uid=1001, sha256="ab" * 32))
