"""What a command_status in a submit_sm_resp means for the message and for the link: a table that a profile overrides.

The statuses are those of SMPP 3.4 §5.1.3 and SMPP 5.0 §4.7.6; carriers add their own from 0x400 on. Pure data: the
pipeline acts on RETRY, FAIL and FAIL_OVER, the link on SLOW_DOWN and REBIND.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from carrier.smpp.constants import Status

if TYPE_CHECKING:
    from carrier.profile import CarrierProfile  # which has such a table


class Action(enum.Flag):
    """What is done about a status: one of RETRY and FAIL, and any of the others beside it."""

    RETRY = enum.auto()  # the message is sound, the carrier is busy or ill: it is sent again later
    FAIL = enum.auto()  # the carrier's last word on the message
    FAIL_OVER = enum.auto()  # another carrier may take it: with RETRY instead of waiting, with FAIL instead of failing
    SLOW_DOWN = enum.auto()  # the account's pace is cut, and recovers by itself
    REBIND = enum.auto()  # the bind is no good any more: unbind, connect and bind again


_A, _S = Action, Status
_BUSY = _A.RETRY | _A.SLOW_DOWN | _A.FAIL_OVER
_ILL = _A.RETRY | _A.FAIL_OVER
_NOT_HERE = _A.FAIL | _A.FAIL_OVER
_BIND_IS_LOST = _A.RETRY | _A.REBIND | _A.FAIL_OVER

OTHERWISE = Action.FAIL  # a status in no table: to send again what a carrier refuses would only be refused again
DEFAULTS: Mapping[int, Action] = MappingProxyType(
    {int(status): OTHERWISE for status in Status if status}
    | {
        int(_S.ESME_RTHROTTLED): _BUSY,
        int(_S.ESME_RMSGQFUL): _BUSY,
        int(_S.ESME_RSYSERR): _ILL,
        int(_S.ESME_RX_T_APPN): _ILL,
        # The carrier has forgotten who we are, or takes the bind for one of another kind.
        int(_S.ESME_RINVBNDSTS): _BIND_IS_LOST,
        int(_S.ESME_RINVSYSID): _BIND_IS_LOST,
        int(_S.ESME_RINVPASWD): _BIND_IS_LOST,
        # This account may not, or this carrier cannot: what it may and can differs from carrier to carrier.
        int(_S.ESME_RINVCMDID): _NOT_HERE,
        int(_S.ESME_RINVSRCADR): _NOT_HERE,
        int(_S.ESME_RINVSERTYP): _NOT_HERE,
        int(_S.ESME_RSUBMITFAIL): _NOT_HERE,
        int(_S.ESME_RX_R_APPN): _NOT_HERE,
        int(_S.ESME_RDELIVERYFAILURE): _NOT_HERE,
        int(_S.ESME_RUNKNOWNERR): _NOT_HERE,
        int(_S.ESME_RSERTYPUNAUTH): _NOT_HERE,
        int(_S.ESME_RPROHIBITED): _NOT_HERE,
        int(_S.ESME_RSERTYPUNAVAIL): _NOT_HERE,
        int(_S.ESME_RSERTYPDENIED): _NOT_HERE,
    }
)


def with_overrides(overrides: Mapping[int, Action]) -> Mapping[int, Action]:
    """Return the table of a profile: the defaults, and what it says otherwise."""
    return MappingProxyType(dict(DEFAULTS) | dict(overrides))


def action_for(profile: CarrierProfile, status: int) -> Action:
    """Return what `status`, not 0, of a submit_sm_resp of this carrier means: one look-up."""
    return profile.statuses.get(status, OTHERWISE)
