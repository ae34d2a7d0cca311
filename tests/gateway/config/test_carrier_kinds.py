"""The kinds of a carrier's settings read what they show, and refuse what is outside."""

from __future__ import annotations

import hashlib

import pytest

from carrier.smpp.constants import Status
from carrier.statuses import Action, action_for
from gateway.config.carrier_kinds import SpkiPin, StatusActions, StatusCode
from tests.gateway.config.conftest import MINIMAL, Load, Problems

CARRIER = "carriers:\n  - {name: a, host: h, system_id: me, password_file: secret, statuses: {%s}}\n"


@pytest.mark.parametrize(
    ("text", "status", "shown"),
    [("ESME_RSYSERR", 8, "ESME_RSYSERR"), ("0x0000045B", 0x45B, "0x0000045B"), ("1115", 0x45B, "0x0000045B")],
)
def test_a_status_by_name_and_number(text: str, status: int, shown: str) -> None:
    """A status is its name or its number, and is shown by its name where it has one."""
    assert StatusCode().read(text) == status
    assert StatusCode().show(status) == shown
    assert StatusCode().read(shown) == status


@pytest.mark.parametrize("text", ["", "RSYSERR", "ESME_ROK", "0", "0x1FFFFFFFF", "4294967296", "-1"])
def test_no_status(text: str) -> None:
    """What names no error is refused."""
    with pytest.raises(ValueError, match="wants"):
        StatusCode().read(text)


def test_actions() -> None:
    """Words become actions, in any order, and come back."""
    assert StatusActions().read("slow_down retry") == Action.RETRY | Action.SLOW_DOWN
    assert StatusActions().read(StatusActions().show(Action.FAIL | Action.FAIL_OVER)) == Action.FAIL | Action.FAIL_OVER


@pytest.mark.parametrize("text", ["", "slow_down", "retry fail", "RETRY", "drop", "retry, rebind"])
def test_no_actions(text: str) -> None:
    """A message has one fate, and unknown words are refused."""
    with pytest.raises(ValueError, match="wants"):
        StatusActions().read(text)


def test_statuses_of_a_profile(loaded: Load, problems: Problems) -> None:
    """The profile has the table with what the file says otherwise; a bad entry is told with its key."""
    profile = loaded(CARRIER % "ESME_RSYSERR: fail, 0x0000045B: retry rebind").carriers[0]
    assert action_for(profile, Status.ESME_RSYSERR) is Action.FAIL
    assert action_for(profile, 0x45B) == Action.RETRY | Action.REBIND
    assert Action.RETRY in action_for(profile, Status.ESME_RTHROTTLED)
    ((_, key, text),) = problems(MINIMAL + CARRIER % "ESME_RSYSERR: ignore")
    assert (key, "none of them" in text) == ("carriers[0].statuses.ESME_RSYSERR", True)


HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "text", [HEX, HEX.upper(), ":".join(HEX[n : n + 2] for n in range(0, 64, 2)),
             "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
)  # fmt: skip
def test_pins(text: str) -> None:
    """A pin is base64 or hex, as the tools at hand write it."""
    assert SpkiPin().read(text) == hashlib.sha256(b"").digest()
    assert SpkiPin().read(SpkiPin().show(hashlib.sha256(b"").digest()).strip('"')) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("text", ["", HEX[:-2], "sha256/abc", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF", "z" * 64])
def test_no_pins(text: str) -> None:
    """What is no digest of 32 octets is refused."""
    with pytest.raises(ValueError, match="wants SHA-256"):
        SpkiPin().read(text)


TLS = "carriers:\n  - {name: a, host: %s, system_id: me, password_file: secret, %s}\n"


def test_tls_of_a_profile(loaded: Load, problems: Problems) -> None:
    """TLS 1.3 unless the file says 1.2; pins; and pins without TLS are a contradiction."""
    plain = loaded(TLS % ("h", "")).carriers[0].tls
    assert plain is not None
    assert (plain.tls_1_2, plain.spki_sha256) == (False, ())
    given = loaded(TLS % ("h", f"tls: {{min_version: '1.2', spki_sha256: [{HEX}]}}")).carriers[0].tls
    assert given is not None
    assert (given.tls_1_2, given.spki_sha256) == (True, (hashlib.sha256(b"").digest(),))
    ((_, key, _),) = problems(MINIMAL + TLS % ("localhost", f"insecure: true, tls: {{spki_sha256: [{HEX}]}}"))
    assert key == "carriers[0].insecure"
    ((_, key, text),) = problems(MINIMAL + TLS % ("h", "tls: {min_version: '1.1'}"))
    assert (key, "1.2 or 1.3" in text) == ("carriers[0].tls.min_version", True)
