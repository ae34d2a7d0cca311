"""Messages of handsets, read by the link's own readers and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from carrier.errors import TextError
from carrier.inbound import assemble, parse_inbound
from carrier.simulator.handset import handset_pdus
from carrier.simulator.script import InboundScript
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm, DeliverSm, encode
from carrier.smpp.tlv import find
from carrier.text import gsm7

LONG = "hello from a handset " * 10


def message(**changes: Any) -> InboundScript:
    """Return a message with these fields."""
    return InboundScript(**({"source": "+4915112345678", "destination": "12345", "text": "hello"} | changes))


@pytest.mark.parametrize("segmentation", ["udh8", "udh16", "sar", "payload"])
@pytest.mark.parametrize("by", ["deliver_sm", "data_sm"])
@pytest.mark.parametrize("text", [LONG, "नमस्ते 😀 " * 20, "hi"])
def test_every_way_to_cut(segmentation: str, by: str, text: str) -> None:
    """What the link puts together is what was sent, in any order."""
    pdus = handset_pdus(message(text=text, segmentation=segmentation, by=by, reverse=True), 300)
    assert {type(pdu) for pdu in pdus} == {DeliverSm if by == "deliver_sm" else DataSm}
    for pdu in pdus:
        encode(pdu, 1)
    assert assemble([parse_inbound(pdu) for pdu in pdus]) == text
    assert (len(pdus) > 1) == (segmentation != "payload" and text != "hi")


@pytest.mark.parametrize(
    ("changes", "data_coding", "octets"),
    [
        ({}, 0, b"hello"),
        ({"text": "é"}, 0, b"\x05"),
        ({"text": "é", "encoding": "latin1"}, 3, b"\xe9"),
        ({"text": "e", "encoding": "ascii"}, 1, b"e"),
        ({"text": "e", "encoding": "ucs2", "data_coding": 0}, 0, b"\0e"),
        ({"encoding": "packed"}, 0, bytes.fromhex("e8329bfd06")),
        ({"data_coding": 0xF1}, 0xF1, b"hello"),
        ({"text": "", "octets": b"\xff\0", "data_coding": 0xF5}, 0xF5, b"\xff\0"),
        ({"udh": b"\x24\1\3"}, 0, b"\3\x24\1\3hello"),
    ],
)
def test_encodings(changes: dict[str, Any], data_coding: int, octets: bytes) -> None:
    """By name, by octets, and under a data_coding that does not say what it is."""
    (pdu,) = handset_pdus(message(**changes), 1)
    assert isinstance(pdu, DeliverSm)
    assert (pdu.data_coding, pdu.short_message) == (data_coding, octets)
    assert bool(pdu.esm_class & 0x40) == ("udh" in changes)


def test_no_part_is_larger_than_an_sms() -> None:
    """140 octets with the header, packed or not."""
    for encoding, unit in (("gsm", 160), ("packed", 140), ("ucs2", 140), ("latin1", 140)):
        for pdu in handset_pdus(message(text=LONG, encoding=encoding, udh=b"\x24\1\1"), 1):
            assert isinstance(pdu, DeliverSm)
            assert len(pdu.short_message) <= unit


def test_packed_parts_begin_at_a_septet() -> None:
    """The header is filled up to a septet (3GPP TS 23.040 §9.2.3.24)."""
    pdus = handset_pdus(message(text=LONG, encoding="packed"), 1)
    texts = []
    for pdu in pdus:
        assert isinstance(pdu, DeliverSm)
        septets = gsm7.unpack(pdu.short_message[6:], (8 * len(pdu.short_message[6:]) - 1) // 7, 1)
        texts.append(gsm7.decode(septets))
    assert "".join(texts).rstrip("@") == LONG


def test_a_missing_part_and_tlvs() -> None:
    """What never comes, and what nobody asked for."""
    pdus = handset_pdus(message(text=LONG, missing_part=1), 1)
    assert [parse_inbound(pdu).part for pdu in pdus] == [2]
    (pdu,) = handset_pdus(message(segmentation="payload"), 1)
    assert find(pdu.tlvs, Tag.MESSAGE_PAYLOAD) == b"hello"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"text": "नमस्ते", "encoding": "gsm"}, "outside the GSM alphabet"),
        ({"text": "न", "encoding": "latin1"}, "cannot be written in latin1"),
        ({"text": "x" * 40_000}, "at most 255"),
    ],
)
def test_what_cannot_be_sent(changes: dict[str, Any], what: str) -> None:
    """A TextError that says why."""
    with pytest.raises(TextError, match=what):
        handset_pdus(message(**changes), 1)
