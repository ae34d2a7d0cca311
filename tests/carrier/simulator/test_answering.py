"""Responses as careless carriers write them, read by the codec."""

from __future__ import annotations

import pytest

from carrier.smpp.constants import Tag
from carrier.smpp.pdu import (
    BindTransceiver,
    BindTransceiverResp,
    EnquireLink,
    QuerySm,
    ReplaceSmResp,
    SubmitSmResp,
    Unbind,
)
from carrier.smpp.tlv import TRAILING, Tlv, find
from tests.carrier.simulator.esme import Esme, smsc, submit

QUIET = "receipts: {send: false}\n"


def answers(script: str, count: int = 1) -> list[tuple[int, object]]:
    """Return (status, PDU) of what answers so many submit_sm."""
    esme = Esme(smsc(QUIET + "message_ids: hex\n" + script))
    esme.send(*[submit()] * count, now=0.0)
    return [(header.command_status, pdu) for header, pdu in esme.read()]


@pytest.mark.parametrize(
    ("body", "octets"),
    [("full", b"ff\0"), ("empty", b"\0"), ("absent", b""), ("unterminated", b"ff")],
)
def test_bodies_of_successes(body: str, octets: bytes) -> None:
    """An id, an empty one, none at all, one without its end."""
    esme = Esme(smsc(QUIET + f"message_ids: hex\nresponses: {{body: {body}}}"))
    esme.send(submit(), now=0.0)
    assert esme.peer.take_output()[16:] == octets


@pytest.mark.parametrize(
    ("body", "octets"),
    [("absent", ""), ("empty", "00"), ("tlv", "00 001d 0016" + b"refused by the script\0".hex())],
)
def test_bodies_of_errors(body: str, octets: str) -> None:
    """Nothing, an empty id, a TLV."""
    esme = Esme(smsc(QUIET + f"errors: [{{status: 8}}]\nresponses: {{error_body: {body}}}"))
    esme.send(submit(), now=0.0)
    assert esme.peer.take_output()[16:] == bytes.fromhex(octets)


def test_congestion_comes_level_by_level() -> None:
    """One for each response, errors among them; the last one stays."""
    found = answers("errors: [{every: 2, status: 8}]\nresponses: {congestion: [90, 80, 0]}", 4)
    levels = [find(pdu.tlvs, Tag.CONGESTION_STATE) for _, pdu in found if isinstance(pdu, SubmitSmResp)]
    assert levels == [b"\x5a", b"\x50", b"\0", b"\0"]
    assert [status for status, _ in found] == [0, 8, 0, 8]


def test_tlvs_nobody_knows() -> None:
    """Unknown ones, and octets that are no whole one."""
    ((_, pdu),) = answers('responses: {tlvs: [{tag: 0x1500, text: hi}, {tag: 0x427, value: ""}], trailing: "1400 ff"}')
    assert isinstance(pdu, SubmitSmResp)
    assert pdu.tlvs == (Tlv(0x1500, b"hi"), Tlv(0x427, b""), Tlv(TRAILING, b"\x14\0\xff"))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("nothing", []),
        ("twice", [(0, 2, "SubmitSmResp"), (0, 2, "SubmitSmResp")]),
        ("generic_nack", [(3, 2, "GenericNack")]),
        ("generic_nack_0", [(3, 0, "GenericNack")]),
        ("other_kind", [(0, 2, "ReplaceSmResp")]),
    ],
)
def test_odd_answers(how: str, expected: list[tuple[int, int, str]]) -> None:
    """The second of two; the first is answered properly."""
    esme = Esme(smsc(QUIET + f"answers: [{{to: submit_sm, with: {how}, every: 2}}]"))
    esme.sequence = 0
    esme.send(submit(), submit(), now=0.0)
    found = [(header.command_status, header.sequence_number, type(pdu).__name__) for header, pdu in esme.read()]
    assert found == [(0, 1, "SubmitSmResp"), *expected]


def test_a_nacked_submit_sm_is_not_carried_out_and_an_unanswered_one_is() -> None:
    """What the other side cannot know, the log tells."""
    box = smsc("answers: [{to: submit_sm, with: generic_nack, times: 1}, {to: submit_sm, with: nothing}]")
    Esme(box).send(submit(), submit(), now=0.0)
    assert (box.counts.submits, box.counts.accepted) == (1, 1)


def test_a_silent_peer() -> None:
    """Answers nothing but the bind."""
    esme = Esme(smsc("answers: [{to: any, with: nothing}]"))
    esme.send(EnquireLink(), QuerySm(b"1"), Unbind(), now=0.0)
    assert esme.take() == []


def test_a_length_that_cannot_be() -> None:
    """Eight octets: nothing after it can be trusted."""
    esme = Esme(smsc("answers: [{to: submit_sm, with: bad_length}]"))
    esme.send(submit(), now=0.0)
    assert esme.peer.take_output().hex() == "00000008800000040000000000000002"


def test_another_kind_is_another_kind_for_replace_sm_too() -> None:
    """The answer never fits what was asked."""
    ((_, pdu),) = answers("answers: [{to: submit_sm, with: other_kind}]")
    assert isinstance(pdu, ReplaceSmResp)


@pytest.mark.parametrize(
    ("script", "tlvs"),
    [
        ("", (Tlv(0x0210, b"\x34"),)),
        ("binds: {interface_version: none}", ()),
        ("binds: {interface_version: 0x50}", (Tlv(0x0210, b"\x50"),)),
        (
            'binds: {interface_version: none, tlvs: [{tag: 0x0210, value: "0034"}, {tag: 0x1500}]}',
            (Tlv(0x0210, b"\0\x34"), Tlv(0x1500, b"")),
        ),
    ],
)
def test_interface_versions(script: str, tlvs: tuple[Tlv, ...]) -> None:
    """Proper, absent, odd."""
    esme = Esme(smsc(script), kind=None)
    esme.send(BindTransceiver(b"a", b"b"), now=0.0)
    ((_, pdu),) = esme.read()
    assert pdu == BindTransceiverResp(b"smsgw-simulator", tlvs)
