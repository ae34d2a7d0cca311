"""`smsgw ca` as its users see it: output, files and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from certs.bundle import Bundle
from certs.cli import ca
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid

DOMAIN = TrustDomain("example.org")


def run(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(ca, [str(argument) for argument in arguments])


def done(*arguments: object) -> dict[str, Any]:
    """Run a command that must succeed, with --json; what it printed."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make an authority with the command."""
    done("init", "--dir", tmp_path / "ca", "--trust-domain", "example.org")
    return tmp_path / "ca"


def test_init_issue_bundle(directory: Path, tmp_path: Path) -> None:
    """The three commands of the help make an identity that the bundle verifies."""
    said = done(
        *("issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/gw", "--dns", "gw.example.org"),
        *("--ttl", "30m", "--out", tmp_path / "tls" / "gw"),
    )
    svid = X509Svid.load(tmp_path / "tls" / "gw.pem", tmp_path / "tls" / "gw.key")
    assert (said["spiffe_id"], said["serial"]) == ("spiffe://example.org/gw", svid.serial)
    assert (said["cert"], said["key"]) == (str(tmp_path / "tls" / "gw.pem"), str(tmp_path / "tls" / "gw.key"))
    assert svid.facts.dns_names == ("gw.example.org",)
    done("bundle", "--dir", directory, "--out", tmp_path / "bundle.pem")
    bundle = Bundle.from_pem(DOMAIN, (tmp_path / "bundle.pem").read_bytes())
    svid.chain[1].verify_directly_issued_by(bundle.authorities[0])


def test_text_output(directory: Path, tmp_path: Path) -> None:
    """Without --json, people are told what was made and until when."""
    result = run("issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/gw", "--out", tmp_path / "gw")
    assert result.exit_code == 0
    assert "spiffe://example.org/gw until 20" in result.stdout
    assert str(tmp_path / "gw.key") in result.stdout


def test_bundle_formats(directory: Path) -> None:
    """The bundle is printed as PEM and in the SPIFFE format, and both hold the same root."""
    pem = run("bundle", "--dir", directory).stdout
    jwks = run("bundle", "--dir", directory, "--format", "spiffe").stdout
    assert Bundle.from_pem(DOMAIN, pem.encode()) == Bundle.from_jwks(DOMAIN, jwks.encode())
    assert done("bundle", "--dir", directory)["bundle"] == pem


def test_root_elsewhere_and_renewal(tmp_path: Path) -> None:
    """With --root-dir the root's key is apart, and a renewal needs it."""
    ca_dir, root = tmp_path / "ca", tmp_path / "root"
    said = done("init", "--dir", ca_dir, "--trust-domain", "example.org", "--root-dir", root)
    assert said["root_dir"] == str(root)
    assert not (ca_dir / "root.key").exists()
    refused = run("renew", "--dir", ca_dir)
    assert refused.exit_code == 1
    assert "AUTHORITY_MISSING" in refused.stderr
    assert "intermediate_expires_at" in done("renew", "--dir", ca_dir, "--root-dir", root)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["issue", "--spiffe-id", "spiffe://other.org/gw", "--out", "x"], "PROFILE"),
        (["issue", "--spiffe-id", "spiffe://example.org", "--out", "x"], "PROFILE"),
        (["issue", "--spiffe-id", "spiffe://example.org/gw", "--ttl", "48h", "--out", "x"], "PROFILE"),
        (["issue", "--spiffe-id", "spiffe://example.org/gw", "--dns", "*.org", "--out", "x"], "PROFILE"),
        (["init", "--trust-domain", "example.org"], "AUTHORITY"),
        (["serve", "--svids", "nothing.yaml"], "SVID_FILE"),
    ],
    ids=["other domain", "no path", "too long", "wildcard", "exists", "no list"],
)
def test_refusals(directory: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str) -> None:
    """What is refused ends with 1, says why for people and for machines, and writes nothing."""
    monkeypatch.chdir(directory.parent)
    plain = run(arguments[0], "--dir", directory, *arguments[1:])
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert f"[{reason}]" in plain.stderr
    machine = run(arguments[0], "--dir", directory, *arguments[1:], "--json")
    assert machine.exit_code == 1
    assert json.loads(machine.stdout)["error"]["reason"] == reason
    assert [path.name for path in directory.parent.iterdir()] == ["ca"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["issue", "--dir", "x", "--spiffe-id", "spiffe://EXAMPLE.org/gw", "--out", "x"],
        ["issue", "--dir", "x", "--spiffe-id", "spiffe://example.org/gw", "--ttl", "soon", "--out", "x"],
        ["issue", "--dir", "x", "--out", "x"],
        ["init", "--dir", "x", "--trust-domain", "spiffe://example.org"],
        ["init", "--trust-domain", "example.org"],
        ["bundle", "--dir", "x", "--format", "der"],
        ["dev-carrier"],
        ["nothing"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    """Wrong usage ends with 2 and explains itself."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_no_authority(tmp_path: Path) -> None:
    """Without an authority, the command that makes one is named."""
    result = run("bundle", "--dir", tmp_path / "none")
    assert result.exit_code == 1
    assert "smsgw ca init --dir" in result.stderr


def test_dev_carrier(tmp_path: Path) -> None:
    """The simulator's certificate is made, and said to be for the simulator only."""
    result = run("dev-carrier", "--out", tmp_path)
    assert result.exit_code == 0
    assert "FOR THE SIMULATOR ONLY" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["carrier-ca.pem", "carrier.key", "carrier.pem"]


@pytest.mark.parametrize("command", [None, *sorted(ca.commands)])
def test_help_teaches(command: str | None) -> None:
    """Each command's help explains it with an example."""
    result = run(*([command] if command else []), "--help")
    assert result.exit_code == 0
    assert "smsgw ca " in result.stdout


SVIDS = """\
- spiffe_id: spiffe://example.org/gateway
  dns: gateway.example.org
  out: tls/gateway
- spiffe_id: spiffe://example.org/billing
  ttl: 5m
  out: tls/billing
"""


@pytest.fixture
def serving(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `ca serve` on a list of two, and end it whatever happens."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from certs.cli import ca; ca()",
            "serve",
            "--dir",
            directory,
            "--svids",
            path,
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"},
    )
    killer = threading.Timer(30, process.kill)  # bounds every wait below
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve(serving: subprocess.Popen[str], directory: Path, number: signal.Signals) -> None:
    """`ca serve` issues what is missing, says that it is ready, and ends with 0 when told to."""
    assert serving.stdout is not None
    said = [json.loads(serving.stdout.readline()) for _ in range(3)]
    assert [line["event"] for line in said] == ["issued", "issued", "ready"]
    assert said[2]["svids"] == 2
    for line, name in zip(said, ("gateway", "billing"), strict=False):
        svid = X509Svid.load(directory.parent / "tls" / f"{name}.pem", directory.parent / "tls" / f"{name}.key")
        assert (line["serial"], str(svid.spiffe_id)) == (svid.serial, f"spiffe://example.org/{name}")
    serving.send_signal(number)
    assert serving.wait(20) == 0


def test_serve_that_cannot_issue(directory: Path) -> None:
    """A list whose first round fails ends with 1 instead of a line that says ready."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    (directory.parent / "tls").write_bytes(b"")
    before = signal.getsignal(signal.SIGTERM)
    result = run("serve", "--dir", directory, "--svids", path)
    assert result.exit_code == 1
    assert signal.getsignal(signal.SIGTERM) is before
    assert "ready" not in result.output
    assert "[SVID_FILE]" in result.stderr
