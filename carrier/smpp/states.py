"""Who may send which PDU in which state of a session: SMPP 3.4 §2.2, §2.3 (table 2-1), as data.

Two departures, both towards tolerance: enquire_link and generic_nack pass in every state but CLOSED, and replace_sm
passes on a transceiver, as SMPP 5.0 §2.4 corrects.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from carrier.smpp.constants import CommandId


class SessionState(enum.Enum):
    """The states of SMPP 3.4 §2.2, and CLOSED."""

    OPEN = "open"  # connected, not bound
    BOUND_TX = "bound_tx"
    BOUND_RX = "bound_rx"
    BOUND_TRX = "bound_trx"
    UNBOUND = "unbound"  # an unbind was answered: the connection is about to be closed
    CLOSED = "closed"


class Side(enum.Enum):
    """The two ends of a session."""

    ESME = "esme"
    SMSC = "smsc"

    @property
    def peer(self) -> Side:
        """The other end."""
        return Side.SMSC if self is Side.ESME else Side.ESME


_S, _C = SessionState, CommandId
_OPEN = frozenset({_S.OPEN})
_BOUND = frozenset({_S.BOUND_TX, _S.BOUND_RX, _S.BOUND_TRX})
_TX = frozenset({_S.BOUND_TX, _S.BOUND_TRX})
_RX = frozenset({_S.BOUND_RX, _S.BOUND_TRX})
_ANY = frozenset(SessionState) - {_S.CLOSED}
_LEAVING = _BOUND | {_S.UNBOUND}

_BY_ESME = {
    _C.BIND_TRANSMITTER: _OPEN,
    _C.BIND_RECEIVER: _OPEN,
    _C.BIND_TRANSCEIVER: _OPEN,
    _C.SUBMIT_SM: _TX,
    _C.SUBMIT_MULTI: _TX,
    _C.DATA_SM: _TX,
    _C.DATA_SM_RESP: _RX,
    _C.QUERY_SM: _TX,
    _C.CANCEL_SM: _TX,
    _C.REPLACE_SM: _TX,
    _C.DELIVER_SM_RESP: _RX,
}
_BY_SMSC = {
    _C.OUTBIND: _OPEN,
    _C.BIND_TRANSMITTER_RESP: _OPEN,
    _C.BIND_RECEIVER_RESP: _OPEN,
    _C.BIND_TRANSCEIVER_RESP: _OPEN,
    _C.SUBMIT_SM_RESP: _TX,
    _C.SUBMIT_MULTI_RESP: _TX,
    _C.DATA_SM: _RX,
    _C.DATA_SM_RESP: _TX,
    _C.QUERY_SM_RESP: _TX,
    _C.CANCEL_SM_RESP: _TX,
    _C.REPLACE_SM_RESP: _TX,
    _C.DELIVER_SM: _RX,
    _C.ALERT_NOTIFICATION: _RX,
}
_BY_BOTH = {
    _C.UNBIND: _BOUND,
    _C.UNBIND_RESP: _LEAVING,
    _C.ENQUIRE_LINK: _ANY,
    _C.ENQUIRE_LINK_RESP: _ANY,
    _C.GENERIC_NACK: _ANY,
}

PERMITTED: Mapping[tuple[Side, int], frozenset[SessionState]] = MappingProxyType(
    {(Side.ESME, int(command)): states for command, states in (_BY_ESME | _BY_BOTH).items()}
    | {(Side.SMSC, int(command)): states for command, states in (_BY_SMSC | _BY_BOTH).items()}
)
"""(sender, command_id) to the states in which it may be sent; an absent row may never be."""

TRANSITIONS: Mapping[tuple[SessionState, int], SessionState] = MappingProxyType(
    {
        (_S.OPEN, int(_C.BIND_TRANSMITTER_RESP)): _S.BOUND_TX,
        (_S.OPEN, int(_C.BIND_RECEIVER_RESP)): _S.BOUND_RX,
        (_S.OPEN, int(_C.BIND_TRANSCEIVER_RESP)): _S.BOUND_TRX,
        (_S.BOUND_TX, int(_C.UNBIND_RESP)): _S.UNBOUND,
        (_S.BOUND_RX, int(_C.UNBIND_RESP)): _S.UNBOUND,
        (_S.BOUND_TRX, int(_C.UNBIND_RESP)): _S.UNBOUND,
    }
)
"""The state after a successful response has passed, in either direction."""

BOUND_STATES = _BOUND


COMMANDS_OF: Mapping[tuple[Side, SessionState], frozenset[int]] = MappingProxyType(
    {
        (side, state): frozenset(
            command for (sender, command), states in PERMITTED.items() if sender is side and state in states
        )
        for side in Side
        for state in SessionState
    }
)
"""(sender, state) to what it may send then: the same table turned round, for a look-up per PDU."""


def may_send(side: Side, command_id: int, state: SessionState) -> bool:
    """Say whether `side` may send `command_id` in `state`."""
    return state in PERMITTED.get((side, command_id), frozenset())
