"""`smsgw ca show|list|rotate|taint|revoke` as their users see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from tests.certs.cli.conftest import done, run


def states(directory: Path) -> dict[str, str]:
    """Return each authority's state by its key id, as `ca show` tells it."""
    return {found["key_id"]: found["state"] for found in done("show", "--dir", directory)["authorities"]}


def the(directory: Path, state: str, kind: str = "intermediate") -> str:
    """Return the key id of the one authority in this state."""
    found = done("show", "--dir", directory)["authorities"]
    (key_id,) = [one["key_id"] for one in found if (one["state"], one["kind"]) == (state, kind)]
    assert isinstance(key_id, str)
    return key_id


def test_show_tells_the_authorities(directory: Path) -> None:
    """A new authority has a root, an active intermediate and a standby, for people and machines."""
    assert sorted(states(directory).values()) == ["active", "active", "standby"]
    said = run("show", "--dir", directory).stdout
    assert the(directory, "standby") in said
    assert said.count("until 20") == 3


def test_list_and_show_what_was_issued(directory: Path, tmp_path: Path) -> None:
    """What was issued is listed by its end, narrowed by time, identity and authority, and shown by its number."""
    for name, ttl in (("billing", "5m"), ("gw", "2h")):
        done(
            "issue",
            "--dir",
            directory,
            "--spiffe-id",
            f"spiffe://example.org/{name}",
            "--ttl",
            ttl,
            "--out",
            tmp_path / name,
        )
    listed = done("list", "--dir", directory)["certificates"]
    assert [found["spiffe_id"].rpartition("/")[2] for found in listed] == ["billing", "gw"]
    assert done("list", "--dir", directory, "--expiring", "10m")["certificates"] == listed[:1]
    assert done("list", "--dir", directory, "--spiffe-id", "spiffe://example.org/gw")["certificates"] == listed[1:]
    assert done("list", "--dir", directory, "--authority", the(directory, "active"))["certificates"] == listed
    assert done("list", "--dir", directory, "--authority", the(directory, "standby"))["certificates"] == []
    assert run("list", "--dir", directory, "--limit", 1).stdout.splitlines()[1].startswith("(the first 1")
    colons = ":".join(listed[1]["serial"].zfill(40)[at : at + 2] for at in range(0, 40, 2)).upper()
    assert done("show", "--dir", directory, colons) == listed[1]
    assert listed[1]["attested_by"] == "local"
    missing = run("show", "--dir", directory, "abcdef", "--json")
    assert (missing.exit_code, json.loads(missing.stdout)["error"]["reason"]) == (1, "NOT_RECORDED")


def test_planned_rotation(directory: Path) -> None:
    """prepare and activate go round; each says what is next when it cannot be done."""
    standby = the(directory, "standby")
    refused = run("rotate", "prepare", "--dir", directory)
    assert (refused.exit_code, "activate it" in refused.stderr) == (1, True)
    assert done("rotate", "activate", "--dir", directory)["authority"]["key_id"] == standby
    made = done("rotate", "prepare", "--dir", directory)["authority"]
    assert (the(directory, "active"), the(directory, "standby")) == (standby, made["key_id"])


def test_another_root(directory: Path, tmp_path: Path) -> None:
    """The way to another root that the help shows works, and the old root leaves the bundle at its end."""
    old = the(directory, "active", "root")
    new = done("rotate", "root", "--dir", directory, "--root-dir", tmp_path / "root2")["authority"]["key_id"]
    assert run("bundle", "--dir", directory).stdout.count("BEGIN CERTIFICATE") == 2
    done("revoke", "--dir", directory, the(directory, "standby"))
    done("rotate", "prepare", "--dir", directory, "--root-dir", tmp_path / "root2")
    done("rotate", "activate", "--dir", directory)
    done("revoke", "--dir", directory, old)
    assert the(directory, "active", "root") == new
    assert run("bundle", "--dir", directory).stdout.count("BEGIN CERTIFICATE") == 1


def test_taint_and_revoke(directory: Path, tmp_path: Path) -> None:
    """A taint names who issues now and how many SVIDs are to be replaced; a revocation is for what issues no more."""
    done("issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/gw", "--out", tmp_path / "gw")
    active, standby = the(directory, "active"), the(directory, "standby")
    assert run("revoke", "--dir", directory, active).exit_code == 1
    said = run("taint", "--dir", directory, active[:12], "--suspect-from", "2020-01-01T00:00:00Z")
    assert said.exit_code == 0, said.output
    assert f"issues:  intermediate  active    {standby}" in said.stdout
    assert "1 valid SVIDs of it are on record" in said.stdout
    refused = run("renew", "--dir", directory, "--svid", tmp_path / "gw", "--json")
    assert json.loads(refused.stdout)["error"]["reason"] == "AUTHORITY_STATE"
    assert done("revoke", "--dir", directory, active)["authorities"][0]["state"] == "revoked"


@pytest.mark.parametrize("moment", ["yesterday", "2026-01-01", "2026-01-01T00:00:00"])
def test_moments_have_a_zone(directory: Path, moment: str) -> None:
    """A moment without its zone is wrong usage."""
    result = run("taint", "--dir", directory, the(directory, "active"), "--suspect-from", moment)
    assert result.exit_code == 2
    assert "2026-11-27T10:00:00Z" in result.stderr


@pytest.mark.parametrize("key_id", ["", "0", "ffffffffffffffffffff"])
def test_unknown_authority(directory: Path, key_id: str) -> None:
    """A key id that names none, or could name several, is refused."""
    assert run("taint", "--dir", directory, key_id).exit_code == 1


def issue(directory: Path, out: Path, name: str = "gw") -> str:
    """Issue a certificate; its serial number."""
    made = done("issue", "--dir", directory, "--spiffe-id", f"spiffe://example.org/{name}", "--out", out)
    assert isinstance(made["serial"], str)
    return made["serial"]


def test_revoke_certificates(directory: Path, tmp_path: Path) -> None:
    """With the folder alone, a certificate or an identity is revoked, listed with its reason, and renewed no more."""
    serial, kept = issue(directory, tmp_path / "gw"), issue(directory, tmp_path / "other", "other")
    why = ("--reason", "laptop stolen", "--code", "key-compromise")
    said = run("revoke", "--dir", directory, "--serial", serial, *why)
    assert (said.exit_code, serial in said.stdout) == (0, True), said.output
    (listed,) = done("list", "--dir", directory, "--revoked")["certificates"]
    assert (listed["serial"], listed["revoked_for"], listed["revoked_because"]) == (
        serial,
        "key-compromise",
        "laptop stolen",
    )
    assert done("show", "--dir", directory, serial)["revoked_by"].startswith("uid ")
    assert "revoked_at" not in done("show", "--dir", directory, kept)
    assert "laptop stolen" in run("list", "--dir", directory, "--revoked").stdout
    refused = run("renew", "--dir", directory, "--svid", tmp_path / "gw", "--json")
    assert json.loads(refused.stdout)["error"]["reason"] == "REVOKED"
    whole = done("revoke", "--dir", directory, "--spiffe-id", "spiffe://example.org/other", "--reason", "gone")
    assert [one["serial"] for one in whole["certificates"]] == [kept]
    nothing = run("revoke", "--dir", directory, "--spiffe-id", "spiffe://example.org/none", "--reason", "gone")
    assert (nothing.exit_code, "none is revoked" in nothing.stdout) == (0, True)


def test_what_revoke_is_not_told(directory: Path) -> None:
    """One thing is named, with a reason for certificates; what is not on record, or of another domain, is an error."""
    for words in (
        (),
        ("abc", "--serial", "1f"),
        ("--serial", "1f"),
        ("--serial", "1f", "--spiffe-id", "spiffe://a/b"),
        ("--serial", "1f", "--reason", "x", "--root-dir", str(directory)),
    ):
        assert run("revoke", "--dir", directory, *words).exit_code == 2
    for words, reason in (
        (("--serial", "1f"), "NOT_RECORDED"),
        (("--spiffe-id", "spiffe://other.org/x"), "WRONG_TRUST_DOMAIN"),
    ):
        refused = run("revoke", "--dir", directory, *words, "--reason", "why", "--json")
        assert (refused.exit_code, json.loads(refused.stdout)["error"]["reason"]) == (1, reason)
    assert run("list", "--dir", directory, "--revoked", "--expiring", "5m").exit_code == 2


def test_crl(directory: Path, tmp_path: Path) -> None:
    """`ca crl` makes every list anew, prints them or writes one, and says what each holds."""
    serial = issue(directory, tmp_path / "gw")
    done("revoke", "--dir", directory, "--serial", serial, "--reason", "stolen")
    made = done("crl", "--dir", directory)
    assert sorted(one["revoked"] for one in made["lists"]) == [0, 0, 1]
    before = {one["key_id"]: one["number"] for one in made["lists"]}
    assert made["crls"].count("BEGIN X509 CRL") == 3
    assert run("crl", "--dir", directory).stdout.count("BEGIN X509 CRL") == 3
    out, active = tmp_path / "one.crl", the(directory, "active")
    (one,) = done("crl", "--dir", directory, "--authority", active, "--format", "der", "--out", out)["lists"]
    assert one["key_id"] == active
    assert one["number"] > before[active]
    crl = x509.load_der_x509_crl(out.read_bytes())
    assert [f"{entry.serial_number:x}" for entry in crl] == [serial]
    for words in (("--format", "der"), ("--lifetime", "5m"), ("--lifetime", "169h")):
        assert run("crl", "--dir", directory, *words).exit_code == 2
    refused = run("crl", "--dir", directory, "--place", "https://crl.example.org/", "--json")
    assert json.loads(refused.stdout)["error"]["reason"] == "PROFILE"


def test_revoke_an_intermediate_on_its_roots_list(tmp_path: Path) -> None:
    """With the root's key at hand its list says so at once; without it, it is said what to do."""
    ca, root = tmp_path / "ca", tmp_path / "root"
    done("init", "--dir", ca, "--trust-domain", "example.org", "--root-dir", root)
    said = run("revoke", "--dir", ca, the(ca, "standby"))
    assert (said.exit_code, "smsgw ca crl --root-dir" in said.stderr) == (0, True)
    held = the(ca, "active", "root")

    def listed(*words: object) -> int:
        (one,) = [one for one in done("crl", "--dir", ca, *words)["lists"] if one["key_id"] == held]
        count = one["revoked"]
        assert isinstance(count, int)
        return count

    assert listed() == 0
    assert listed("--root-dir", root) == 1
    done("rotate", "prepare", "--dir", ca, "--root-dir", root)
    standby = the(ca, "standby")
    assert "--root-dir" not in run("revoke", "--dir", ca, standby, "--root-dir", root).stderr
    assert listed() == 2
