"""The peer's requests: how many in a second, and which are answered at once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from carrier.smpp.bounds import SessionConfig, SessionCounts
from carrier.smpp.constants import CommandId, Status
from carrier.smpp.events import Event, Notified, RequestReceived, Unbound
from carrier.smpp.incoming import Incoming, RequestRate
from carrier.smpp.messages import AlertNotification, DeliverSm
from carrier.smpp.pdu import HEADER, encode
from carrier.smpp.states import COMMANDS_OF, SessionState, Side

BOUND = COMMANDS_OF[Side.SMSC, SessionState.BOUND_TRX]
UNBOUND = COMMANDS_OF[Side.SMSC, SessionState.UNBOUND]
DELIVER, ENQUIRE, UNBIND = int(CommandId.DELIVER_SM), int(CommandId.ENQUIRE_LINK), int(CommandId.UNBIND)
Request = tuple[int, int, bytes]


def test_a_rate_gives_a_seconds_worth_and_then_itself() -> None:
    """What is not taken stays, up to one second's worth; nothing is given for the same moment twice."""
    rate = RequestRate(8, now=100.0)
    assert rate.allowance(100.0) == 8
    rate.take(8)
    assert [rate.allowance(now) for now in (100.0, 100.0625, 100.125, 100.125)] == [0, 0, 1, 1]
    assert rate.allowance(200.0) == 8


def test_no_rate_gives_any_number() -> None:
    """Zero stands for none."""
    assert RequestRate(0, now=0.0).allowance(0.0) is None


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(0, 500), st.floats(0, 2)), max_size=40))
def test_a_rate_is_never_exceeded(rate_s: int, steps: list[tuple[int, float]]) -> None:
    """However greedily it is asked, any span has its rate and one second's worth at most."""
    rate, now, taken = RequestRate(rate_s, now=0.0), 0.0, 0
    for wanted, pause in steps:
        now += pause
        count = min(wanted, rate.allowance(now) or 0)
        rate.take(count)
        taken += count
        assert taken <= rate_s * (1 + now) + 1e-6


def incoming(**config: Any) -> tuple[Incoming, list[bytes], SessionCounts]:
    """Return a book, what it answers at once, and what it counts."""
    out: list[bytes] = []
    counts = SessionCounts()
    return Incoming(SessionConfig(**config), counts, out, now=0.0, unbinds=lambda: UNBOUND), out, counts


def deliver(sequence: int) -> Request:
    """Return a deliver_sm as it comes from the stream."""
    return DELIVER, sequence, encode(DeliverSm(), sequence)


def statuses(out: list[bytes]) -> list[tuple[int, int, int]]:
    """Return command, status and sequence of each answer."""
    return [HEADER.unpack_from(octets)[1:] for octets in out]


def test_what_is_answered_at_once() -> None:
    """A sign of life is answered; after an unbind nothing else is taken."""
    book, out, counts = incoming()
    events: list[Event] = []
    book.take([(ENQUIRE, 1, b""), deliver(2), (UNBIND, 3, b""), deliver(4)], 0.0, BOUND, events)
    assert [type(event) for event in events] == [RequestReceived, Unbound]
    assert statuses(out) == [
        (CommandId.ENQUIRE_LINK_RESP, 0, 1), (CommandId.UNBIND_RESP, 0, 3),
        (CommandId.DELIVER_SM_RESP, Status.ESME_RINVBNDSTS, 4),
    ]  # fmt: skip
    assert (len(book), counts.wrong_state) == (1, 1)


def test_signs_of_life_do_not_count_in_the_rate() -> None:
    """Beyond the rate a delivery is to come again; the peer's enquire_link is answered all the same."""
    book, out, counts = incoming(max_inbound_rate=1)
    events: list[Event] = []
    book.take([deliver(1), deliver(2), (ENQUIRE, 3, b"")], 0.0, BOUND, events)
    assert statuses(out) == [
        (CommandId.DELIVER_SM_RESP, Status.ESME_RX_T_APPN, 2), (CommandId.ENQUIRE_LINK_RESP, 0, 3),
    ]  # fmt: skip
    assert (len(events), counts.refused_requests) == (1, 1)


def test_notifications_count_in_the_rate() -> None:
    """An alert_notification has no answer, and takes a place; what is beyond is dropped, and counted."""
    book, out, counts = incoming(max_inbound_rate=3)
    events: list[Event] = []
    alert = encode(AlertNotification(), 1)
    book.take(
        [(int(CommandId.ALERT_NOTIFICATION), n, alert) for n in (1, 2)] + [deliver(3), deliver(4)], 0.0, BOUND, events
    )
    book.take([(int(CommandId.ALERT_NOTIFICATION), 5, alert)], 0.0, BOUND, events)
    assert [type(event) for event in events] == [Notified, Notified, RequestReceived]
    assert statuses(out) == [(CommandId.DELIVER_SM_RESP, Status.ESME_RX_T_APPN, 4)]
    assert counts.refused_requests == 2


def test_the_book_is_kept_by_octets() -> None:
    """What was answered frees its place, and the octets are counted anew."""
    book, out, _ = incoming(max_incoming_bytes=40)
    book.take([deliver(1), deliver(2)], 0.0, BOUND, [])
    assert (len(book), len(out)) == (1, 1)
    assert book.remove(1) == DELIVER
    assert book.remove(1) is None
    book.take([deliver(3)], 0.0, BOUND, [])
    assert book.command_id(3) == DELIVER
    book.clear()
    assert (len(book), book.command_id(3)) == (0, None)
