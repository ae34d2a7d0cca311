"""The simulated SMSC, by function calls and an invented clock."""

from __future__ import annotations

import pytest

from carrier.inbound import assemble, parse_inbound
from carrier.receipts import parse_receipt
from carrier.simulator import arrival
from carrier.simulator import smsc as module
from carrier.simulator.smsc import Happened, Received, SimulatorFull, Smsc
from carrier.smpp.pdu import (
    BindReceiver,
    BindTransmitter,
    GenericNack,
    SubmitSmResp,
    encode,
)
from carrier.text.writing import PLAIN
from tests.carrier.simulator.esme import Esme, smsc, submit


def received(box: Smsc) -> list[Received]:
    """Return what was accepted since the last time."""
    return [event for event in box.take_events() if isinstance(event, Received)]


def test_a_message_is_accepted_answered_and_receipted() -> None:
    """The whole way of one message."""
    box = smsc("message_ids: hex")
    esme = Esme(box)
    esme.send(submit(b"hello \x1b\x65"), now=0.0)
    (answer_header, answer), (_, receipt_pdu) = esme.read()
    assert (answer_header.command_status, answer_header.sequence_number) == (0, 2)
    assert answer == SubmitSmResp(b"ff")
    receipt = parse_receipt(receipt_pdu)  # type: ignore[arg-type]  # the next line would fail for another PDU
    assert receipt is not None
    assert receipt[:3] == ("ff", "D", "DELIVRD")
    (event,) = received(box)
    assert event[:7] == ("ff", "ACME", "4915112345678", 1, 1, "hello €", "hello €")


def test_delays_are_kept() -> None:
    """The response after 0.5 s, the receipt 2 s after it; the deadline says when."""
    box = smsc("responses: {delay_s: 0.5}\nreceipts: {delay_s: 2}")
    esme = Esme(box)
    esme.send(submit(), now=1.0)
    assert esme.take() == []
    assert (box.stats()["owed"], box.stats()["waiting"]) == (1, 1)  # an answer, and a receipt
    assert box.next_deadline() == 1.5
    esme.tick(1.5)
    assert esme.take() == [(0, "SubmitSmResp")]
    assert (box.stats()["owed"], box.stats()["waiting"]) == (0, 1)
    assert box.next_deadline() == 3.5
    esme.tick(3.4)
    assert esme.take() == []
    esme.tick(3.5)
    assert esme.take() == [(0, "DeliverSm")]


@pytest.mark.parametrize("delay", ["", "responses: {delay_s: 1}\n"])
def test_a_receipt_can_come_before_its_response(delay: str) -> None:
    """The order that breaks careless gateways."""
    esme = Esme(smsc(delay + "receipts: {before_response: true}"))
    esme.send(submit(), now=0.0)
    esme.tick(1.0)
    assert esme.take() == [(0, "DeliverSm"), (0, "SubmitSmResp")]


def test_receipts_only_for_those_who_ask() -> None:
    """registered_delivery 0, a script that sends none, a transmitter."""
    esme = Esme(smsc())
    esme.send(submit(registered_delivery=0), now=0.0)
    assert esme.take() == [(0, "SubmitSmResp")]
    esme = Esme(smsc("receipts: {send: false}"))
    esme.send(submit(), now=0.0)
    assert esme.take() == [(0, "SubmitSmResp")]
    esme = Esme(smsc(), kind=BindTransmitter)
    esme.send(submit(), now=0.0)
    assert esme.take() == [(0, "SubmitSmResp")]


def test_a_receiver_gets_the_receipts_of_a_transmitter() -> None:
    """The pair of binds that many carriers want."""
    box = smsc()
    transmitter, receiver = Esme(box, kind=BindTransmitter), Esme(box, kind=BindReceiver)
    transmitter.send(submit(), now=0.0)
    assert transmitter.take() == [(0, "SubmitSmResp")]
    assert receiver.take() == [(0, "DeliverSm")]
    receiver.send(submit(), now=0.0)
    assert receiver.take() == [(4, "SubmitSmResp")]  # ESME_RINVBNDSTS


def test_duplicates() -> None:
    """A receipt and its copies."""
    esme = Esme(smsc("receipts: {duplicates: 2}"))
    esme.send(submit(), now=0.0)
    receipts = [pdu for _, pdu in esme.deliveries()]
    assert len(receipts) == 3
    assert len(set(receipts)) == 1


def test_errors_are_answered_and_not_accepted() -> None:
    """An error has no body, no receipt, no event of acceptance."""
    box = smsc("errors: [{every: 2, status: ESME_RSYSERR}]")
    esme = Esme(box)
    esme.send(submit(registered_delivery=0), submit(), now=0.0)
    assert esme.take() == [(0, "SubmitSmResp"), (8, "SubmitSmResp")]
    assert len(received(box)) == 1
    assert (box.counts.accepted, box.counts.refused) == (1, 1)


def test_no_answer_is_still_accepted_and_receipted() -> None:
    """What a lost response looks like from here: the message has arrived."""
    box = smsc("responses: {none_every: 2}")
    esme = Esme(box)
    esme.send(submit(), submit(), now=0.0)
    assert [kind for _, kind in esme.take()].count("SubmitSmResp") == 1
    assert len(received(box)) == 2
    assert box.counts.receipts == 2
    assert box.counts.unanswered == 1


def test_a_connection_is_cut_at_its_nth_submit() -> None:
    """The second one is neither accepted nor answered; the next connection counts anew."""
    box = smsc("disconnect_after: 2\nreceipts: {send: false}")
    esme = Esme(box)
    esme.send(submit(), submit(), submit(), now=0.0)
    assert esme.take() == [(0, "SubmitSmResp")]
    assert esme.peer.closing
    assert len(received(box)) == 1
    box.disconnect(esme.peer)
    again = Esme(box)
    again.send(submit(), now=0.0)
    assert again.take() == [(0, "SubmitSmResp")]


def test_unanswered_receipts_come_again_over_the_next_connection() -> None:
    """Stored and forwarded: in order, and nothing is lost with a connection."""
    box = smsc("receipts: {delay_s: 1}\nmessage_ids: decimal")
    esme = Esme(box)
    esme.send(submit(), submit(), submit(), now=0.0)
    esme.tick(1.0)
    first, *_ = esme.deliveries()
    esme.answer(first[0], now=1.0)
    box.disconnect(esme.peer)
    box.disconnect(esme.peer)
    again = Esme(box)
    again.tick(2.0)
    ids = [pdu.short_message[3:13] for _, pdu in again.deliveries()]
    assert ids == [b"0000000256", b"0000000257"]
    assert box.counts.receipts_answered == 1
    assert box.counts.deliveries_repeated == 2


def test_the_window_bounds_unanswered_receipts() -> None:
    """One goes out for each that is answered."""
    esme = Esme(smsc("receipts: {window: 2}"))
    esme.send(*[submit()] * 5, now=0.0)
    first = esme.deliveries()
    assert len(first) == 2
    esme.answer(first[0][0], now=0.0)
    assert len(esme.deliveries()) == 1
    assert len(esme.peer.unanswered) == 2


def test_a_paused_peer_gets_nothing() -> None:
    """A socket that takes no more is not filled further."""
    esme = Esme(smsc())
    esme.peer.paused = True
    esme.send(submit(), now=0.0)
    assert esme.take() == [(0, "SubmitSmResp")]
    esme.peer.paused = False
    esme.tick(1.0)
    assert esme.take() == [(0, "DeliverSm")]


def test_answers_to_receipts() -> None:
    """Temporary errors bring it again after a second, others end it, silence brings it again after a while."""
    box = smsc("receipts: {redeliver_after_s: 30}")
    esme = Esme(box)
    esme.send(submit(), now=0.0)
    ((sequence, _),) = esme.deliveries()
    esme.answer(sequence, now=1.0, status=0x58)
    assert esme.deliveries() == []
    esme.tick(2.0)
    esme.tick(31.9)
    ((sequence, _),) = esme.deliveries()
    assert box.next_deadline() == 32.0
    esme.tick(32.0)
    ((again, _),) = esme.deliveries()
    assert again != sequence
    esme.answer(sequence, now=33.0)  # too late: the number is not waiting any more
    assert box.counts.receipts_answered == 0
    esme.answer(again, now=33.0, status=0x0B)
    assert box.counts.deliveries_refused == 1
    assert box.stats()["waiting"] == box.stats()["in_flight"] == 0


def test_a_nack_refuses_a_receipt() -> None:
    """generic_nack answers any request; status 0 does not make it an acknowledgement."""
    box = smsc()
    esme = Esme(box)
    esme.send(submit(), now=0.0)
    ((sequence, _),) = esme.deliveries()
    esme.raw(encode(GenericNack(), sequence, 0), now=0.0)
    assert (box.counts.receipts_answered, box.counts.deliveries_refused) == (0, 1)


def test_long_messages_are_put_together() -> None:
    """The part that completes a message brings its whole text; parts of two messages do not mix."""
    box = smsc("receipts: {send: false}")
    esme = Esme(box)
    texts = ["नमस्ते 😀 " * 20, "x" * 400]
    cut = [PLAIN.segment(text, number) for number, text in enumerate(texts)]
    pairs = [(segmented, part) for segmented in cut for part in segmented.parts]
    for segmented, part in pairs[::-1]:
        esme.send(submit(part, esm_class=segmented.esm_class, data_coding=segmented.data_coding), now=0.0)
    events = received(box)
    assert [event.whole for event in events if event.whole is not None] == texts[::-1]
    assert {(event.part, event.total) for event in events} == {
        (number, len(segmented.parts)) for segmented in cut for number in range(1, len(segmented.parts) + 1)
    }
    assert box.counts.messages == 2


def test_unfinished_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest one goes; its late part then completes nothing."""
    monkeypatch.setattr(arrival, "MAX_GROUPS", 2)
    box = smsc("receipts: {send: false}")
    esme = Esme(box)
    cut = [PLAIN.segment("y" * 200, number) for number in range(3)]
    for segmented in cut:
        esme.send(submit(segmented.parts[0], esm_class=0x40), now=0.0)
    for segmented in reversed(cut):
        esme.send(submit(segmented.parts[1], esm_class=0x40), now=0.0)
    assert box.counts.messages == 2


def test_octets_are_shown_in_hex() -> None:
    """Binary messages are no text."""
    box = smsc()
    Esme(box).send(submit(b"\x00\xff", data_coding=4), now=0.0)
    assert received(box)[0].text == "00ff"


def test_inbound_messages_are_played_once_after_the_first_receiver() -> None:
    """Also long ones, in parts; a second bind does not start them again."""
    text = "hello from a handset " * 10
    script = f'inbound: [{{at_s: 2, from: "+4915112345678", to: "12345", text: "{text}"}}]'
    box = smsc(script)
    Esme(box, kind=BindTransmitter)
    esme = Esme(box, now=5.0)
    assert esme.deliveries() == []
    esme.tick(7.0)
    got = esme.deliveries()
    parts = [parse_inbound(pdu) for _, pdu in got]
    assert assemble(parts) == text
    assert {(part.sender, part.recipient, part.total) for part in parts} == {("+4915112345678", "12345", 2)}
    for sequence, _ in got:
        esme.answer(sequence, now=7.0)
    assert box.counts.inbound_answered == 2
    assert Esme(box, now=8.0).deliveries() == []


def test_injected_messages_wait_for_a_receiver() -> None:
    """Nobody is bound: it is kept, and both long messages have their own reference."""
    box = smsc()
    assert box.inject("+4915112345678", "12345", "z" * 200, now=0.0) == 2
    assert box.inject("+4915112345678", "12345", "z" * 200, now=0.0) == 2
    esme = Esme(box, kind=BindReceiver, now=1.0)
    references = [parse_inbound(pdu).reference for _, pdu in esme.deliveries()]
    assert len(references) == 4
    assert len(set(references)) == 2


def test_everything_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full SMSC asks for later, and injects nothing more."""
    monkeypatch.setattr(module, "MAX_HELD", 2)
    box = smsc('inbound: [{from: "123", to: "123", text: a, repeat: 9}]')
    transmitter = Esme(box, kind=BindTransmitter)
    transmitter.send(submit(), submit(), submit(), now=0.0)
    assert transmitter.take() == [(0, "SubmitSmResp"), (0, "SubmitSmResp"), (0x14, "SubmitSmResp")]
    with pytest.raises(SimulatorFull, match="wait already"):
        box.inject("123", "123", "a", now=0.0)
    box.take_events()
    Esme(box, kind=BindReceiver)
    assert "inbound_dropped" in [event.name for event in box.take_events() if isinstance(event, Happened)]


def test_events_tell_of_binds_and_their_ends() -> None:
    """What a person watching wants to see."""
    box = smsc()
    esme = Esme(box)
    box.disconnect(esme.peer)
    assert box.take_events() == [Happened("bound", "#1 smsgw as transceiver"), Happened("disconnected", "#1 smsgw")]


def test_a_window_of_the_carrier() -> None:
    """The third unanswered one is refused at once; an answer makes room."""
    box = smsc("receipts: {send: false}\nresponses: {delay_s: 1}\nwindow: {most: 2}")
    esme = Esme(box)
    esme.send(submit(), submit(), submit(), now=0.0)
    assert esme.take() == [(0x58, "SubmitSmResp")]
    esme.tick(1.0)
    assert esme.take() == [(0, "SubmitSmResp")] * 2
    esme.send(submit(), now=1.0)
    esme.tick(2.0)
    assert esme.take() == [(0, "SubmitSmResp")]
    assert box.counts.most_unanswered == 2


def test_late_and_swapped_answers() -> None:
    """Every third comes nine seconds late; the odd ones come behind the even ones."""
    esme = Esme(smsc("receipts: {send: false}\nresponses: {late_every: 3, late_s: 9}"))
    esme.send(*[submit()] * 3, now=0.0)
    assert len(esme.take()) == 2
    esme.tick(9.0)
    assert esme.take() == [(0, "SubmitSmResp")]
    esme = Esme(smsc("receipts: {send: false}\nresponses: {swap_s: 1}"))
    esme.send(*[submit()] * 4, now=0.0)
    esme.tick(1.0)
    assert [header.sequence_number for header, _ in esme.read()] == [3, 5, 2, 4]


def test_refused_and_sent_all_the_same() -> None:
    """A carrier that answers a temporary error for what it delivers."""
    box = smsc("errors: [{status: 8, accepted: true}]")
    esme = Esme(box)
    esme.send(submit(), now=0.0)
    assert esme.take() == [(8, "SubmitSmResp"), (0, "DeliverSm")]
    assert (box.counts.accepted, box.counts.refused) == (1, 1)


def test_the_rate_is_that_of_all_binds() -> None:
    """Two in one second over two binds, and no more."""
    box = smsc("receipts: {send: false}\nthrottle: {rate_s: 2, status: ESME_RMSGQFUL}")
    first, second = Esme(box), Esme(box)
    first.send(submit(), now=0.0)
    second.send(submit(), submit(), now=0.0)
    assert first.take() == [(0, "SubmitSmResp")]
    assert second.take() == [(0, "SubmitSmResp"), (0x14, "SubmitSmResp")]


def test_ids_can_begin_anywhere() -> None:
    """So that a test has leading zeros."""
    box = smsc("message_ids: decimal\nfirst_id: 7")
    Esme(box).send(submit(), now=0.0)
    assert received(box)[0].message_id == "0000000007"
