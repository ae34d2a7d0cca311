"""openssl judges the revocation lists: their form, paths checked against them, and TLS between peers."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certs.cli.conftest import done
from tests.certs.cli.test_authorities import the
from tests.certs.cli.test_serving import served

pytestmark = pytest.mark.interop
BOUND_S = 60


def openssl(*words: object, stdin: bytes = b"", timeout: float = BOUND_S) -> subprocess.CompletedProcess[bytes]:
    """Run openssl."""
    command = ["openssl", *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """Make an authority whose root is apart, and two SVIDs of which one is revoked."""
    directory = tmp_path / "ca"
    done("init", "--dir", directory, "--trust-domain", "example.org", "--root-dir", tmp_path / "root")
    for name in ("good", "bad"):
        done("issue", "--dir", directory, "--spiffe-id", f"spiffe://example.org/{name}", "--dns", f"{name}.example.org",
             "--out", tmp_path / name)  # fmt: skip
    done("revoke", "--dir", directory, "--spiffe-id", "spiffe://example.org/bad", "--reason", "stolen",
         "--code", "key-compromise")  # fmt: skip
    done("crl", "--dir", directory, "--out", tmp_path / "crls.pem")
    trusted = (directory / "root.pem").read_bytes() + (tmp_path / "crls.pem").read_bytes()
    (tmp_path / "trusted.pem").write_bytes(trusted)
    return directory


def test_the_form_of_a_list(ca: Path, tmp_path: Path) -> None:
    """openssl reads a list as version 2, verifies it by its issuer, and shows number, key id and reason."""
    path, chain = tmp_path / "one.crl", tmp_path / "good.pem"
    key_id = the(ca, "active")
    done("crl", "--dir", ca, "--authority", key_id, "--format", "der", "--out", path)
    shown = openssl("crl", "-inform", "DER", "-in", path, "-CAfile", chain, "-noout", "-text")
    said = shown.stdout.decode()
    assert "verify OK" in shown.stderr.decode(), shown.stderr
    for wanted in ("Version 2", "ecdsa-with-SHA256", "X509v3 CRL Number", "Key Compromise"):
        assert wanted in said, said
    assert ":".join(key_id[at : at + 2] for at in range(0, 40, 2)).upper() in said
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "other.key")
    openssl(
        "req", "-x509", "-new", "-key", tmp_path / "other.key", "-subj", "/CN=other", "-out", tmp_path / "other.pem"
    )
    foreign = openssl("crl", "-inform", "DER", "-in", path, "-CAfile", tmp_path / "other.pem", "-noout")
    assert "verify OK" not in foreign.stderr.decode()


def verify(name: str, tmp_path: Path, *words: object) -> tuple[int, str]:
    """Verify an SVID as a peer that looks at lists does."""
    leaf = tmp_path / f"{name}.pem"
    found = openssl("verify", "-x509_strict", *words, "-CAfile", tmp_path / "trusted.pem", "-untrusted", leaf, leaf)
    return found.returncode, found.stderr.decode()


@pytest.mark.parametrize("check", [("-crl_check",), ("-crl_check", "-crl_check_all")])
def test_paths(ca: Path, tmp_path: Path, check: tuple[str, ...]) -> None:
    """The revoked SVID is refused for that, the good one accepted, with the leaf's list and with all on the path."""
    assert verify("good", tmp_path, *check) == (0, "")
    code, said = verify("bad", tmp_path, *check)
    assert (code, "certificate revoked" in said) == (2, True)
    assert verify("bad", tmp_path) == (0, ""), "who does not look at lists is not told"


def test_a_revoked_intermediate(ca: Path, tmp_path: Path) -> None:
    """After its revocation with the root's key, all below an intermediate is refused by who checks the whole path."""
    active = the(ca, "active")
    done("taint", "--dir", ca, active)
    done("revoke", "--dir", ca, active, "--root-dir", tmp_path / "root")
    lists = tmp_path / "crls.pem"
    before = lists.read_bytes()
    done("crl", "--dir", ca, "--out", lists)
    after = lists.read_bytes()  # first: of two lists of one second, openssl takes the first
    (tmp_path / "trusted.pem").write_bytes((ca / "root.pem").read_bytes() + after + before)
    code, said = verify("good", tmp_path, "-crl_check", "-crl_check_all")
    assert (code, "certificate revoked" in said) == (2, True), said
    done("issue", "--dir", ca, "--spiffe-id", "spiffe://example.org/new", "--out", tmp_path / "new")
    assert verify("new", tmp_path, "-crl_check", "-crl_check_all") == (0, "")


@contextmanager
def server(tmp_path: Path, name: str) -> Iterator[int]:
    """Run s_server, which demands certificates and looks at lists; gives its port."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", f"{name}.pem", "-key", f"{name}.key",
               "-cert_chain", f"{name}.pem", "-CAfile", "trusted.pem", "-Verify", "4", "-crl_check", "-crl_check_all",
               "-verify_return_error", "-naccept", "1"]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)  # fmt: skip
    try:
        assert process.stdout is not None
        said = b""
        while b"ACCEPT" not in said or not said.rstrip().rpartition(b":")[2].isdigit():
            ready, _, _ = select.select([process.stdout], [], [], BOUND_S)
            chunk = os.read(process.stdout.fileno(), 4096) if ready else b""
            assert chunk, said
            said += chunk
        yield int(said.rstrip().rpartition(b":")[2])
    finally:
        process.kill()
        process.communicate()


def connect(tmp_path: Path, port: int, name: str) -> tuple[int, str]:
    """Connect with s_client, which looks at lists as well; its status and what it said."""
    done_ = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-cert", tmp_path / f"{name}.pem",
                    "-key", tmp_path / f"{name}.key", "-cert_chain", tmp_path / f"{name}.pem",
                    "-CAfile", tmp_path / "trusted.pem", "-crl_check", "-crl_check_all", "-verify_return_error",
                    "-tls1_2", stdin=b"Q\n")  # fmt: skip
    return done_.returncode, (done_.stdout + done_.stderr).decode(errors="replace")


def test_tls(ca: Path, tmp_path: Path) -> None:
    """Good peers talk; a revoked client is refused by the server, and a revoked server by the client."""
    with server(tmp_path, "good") as port:
        code, said = connect(tmp_path, port, "good")
        assert (code, "Verify return code: 0 (ok)" in said) == (0, True), said
    with server(tmp_path, "good") as port:
        code, said = connect(tmp_path, port, "bad")
        assert (code, "alert certificate revoked" in said) == (1, True), said
    with server(tmp_path, "bad") as port:
        code, said = connect(tmp_path, port, "good")
        assert (code, "certificate revoked" in said) == (1, True), said


def test_a_distribution_point(ca: Path, tmp_path: Path) -> None:
    """openssl fetches the list from where a certificate says it is, from `ca serve`, and follows a revocation."""
    with served(ca, "--crl-dir", tmp_path / "crl", "--crl-listen", "127.0.0.1:0") as process:
        assert process.stdout is not None
        while '"ready"' not in (line := process.stdout.readline()):
            assert line
        port = line.partition('"crl_port": ')[2].partition(",")[0]
        done("crl", "--dir", ca, "--place", f"http://127.0.0.1:{port}/")
        made = done("issue", "--dir", ca, "--spiffe-id", "spiffe://example.org/cdp", "--out", tmp_path / "cdp")
        (tmp_path / "trusted.pem").write_bytes((ca / "root.pem").read_bytes())
        assert verify("cdp", tmp_path, "-crl_check", "-crl_download") == (0, "")
        done("revoke", "--dir", ca, "--serial", made["serial"], "--reason", "stolen")
        while '"revoked": 2' not in (line := process.stdout.readline()):
            assert line
        code, said = verify("cdp", tmp_path, "-crl_check", "-crl_download")
        assert (code, "certificate revoked" in said) == (2, True), said
