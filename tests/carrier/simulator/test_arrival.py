"""What the carrier sees: alphabets, parts, faults."""

from __future__ import annotations

import pytest

from carrier.simulator.arrival import Received, decode, read_part
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm
from carrier.smpp.tlv import Tlv, make_tlv
from carrier.text import gsm7
from tests.carrier.simulator.esme import Esme, smsc, submit


@pytest.mark.parametrize(
    ("alphabet", "octets", "data_coding", "text"),
    [
        ("gsm", b"\x00\x1b\x65", 0, "@€"),
        ("latin1", b"\x40\xe9", 0, "@é"),
        ("ascii", b"@\xe9", 0, "@�"),
        ("packed", bytes.fromhex("c8329bfd06"), 0, "Hello"),
        ("latin1", "नमस्ते".encode("utf-16-be"), 8, "नमस्ते"),
        ("gsm", b"\xe9", 3, "é"),
        ("gsm", b"\xe9", 4, "e9"),
    ],
)
def test_texts(alphabet: str, octets: bytes, data_coding: int, text: str) -> None:
    """data_coding 0 is the carrier's own matter."""
    assert decode(octets, data_coding, alphabet) == text


@pytest.mark.parametrize("length", range(41))
@pytest.mark.parametrize("header", [0, 6, 7])
def test_packed_texts_of_every_length(length: int, header: int) -> None:
    """The septets that fill the last octet are no text."""
    text = ("hello world " * 4)[:length]
    packed = gsm7.pack(gsm7.encode(text), -8 * header % 7)
    assert decode(packed, 0, "packed", header) == text


def test_parts_by_header_and_by_tlvs() -> None:
    """8 bits, 16 bits, SAR; a header that goes nowhere is text."""
    sar = (
        make_tlv(Tag.SAR_MSG_REF_NUM, 258),
        make_tlv(Tag.SAR_TOTAL_SEGMENTS, 3),
        make_tlv(Tag.SAR_SEGMENT_SEQNUM, 2),
    )
    pdus = [
        submit(b"\x05\0\3\7\3\2x", esm_class=0x40),
        submit(b"\x06\x08\4\1\2\3\2x", esm_class=0x40),
        submit(b"x", tlvs=sar),
        submit(b"", tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, b"x"),)),
        submit(b"\x09x", esm_class=0x40),
    ]
    assert [read_part(pdu)[2:6] for pdu in pdus] == [
        (("udh8", 7), 2, 3, b"x"),
        (("udh16", 258), 2, 3, b"x"),
        (("sar", 258), 2, 3, b"x"),
        (("", 0), 1, 1, b"x"),
        (("", 0), 1, 1, b"\x09x"),
    ]


def test_header_and_sar_together_are_refused_where_the_script_says_so() -> None:
    """ESME_RINVESMCLASS; a careless carrier takes it."""
    both = submit(b"\x05\0\3\7\2\1x", esm_class=0x40, tlvs=(make_tlv(Tag.SAR_TOTAL_SEGMENTS, 2),))
    for script, status in (("refuse_udhi_with_sar: true", 0x43), ("", 0)):
        esme = Esme(smsc("receipts: {send: false}\n" + script))
        esme.send(both, now=0.0)
        assert esme.take() == [(status, "SubmitSmResp")]


@pytest.mark.parametrize(("source", "destination", "status"), [(64, 13, 0x0A), (5, 64, 0x0B)])
def test_addresses_that_no_receipt_could_hold_are_refused(source: int, destination: int, status: int) -> None:
    """A data_sm has room for 64 octets, a deliver_sm for 20."""
    esme = Esme(smsc("operations: {data: answer}"))
    pdu = DataSm(source_addr=b"1" * source, destination_addr=b"1" * destination, registered_delivery=1)
    esme.send(pdu, now=0.0)
    assert esme.take() == [(status, "DataSmResp")]


@pytest.mark.parametrize(
    ("tlvs", "status"),
    [
        ((), 0xC3),
        ((Tlv(0x1400, b"1234567890\0"),), 0),
        ((Tlv(0x1400, b"1"),), 0xC4),
        ((Tlv(0x1400, b"12345x"),), 0xC4),
    ],
)
def test_required_tlvs(tlvs: tuple[Tlv, ...], status: int) -> None:
    """Missing, right, too short, no digits."""
    esme = Esme(smsc("receipts: {send: false}\nrequired_tlvs: [{tag: 0x1400, shortest: 5, longest: 20, digits: true}]"))
    esme.send(submit(tlvs=tlvs), now=0.0)
    assert esme.take() == [(status, "SubmitSmResp")]


def test_what_arrived_is_told_whole() -> None:
    """Text, header, time, connection, and the PDU with its TON, NPI and TLVs."""
    box = smsc("alphabet: latin1")
    Esme(box).send(submit(b"\3\x24\1\1caf\xe9", esm_class=0x40), now=7.0)
    (event,) = [event for event in box.take_events() if isinstance(event, Received)]
    assert (event.text, event.elements, event.at, event.connection) == ("café", ((0x24, b"\1"),), 7.0, "#1")
    assert event.submit.source_addr_ton == 5


def test_national_tables_are_read_where_the_header_names_them() -> None:
    """Turkish, single shift and locking; without the header the same septets are other characters."""
    box = smsc("receipts: {send: false}")
    esme = Esme(box)
    for octets, esm_class in ((b"\3\x24\1\1\x1b\x53", 0x40), (b"\3\x25\1\1\x40", 0x40), (b"\x1b\x53\x40", 0)):
        esme.send(submit(octets, esm_class=esm_class), now=0.0)
    assert [event.text for event in box.take_events() if isinstance(event, Received)] == ["Ş", "İ", "S¡"]
