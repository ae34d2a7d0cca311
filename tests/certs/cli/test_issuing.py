"""`smsgw ca init|issue|renew|bundle|dev-carrier` as their users see them: output, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certs.bundle import Bundle
from certs.cli import ca
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from tests.certificates import TestAuthority
from tests.certs.cli.conftest import done, run

DOMAIN = TrustDomain("example.org")


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
    found = Bundle.from_jwks(DOMAIN, jwks.encode())
    assert Bundle.from_pem(DOMAIN, pem.encode()).authorities == found.authorities
    assert (found.sequence, found.refresh_hint_s) == (1, 300)
    assert done("bundle", "--dir", directory)["bundle"] == pem


def test_root_elsewhere(tmp_path: Path) -> None:
    """With --root-dir the root's key is apart."""
    ca_dir, root = tmp_path / "ca", tmp_path / "root"
    said = done("init", "--dir", ca_dir, "--trust-domain", "example.org", "--root-dir", root)
    assert said["root_dir"] == str(root)
    assert not (ca_dir / "root.key").exists()


def test_renewal(directory: Path, tmp_path: Path) -> None:
    """`ca renew` replaces an SVID by its next one, and refuses one that this authority did not issue."""
    done(
        "issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/gw", "--ttl", "30m", "--out", tmp_path / "gw"
    )
    before = X509Svid.load(tmp_path / "gw.pem", tmp_path / "gw.key")
    said = done("renew", "--dir", directory, "--svid", tmp_path / "gw")
    after = X509Svid.load(tmp_path / "gw.pem", tmp_path / "gw.key")
    assert (said["serial"], after.spiffe_id) == (after.serial, before.spiffe_id)
    assert after.serial != before.serial
    cert, key = TestAuthority().svid("/gw").write(tmp_path, "stranger")
    refused = run("renew", "--dir", directory, "--svid", cert.with_suffix(""), "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["error"]["reason"] == "UNTRUSTED"
    assert key.read_bytes() == (tmp_path / "stranger.key").read_bytes()


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
