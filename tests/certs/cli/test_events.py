"""`smsgw ca events`, as an operator runs it."""

from __future__ import annotations

from pathlib import Path

from tests.certs.cli.conftest import done, run


def test_events(directory: Path, tmp_path: Path) -> None:
    """What commands did is shown, newest last, for people and for machines; it is whole."""
    issued = done("issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/billing", "--out", tmp_path / "b")
    done("revoke", "--dir", directory, "--serial", issued["serial"], "--reason", "laptop stolen")
    shown = done("events", "--dir", directory, "--limit", 2)["events"]
    assert [event["what"] for event in shown] == ["CERTIFICATE_ISSUED", "CERTIFICATE_REVOKED"]
    assert {event["serial"] for event in shown} == {issued["serial"]}
    assert shown[1]["detail"] == "laptop stolen"
    text = run("events", "--dir", directory).output
    assert "AUTHORITY_MADE" in text
    assert "spiffe://example.org/billing" in text.splitlines()[-1]
    after = done("events", "--dir", directory, "--after", shown[0]["seq"])["events"]
    assert after == shown[1:]
    only = done("events", "--dir", directory, "--what", "certificate-revoked", "--what", "token-made")["events"]
    assert only == shown[1:]
    whole = done("events", "--dir", directory, "--verify")
    assert whole == {"events": shown[1]["seq"], "hash": shown[1]["hash"]}
    assert done("events", "--dir", directory, "--verify", "--expect", shown[0]["hash"])["events"] == shown[1]["seq"]
    missing = run("events", "--dir", directory, "--verify", "--expect", "ab" * 32)
    assert (missing.exit_code, "NOT_RECORDED" in missing.output) == (1, True)
    assert run("events", "--dir", directory, "--expect", "ab").exit_code == 2
