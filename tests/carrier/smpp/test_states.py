"""The state table against SMPP 3.4 §2.3."""

from __future__ import annotations

import pytest

from carrier.smpp.constants import RESPONSE_BIT, CommandId
from carrier.smpp.layouts import LAYOUTS
from carrier.smpp.states import PERMITTED, TRANSITIONS, SessionState, Side, may_send

ESME, SMSC = Side.ESME, Side.SMSC
OPEN, TX, RX, TRX = SessionState.OPEN, SessionState.BOUND_TX, SessionState.BOUND_RX, SessionState.BOUND_TRX


@pytest.mark.parametrize(
    ("side", "command_id", "states"),
    [
        (ESME, CommandId.BIND_TRANSCEIVER, {OPEN}),
        (SMSC, CommandId.BIND_TRANSCEIVER, set()),
        (SMSC, CommandId.BIND_TRANSCEIVER_RESP, {OPEN}),
        (SMSC, CommandId.OUTBIND, {OPEN}),
        (ESME, CommandId.SUBMIT_SM, {TX, TRX}),
        (SMSC, CommandId.SUBMIT_SM, set()),
        (SMSC, CommandId.SUBMIT_SM_RESP, {TX, TRX}),
        (SMSC, CommandId.DELIVER_SM, {RX, TRX}),
        (ESME, CommandId.DELIVER_SM, set()),
        (ESME, CommandId.DELIVER_SM_RESP, {RX, TRX}),
        (ESME, CommandId.DATA_SM, {TX, TRX}),
        (SMSC, CommandId.DATA_SM, {RX, TRX}),
        (ESME, CommandId.QUERY_SM, {TX, TRX}),
        (ESME, CommandId.CANCEL_SM, {TX, TRX}),
        (SMSC, CommandId.ALERT_NOTIFICATION, {RX, TRX}),
        (ESME, CommandId.UNBIND, {TX, RX, TRX}),
        (SMSC, CommandId.UNBIND, {TX, RX, TRX}),
        (ESME, CommandId.ENQUIRE_LINK, {OPEN, TX, RX, TRX, SessionState.UNBOUND}),
    ],
)
def test_rows_of_the_specification(side: Side, command_id: CommandId, states: set[SessionState]) -> None:
    """Each row of table 2-1 that the gateway lives by is as the specification has it."""
    assert {state for state in SessionState if may_send(side, command_id, state)} == states


@pytest.mark.parametrize("command_id", sorted(LAYOUTS))
def test_every_pdu_has_a_sender(command_id: int) -> None:
    """A PDU without a row could never be sent: the table is complete."""
    assert any((side, command_id) in PERMITTED for side in Side)


def test_nothing_passes_when_closed() -> None:
    """CLOSED allows nothing."""
    assert not any(may_send(side, command, SessionState.CLOSED) for side in Side for command in LAYOUTS)


@pytest.mark.parametrize("command_id", sorted(c for c in LAYOUTS if not c & RESPONSE_BIT))
def test_a_request_and_its_response_share_their_states(command_id: int) -> None:
    """Who may be asked in a state may answer in it (but for unbind, which is answered on the way out)."""
    response = command_id | RESPONSE_BIT
    if response not in LAYOUTS or command_id == CommandId.UNBIND:
        return
    for side in Side:
        assert PERMITTED.get((side, command_id)) == PERMITTED.get((side.peer, response))


def test_transitions_lead_only_where_they_should() -> None:
    """Only bind responses bind, and only an unbind response unbinds."""
    assert {(command, state) for (_, command), state in TRANSITIONS.items()} == {
        (CommandId.BIND_TRANSMITTER_RESP, TX),
        (CommandId.BIND_RECEIVER_RESP, RX),
        (CommandId.BIND_TRANSCEIVER_RESP, TRX),
        (CommandId.UNBIND_RESP, SessionState.UNBOUND),
    }
