"""The kinds of a carrier's settings read what they show, and refuse what is outside."""

from __future__ import annotations

import pytest

from carrier.smpp.constants import Status
from carrier.statuses import Action, action_for
from gateway.config.carrier_kinds import StatusActions, StatusCode
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
