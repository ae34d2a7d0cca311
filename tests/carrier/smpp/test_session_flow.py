"""What a session learns and bounds while traffic flows: round trips, congestion, late answers, rate of deliveries."""

from __future__ import annotations

import pytest

from carrier.smpp.constants import SEQUENCE_MAX, CommandId, Status, Tag
from carrier.smpp.events import InDoubt, LateAnswer, RequestAnswered, RequestReceived, SubmitAnswered
from carrier.smpp.messages import DeliverSm, QuerySm, QuerySmResp, SubmitSmResp
from carrier.smpp.pdu import HEADER, encode
from carrier.smpp.tlv import encode_tlvs, make_tlv
from tests.carrier.smpp.test_session import BODY, answer, bound, sent

CONGESTED = make_tlv(Tag.CONGESTION_STATE, 95)


def test_the_round_trip_is_smoothed() -> None:
    """The first counts whole, a later one an eighth; several answers of one read are one sample."""
    session = bound(response_timeout_s=30)
    for ticket in "abc":
        session.submit(BODY, ticket, 10.0)
    session.receive_data(answer(2), 10.8)
    assert session.round_trip_s == pytest.approx(0.8)
    session.receive_data(answer(3) + answer(4), 11.6)
    assert session.round_trip_s == pytest.approx(0.9)


def test_a_late_answer_is_no_round_trip() -> None:
    """Neither a late nor an unmatched answer is measured."""
    session = bound(response_timeout_s=5, enquire_link_s=1000)
    session.submit(BODY, "a", 0)
    session.handle_timeout(5)
    session.receive_data(answer(2) + answer(77), 100)
    assert session.round_trip_s == 0.0


@pytest.mark.parametrize(
    "frame",
    [
        encode(SubmitSmResp(b"id", (CONGESTED,)), 2),
        encode(SubmitSmResp(b"", (CONGESTED,)), 2, Status.ESME_RTHROTTLED),
        HEADER.pack(21, CommandId.SUBMIT_SM_RESP, Status.ESME_RTHROTTLED, 2) + encode_tlvs((CONGESTED,)),
    ],
)
def test_congestion_state_is_noticed(frame: bytes) -> None:
    """Rows 21 and 24: it is read from a success, from an error, and from an error that has nothing else."""
    session = bound()
    session.submit(BODY, "a", 0)
    assert [type(event) for event in session.receive_data(frame, 1)] == [SubmitAnswered]
    assert session.congestion_state == 95


def test_congestion_state_in_other_responses() -> None:
    """A query_sm_resp carries it too; a response without it leaves what was known."""
    session = bound()
    session.request(QuerySm(b"1"), "q", 0)
    session.submit(BODY, "a", 0)
    assert [type(e) for e in session.receive_data(encode(QuerySmResp(b"1", tlvs=(CONGESTED,)), 2), 1)] == [
        RequestAnswered
    ]
    session.receive_data(answer(3), 1)
    assert session.congestion_state == 95


def test_a_late_nack_is_a_late_answer() -> None:
    """A generic_nack may answer what was given up, too."""
    session = bound(response_timeout_s=5, enquire_link_s=1000)
    session.submit(BODY, "a", 0)
    assert session.handle_timeout(5) == [InDoubt("a")]
    nack = HEADER.pack(16, CommandId.GENERIC_NACK, Status.ESME_RTHROTTLED, 2)
    assert session.receive_data(nack, 6) == [LateAnswer("a", Status.ESME_RTHROTTLED, b"")]


def test_what_was_given_up_is_remembered_within_bounds() -> None:
    """Of many that were given up, the latest hundred or two windows are known when they are answered."""
    session = bound(response_timeout_s=1, enquire_link_s=1000, window=10)
    for number in range(150):
        session.submit(BODY, number, float(number))
        session.handle_timeout(number + 1.0)
    events = session.receive_data(b"".join(answer(n + 2) for n in range(150)), 151)
    assert [event.ticket for event in events if isinstance(event, LateAnswer)] == list(range(50, 150))
    assert session.counts.late_responses == 100


def test_given_up_numbers_are_forgotten_when_numbers_come_round() -> None:
    """After the wrap a number means a new request: an old ticket is never taken for its answer."""
    session = bound(first_sequence=SEQUENCE_MAX - 1, response_timeout_s=1, enquire_link_s=1000)
    session.submit(BODY, "old", 0)  # takes the last number: the next is 1
    assert session.handle_timeout(1) == [InDoubt("old")]
    session.submit(BODY, "new", 1)
    assert session.receive_data(answer(SEQUENCE_MAX) + answer(1), 1)[-1] == SubmitAnswered("new", 0, b"id-1")


def deliveries(first: int, count: int) -> bytes:
    """Return deliveries with numbers of their own."""
    return b"".join(encode(DeliverSm(), number) for number in range(first, first + count))


def test_deliveries_beyond_the_rate_are_to_come_again() -> None:
    """A second's worth at once, then the rate; the rest is refused for now, and responses behind it are not held up."""
    session = bound(max_inbound_rate=10, max_incoming=1000)
    session.submit(BODY, "a", 0)
    events = session.receive_data(deliveries(100, 15) + answer(2), 0)
    assert isinstance(events[0], SubmitAnswered)
    assert sum(isinstance(event, RequestReceived) for event in events) == 10
    assert [(n, status) for n, status, _ in sent(session)][1:] == [(n, Status.ESME_RX_T_APPN) for n in range(110, 115)]
    assert session.counts.refused_requests == 5
    taken = session.receive_data(deliveries(200, 15), 0.5)
    assert sum(isinstance(event, RequestReceived) for event in taken) == 5


def test_without_a_rate_any_number_is_taken() -> None:
    """The bound on the rate is off unless it is set."""
    session = bound(max_incoming=100_000)
    events = session.receive_data(deliveries(1, 1000), 0)
    assert sum(isinstance(event, RequestReceived) for event in events) == 1000
