"""What statuses mean: the default table, and what a profile makes of it."""

from __future__ import annotations

import pytest

from carrier.profile import CarrierProfile
from carrier.smpp.constants import Status
from carrier.statuses import DEFAULTS, Action, action_for, with_overrides
from tests.carrier.driver import profile_of

A = Action


def profile(**overrides: Action) -> CarrierProfile:
    """Return a profile that overrides statuses by name."""
    return profile_of(1, statuses=with_overrides({int(Status[name]): action for name, action in overrides.items()}))


def test_every_error_has_one_fate() -> None:
    """Each status of the specification is either tried again or final, never both and never neither."""
    assert set(DEFAULTS) == {int(status) for status in Status if status}
    assert all((A.RETRY in action) != (A.FAIL in action) for action in DEFAULTS.values())


@pytest.mark.parametrize("status", [Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL])
def test_a_busy_carrier_is_slowed_down(status: Status) -> None:
    """Row 12: throttling and a full queue are temporary, and cut the pace."""
    assert action_for(profile(), status) == A.RETRY | A.SLOW_DOWN | A.FAIL_OVER


@pytest.mark.parametrize("status", [Status.ESME_RSYSERR, Status.ESME_RX_T_APPN])
def test_an_ill_carrier_is_tried_again(status: Status) -> None:
    """Row 12: a system error and a temporary application error are temporary."""
    assert action_for(profile(), status) == A.RETRY | A.FAIL_OVER


@pytest.mark.parametrize("status", [0xC3, 0xC4, Status.ESME_RINVDSTADR, Status.ESME_RINVMSGLEN, 0x45B, 0xFFFFFFFF])
def test_the_last_word(status: int) -> None:
    """Row 19: missing and invalid TLVs, wrong messages and statuses that nobody knows are final."""
    assert action_for(profile(), status) is A.FAIL


def test_a_profile_overrides() -> None:
    """Row 19: what a profile says goes before the table, and leaves the rest of it alone."""
    changed = profile(ESME_RSYSERR=A.FAIL, ESME_RINVDSTADR=A.RETRY | A.REBIND)
    assert action_for(changed, Status.ESME_RSYSERR) is A.FAIL
    assert action_for(changed, Status.ESME_RINVDSTADR) == A.RETRY | A.REBIND
    assert action_for(changed, Status.ESME_RTHROTTLED) == DEFAULTS[Status.ESME_RTHROTTLED]


def test_a_lost_bind_is_renewed() -> None:
    """A carrier that no longer knows the bind gets a new one, and the message goes again."""
    assert A.REBIND in action_for(profile(), Status.ESME_RINVBNDSTS)
    assert A.RETRY in action_for(profile(), Status.ESME_RINVBNDSTS)
