"""The session: what it sends, what it says, what it refuses, with an explicit clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from carrier.errors import LocalSessionError
from carrier.smpp.constants import CommandId, Status, Tag
from carrier.smpp.events import (
    BindRejected,
    Bound,
    Event,
    Failed,
    InDoubt,
    LateAnswer,
    Nacked,
    Notified,
    RequestAnswered,
    RequestReceived,
    SubmitAnswered,
    Unbound,
)
from carrier.smpp.messages import (
    AlertNotification,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    CancelSm,
    CancelSmResp,
    DataSm,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Outbind,
    Pdu,
    QuerySm,
    QuerySmResp,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
)
from carrier.smpp.pdu import HEADER, decode, encode, encode_body
from carrier.smpp.session import Session, SessionConfig
from carrier.smpp.states import SessionState, Side
from carrier.smpp.tlv import make_tlv

BODY = encode_body(SubmitSm(short_message=b"hi"))
BIND = BindTransceiver(b"user", b"secret")


def sent(session: Session) -> list[tuple[int, int, Pdu]]:
    """Take what a session wants written as (sequence, status, PDU)."""
    octets, found = session.bytes_to_send(), []
    while octets:
        length = int.from_bytes(octets[:4], "big")
        header, pdu = decode(octets[:length])
        found.append((header.sequence_number, header.command_status, pdu))
        octets = octets[length:]
    return found


def bound(now: float = 0.0, *, first_sequence: int = 1, **config: Any) -> Session:
    """Return an ESME session that is bound as a transceiver, its window empty."""
    session = Session(SessionConfig(**config), now=now, first_sequence=first_sequence)
    session.bind(BIND, now)
    ((sequence, _, _),) = sent(session)
    assert session.receive_data(encode(BindTransceiverResp(b"smsc"), sequence), now) == [
        Bound(BindTransceiverResp(b"smsc"))
    ]
    return session


def answer(sequence: int, status: int = 0) -> bytes:
    """Return a submit_sm_resp."""
    return encode(SubmitSmResp(b"" if status else b"id-%d" % sequence), sequence, status)


@pytest.mark.parametrize(
    ("bind", "response", "state"),
    [
        (BindTransmitter(b"u", b"p"), BindTransmitterResp(b"s"), SessionState.BOUND_TX),
        (BindReceiver(b"u", b"p"), BindReceiverResp(b"s"), SessionState.BOUND_RX),
        (BIND, BindTransceiverResp(b"s"), SessionState.BOUND_TRX),
    ],
)
def test_both_ends_bind(
    bind: BindTransmitter | BindReceiver | BindTransceiver, response: Pdu, state: SessionState
) -> None:
    """An accepted bind takes both ends into the state that it names."""
    esme, smsc = Session(SessionConfig(), now=0), Session(SessionConfig(side=Side.SMSC), now=0)
    esme.bind(bind, 0)
    (request,) = smsc.receive_data(esme.bytes_to_send(), 0)
    assert isinstance(request, RequestReceived)
    assert request.pdu == bind
    assert smsc.respond(request.sequence, response)
    assert esme.receive_data(smsc.bytes_to_send(), 0) == [Bound(response)]
    assert (esme.state, smsc.state) == (state, state)


def test_a_refused_bind() -> None:
    """The status of a refused bind arrives, and the session stays open."""
    session = Session(SessionConfig(), now=0)
    session.bind(BIND, 0)
    frame = encode(BindTransceiverResp(), 1, Status.ESME_RINVPASWD)
    assert session.receive_data(frame, 0) == [BindRejected(Status.ESME_RINVPASWD)]
    assert session.state is SessionState.OPEN


def test_a_nacked_bind_is_refused() -> None:
    """A generic_nack to the bind is its refusal."""
    session = Session(SessionConfig(), now=0)
    session.bind(BIND, 0)
    assert session.receive_data(encode(GenericNack(), 1, 3), 0) == [BindRejected(3)]


def test_a_bind_response_of_another_kind_binds_nothing() -> None:
    """A bind_receiver_resp does not answer a bind_transceiver."""
    session = Session(SessionConfig(), now=0)
    session.bind(BIND, 0)
    assert session.receive_data(encode(BindReceiverResp(b"s"), 1), 0) == []
    assert (session.state, session.counts.unmatched_responses) == (SessionState.OPEN, 1)


def test_a_bind_without_an_answer_fails() -> None:
    """The bind has the response timeout, and its deadline is announced."""
    session = Session(SessionConfig(response_timeout_s=5), now=100)
    session.bind(BIND, 100)
    assert session.next_deadline() == 105
    assert session.handle_timeout(104.9) == []
    assert session.handle_timeout(105) == [Failed("no bind_transceiver_resp within 5 s")]
    assert session.next_deadline() is None


def test_a_bind_response_with_a_broken_body_binds() -> None:
    """The status says that we are bound; an unterminated system_id must not keep us out."""
    session = Session(SessionConfig(), now=0)
    session.bind(BIND, 0)
    frame = HEADER.pack(19, CommandId.BIND_TRANSCEIVER_RESP, 0, 1) + b"abc"
    assert session.receive_data(frame, 0) == [Bound(BindTransceiverResp())]
    assert session.counts.malformed == 1


def test_submit_and_answers_out_of_order() -> None:
    """Each answer finds its ticket, whatever the order."""
    session = bound()
    for ticket in "abc":
        session.submit(BODY, ticket, 0)
    assert [(n, pdu) for n, _, pdu in sent(session)] == [(n, SubmitSm(short_message=b"hi")) for n in (2, 3, 4)]
    assert session.receive_data(answer(4) + answer(2, Status.ESME_RTHROTTLED) + answer(3), 0) == [
        SubmitAnswered("c", 0, b"id-4"),
        SubmitAnswered("a", Status.ESME_RTHROTTLED, b""),
        SubmitAnswered("b", 0, b"id-3"),
    ]
    assert session.in_flight == 0


def test_the_window_is_never_exceeded() -> None:
    """One request more than the window is our own defect, and an answer makes room for one."""
    session = bound(window=2)
    session.submit(BODY, 1, 0)
    session.submit(BODY, 2, 0)
    assert session.room == 0
    with pytest.raises(LocalSessionError, match="window of 2 is full"):
        session.submit(BODY, 3, 0)
    with pytest.raises(LocalSessionError, match="window of 2 is full"):
        session.request(QuerySm(b"1"), 3, 0)
    session.receive_data(answer(2), 0)
    assert session.room == 1


def test_late_and_duplicate_answers_are_counted() -> None:
    """An answer counts once; a second one and one never asked for change nothing; a late one is told once."""
    session = bound(response_timeout_s=30, enquire_link_s=1000)
    session.submit(BODY, "a", 0)
    session.submit(BODY, "b", 0)
    assert session.receive_data(answer(2) + answer(2), 1) == [SubmitAnswered("a", 0, b"id-2")]
    assert session.handle_timeout(30) == [InDoubt("b")]
    assert session.receive_data(answer(3) + answer(999) + answer(3), 31) == [LateAnswer("b", 0, b"id-3")]
    assert (session.counts.unmatched_responses, session.counts.late_responses) == (4, 1)


def test_an_answer_of_another_kind_settles_nothing() -> None:
    """A deliver_sm_resp with the number of a submit_sm leaves it in flight."""
    session = bound()
    session.submit(BODY, "a", 0)
    assert session.receive_data(encode(DeliverSmResp(), 2), 0) == []
    assert session.receive_data(encode(CancelSmResp(), 2), 0) == []
    assert (session.in_flight, session.counts.unmatched_responses) == (1, 2)


def test_response_timeouts_come_in_order() -> None:
    """Each request has its own deadline; the next one is announced."""
    session = bound(response_timeout_s=10, enquire_link_s=1000)
    for second in (1, 2, 3):
        session.submit(BODY, second, second)
    assert session.next_deadline() == 11
    assert session.handle_timeout(12) == [InDoubt(1), InDoubt(2)]
    assert (session.next_deadline(), session.in_flight) == (13, 1)


def test_other_requests_are_answered_with_their_pdu() -> None:
    """query_sm and cancel_sm count in the window and bring their responses."""
    session = bound()
    session.request(QuerySm(b"1"), "q", 0)
    session.request(CancelSm(message_id=b"1"), "c", 0)
    session.request(SubmitSm(), "s", 0)
    answers = encode(QuerySmResp(b"1", b"", 2, 0), 2) + encode(CancelSmResp(), 3, 0x11) + answer(4)
    assert session.receive_data(answers, 0) == [
        RequestAnswered("q", 0, QuerySmResp(b"1", b"", 2, 0)),
        RequestAnswered("c", 0x11, CancelSmResp()),
        SubmitAnswered("s", 0, b"id-4"),
    ]


def test_a_response_that_cannot_be_read_is_answered_without_a_pdu() -> None:
    """A query_sm_resp cut short ends the request and is counted."""
    session = bound()
    session.request(QuerySm(b"1"), "q", 0)
    assert session.receive_data(HEADER.pack(18, CommandId.QUERY_SM_RESP, 0, 2) + b"1\0", 0) == [
        RequestAnswered("q", 0, None)
    ]
    assert session.counts.malformed == 1


@pytest.mark.parametrize(("status", "told"), [(Status.ESME_RINVCMDID, Status.ESME_RINVCMDID), (0, 0xFF)])
def test_generic_nack_answers_what_it_names(status: int, told: int) -> None:
    """A generic_nack ends the request with its number, never with success; sequence 0 names none."""
    session = bound()
    session.submit(BODY, "s", 0)
    session.request(QuerySm(b"1"), "q", 0)
    nacks = b"".join(encode(GenericNack(), n, status) for n in (0, 2, 3))
    assert session.receive_data(nacks, 0) == [
        Nacked(0, told), SubmitAnswered("s", told, b""), RequestAnswered("q", told, None),
    ]  # fmt: skip


def test_sequence_numbers_wrap_and_skip_those_in_flight() -> None:
    """After 0x7FFFFFFF comes 1, and a number in flight is not used again."""
    session = bound(first_sequence=0x7FFFFFFD)
    session.submit(BODY, "a", 0)
    session.submit(BODY, "b", 0)
    session.submit(BODY, "c", 0)
    assert [n for n, _, _ in sent(session)] == [0x7FFFFFFE, 0x7FFFFFFF, 1]
    session._sequence = 0x7FFFFFFE  # as after 2**31 requests
    session.submit(BODY, "d", 0)
    session.request(QuerySm(b"1"), "q", 0)
    assert [n for n, _, _ in sent(session)] == [2, 3]


def test_enquire_link_after_silence_and_death_after_two() -> None:
    """Silence is asked about twice; the third time the peer is dead."""
    session = bound(enquire_link_s=30)
    assert session.next_deadline() == 30
    assert session.handle_timeout(29) == []
    for now in (30, 60):
        assert session.handle_timeout(now) == []
        assert [type(pdu) for _, _, pdu in sent(session)] == [EnquireLink]
    assert session.next_deadline() == 90
    assert session.handle_timeout(90) == [Failed("2 enquire_link were not answered")]


@pytest.mark.parametrize("sign_of_life", [EnquireLinkResp(), GenericNack(), DeliverSm()])
def test_any_pdu_is_a_sign_of_life(sign_of_life: Pdu) -> None:
    """An answer, a nack of the question, or other traffic starts the silence anew."""
    session = bound(enquire_link_s=30)
    session.handle_timeout(30)
    ((sequence, _, _),) = sent(session)
    session.receive_data(encode(sign_of_life, sequence), 40)
    assert session.next_deadline() == 70
    assert session.counts.unmatched_responses == 0


def test_single_octets_are_no_sign_of_life() -> None:
    """A peer that drips octets and never finishes a PDU is silent."""
    session = bound(enquire_link_s=30)
    session.receive_data(b"\0\0", 20)
    assert session.next_deadline() == 30


def test_the_peers_enquire_link_is_answered_at_once() -> None:
    """In every state but CLOSED."""
    session = Session(SessionConfig(), now=0)
    assert session.receive_data(encode(EnquireLink(), 77), 0) == []
    assert sent(session) == [(77, 0, EnquireLinkResp())]


def test_deliveries_wait_for_their_answer() -> None:
    """A delivery is announced once and answered when the driver says so, once."""
    session = bound()
    receipt = DeliverSm(esm_class=4, tlvs=(make_tlv(Tag.MESSAGE_STATE, 2),))
    data = DataSm(source_addr=b"1")
    assert session.receive_data(encode(receipt, 5) + encode(data, 6), 0) == [
        RequestReceived(5, receipt),
        RequestReceived(6, data),
    ]
    assert sent(session) == []
    assert [session.answer(6, 0x64), session.answer(5, 0), session.answer(5, 0)] == [True, True, False]
    assert [(n, status, type(pdu).__name__) for n, status, pdu in sent(session)] == [
        (6, 0x64, "DataSmResp"), (5, 0, "DeliverSmResp"),
    ]  # fmt: skip


def test_responses_come_before_deliveries_of_one_read() -> None:
    """Answers that have arrived are not held up by the deliveries before them."""
    session = bound()
    session.submit(BODY, "a", 0)
    events = session.receive_data(encode(DeliverSm(), 5) + answer(2), 0)
    assert [type(event) for event in events] == [SubmitAnswered, RequestReceived]


@pytest.mark.parametrize("config", [{"max_incoming": 2}, {"max_incoming_bytes": 80}])
def test_unanswered_deliveries_are_bounded(config: dict[str, int]) -> None:
    """Beyond the bound, in number or octets, the carrier is asked to come again later."""
    session = bound(**config)
    events = session.receive_data(b"".join(encode(DeliverSm(), n) for n in (1, 2, 3)), 0)
    assert [event.sequence for event in events if isinstance(event, RequestReceived)] == [1, 2]
    assert [(n, status) for n, status, _ in sent(session)] == [(3, Status.ESME_RX_T_APPN)]
    session.answer(1, 0)
    assert session.receive_data(encode(DeliverSm(), 4), 0) == [RequestReceived(4, DeliverSm())]
    assert session.counts.refused_requests == 1


def test_a_number_in_use_is_refused() -> None:
    """Two unanswered deliveries with one number could not be told apart."""
    session = bound()
    session.receive_data(encode(DeliverSm(), 5), 0)
    assert session.receive_data(encode(DeliverSm(source_addr=b"other"), 5), 0) == []
    assert sent(session) == [(5, Status.ESME_RX_T_APPN, DeliverSmResp())]


def test_requests_in_the_wrong_state_are_refused() -> None:
    """A delivery before the bind, a bind on a bound session, a submit_sm from the carrier."""
    session = Session(SessionConfig(), now=0)
    assert session.receive_data(encode(DeliverSm(), 1), 0) == []
    assert sent(session) == [(1, Status.ESME_RINVBNDSTS, DeliverSmResp())]
    smsc = Session(SessionConfig(side=Side.SMSC), now=0)
    (request,) = smsc.receive_data(encode(BIND, 1), 0)
    assert isinstance(request, RequestReceived)
    smsc.respond(request.sequence, BindTransceiverResp())
    smsc.bytes_to_send()
    assert smsc.receive_data(encode(BIND, 2), 0) == []
    assert sent(smsc) == [(2, Status.ESME_RALYBND, BindTransceiverResp())]
    esme = bound()
    assert esme.receive_data(encode(SubmitSm(), 9), 0) == []
    assert sent(esme) == [(9, Status.ESME_RINVBNDSTS, SubmitSmResp())]
    assert [s.counts.wrong_state for s in (session, smsc, esme)] == [1, 1, 1]


def test_unknown_and_malformed_requests_are_nacked() -> None:
    """Their frame is sound, so the session goes on."""
    session = bound()
    unknown, malformed = HEADER.pack(16, 0x666, 0, 8), HEADER.pack(17, CommandId.DELIVER_SM, 0, 9) + b"x"
    unknown_response = HEADER.pack(16, 0x80000666, 0, 8)
    assert session.receive_data(unknown + malformed + unknown_response + encode(DeliverSm(), 10), 0) == [
        RequestReceived(10, DeliverSm())
    ]
    assert sent(session) == [
        (8, Status.ESME_RINVCMDID, GenericNack()), (9, Status.ESME_RINVCMDLEN, GenericNack()),
    ]  # fmt: skip
    assert (session.counts.unknown_commands, session.counts.malformed) == (1, 1)


def test_notifications_have_no_answer() -> None:
    """outbind and alert_notification are told and not answered, in the wrong state not even told."""
    session = Session(SessionConfig(), now=0)
    outbind = Outbind(b"smsc", b"p")
    assert session.receive_data(encode(outbind, 1) + encode(AlertNotification(), 2), 0) == [Notified(outbind)]
    assert bound().receive_data(encode(AlertNotification(), 2), 0) == [Notified(AlertNotification())]
    assert sent(session) == []


def test_a_bad_length_ends_the_session_after_what_was_sound() -> None:
    """The answers before it count; it is nacked with sequence 0; nothing after it is read."""
    session = bound()
    session.submit(BODY, "a", 0)
    session.submit(BODY, "b", 0)
    session.bytes_to_send()
    events = session.receive_data(answer(2) + b"\xff\xff\xff\xff", 0)
    assert events == [SubmitAnswered("a", 0, b"id-2"), Failed("command_length 4294967295: it is 16 to 65536")]
    assert sent(session) == [(0, Status.ESME_RINVCMDLEN, GenericNack())]
    assert session.receive_data(answer(3), 0) == []
    assert session.lost() == ["b"]
    assert session.state is SessionState.CLOSED


def test_unbind_by_us() -> None:
    """After our unbind nothing is sent; answers still count; the answer to it ends the session."""
    session = bound()
    session.submit(BODY, "a", 0)
    session.unbind(0)
    refusals: tuple[Callable[[], None], ...] = (
        lambda: session.submit(BODY, "b", 0),
        lambda: session.request(QuerySm(b"1"), "q", 0),
    )
    for refused in refusals:
        with pytest.raises(LocalSessionError, match="after an unbind"):
            refused()
    assert session.receive_data(answer(2) + encode(UnbindResp(), 3), 0) == [
        SubmitAnswered("a", 0, b"id-2"),
        Unbound(by_peer=False),
    ]
    assert session.state is SessionState.UNBOUND


def test_unbind_by_the_peer_is_answered_at_once() -> None:
    """Answers that come after it still count; what is left is in doubt when the connection ends."""
    session = bound()
    session.submit(BODY, "a", 0)
    session.submit(BODY, "b", 0)
    session.bytes_to_send()
    assert session.receive_data(encode(Unbind(), 4), 0) == [Unbound(by_peer=True)]
    assert sent(session) == [(4, 0, UnbindResp())]
    with pytest.raises(LocalSessionError, match="in state unbound"):
        session.submit(BODY, "c", 0)
    assert session.receive_data(answer(3), 0) == [SubmitAnswered("b", 0, b"id-3")]
    assert session.lost() == ["a"]


def test_our_own_requests_keep_to_the_table() -> None:
    """Asking for what the state does not allow is a defect of ours, and sends nothing."""
    session = Session(SessionConfig(), now=0)
    refusals: tuple[Callable[[], None], ...] = (
        lambda: session.submit(BODY, 1, 0),
        lambda: session.request(DeliverSm(), 1, 0),
        lambda: session.request(SubmitSmResp(), 1, 0),
        lambda: session.unbind(0),
    )
    for refused in refusals:
        with pytest.raises(LocalSessionError, match="may not be sent by the esme in state open"):
            refused()
    session.bind(BIND, 0)
    with pytest.raises(LocalSessionError):
        session.bind(BIND, 0)
    assert len(sent(session)) == 1


def test_the_smsc_answers_and_delivers() -> None:
    """The carrier's end takes submit_sm, answers it, and sends receipts in its own window."""
    smsc = Session(SessionConfig(side=Side.SMSC, window=1), now=0)
    smsc.receive_data(encode(BIND, 1), 0)
    smsc.respond(1, BindTransceiverResp(b"smsc"))
    events = smsc.receive_data(encode(SubmitSm(), 2) + encode(SubmitSm(), 0xFFFFFFF & 3), 0)
    assert [type(event) for event in events] == [RequestReceived, RequestReceived]
    with pytest.raises(LocalSessionError, match="submit_sm is not answered with DeliverSmResp"):
        smsc.respond(2, DeliverSmResp())
    assert smsc.respond(2, SubmitSmResp(b"id"))
    assert smsc.respond(3, GenericNack(), 8)
    assert not smsc.respond(3, SubmitSmResp(b"id"))
    smsc.request(DeliverSm(), "r", 0)
    assert [type(pdu) for _, _, pdu in sent(smsc)] == [BindTransceiverResp, SubmitSmResp, GenericNack, DeliverSm]
    assert smsc.receive_data(encode(DeliverSmResp(), 1), 0) == [RequestAnswered("r", 0, DeliverSmResp())]


def test_a_request_with_an_illegal_number_is_answered_with_it() -> None:
    """A peer that counts beyond 0x7FFFFFFF gets its own number back."""
    session = bound()
    frame = HEADER.pack(16, CommandId.UNBIND, 0, 0xFFFFFFFF)
    session.receive_data(encode(DeliverSm(), 1)[:12] + b"\xff\xff\xff\xfe" + encode(DeliverSm(), 1)[16:], 0)
    assert session.respond(0xFFFFFFFE, DeliverSmResp())
    session.receive_data(frame, 0)
    assert [n for n, _, _ in sent(session)] == [0xFFFFFFFE, 0xFFFFFFFF]


def test_after_the_end_nothing_happens() -> None:
    """A lost session is silent: no events, no deadline, no octets."""
    session = bound()
    session.submit(BODY, "a", 0)
    assert session.lost() == ["a"]
    nothing: list[Event] = []
    assert session.receive_data(answer(2), 0) == nothing
    assert session.handle_timeout(1e9) == nothing
    assert (session.next_deadline(), session.bytes_to_send(), session.lost()) == (None, b"", [])
