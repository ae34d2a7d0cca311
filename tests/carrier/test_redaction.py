"""PDUs of captures: nothing personal is left in them, and they are still PDUs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.errors import PduError
from carrier.redaction import redact
from carrier.smpp.constants import Status, Tag
from carrier.smpp.messages import (
    AlertNotification,
    BindTransceiver,
    DataSm,
    DeliverSm,
    DistributionList,
    Outbind,
    Pdu,
    QuerySm,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
    SubmitSm,
    SubmitSmResp,
    UnsuccessSme,
)
from carrier.smpp.pdu import HEADER, decode, encode
from carrier.smpp.tlv import TRAILING, Tlv, find
from tests.carrier.smpp.strategies import PDUS

NUMBER, TEXT, PASSWORD = b"4915112345678", b"your code is 839201", b"pa55word"
PLANTED = (NUMBER, TEXT, PASSWORD, b"839201", b"12345")


def hidden(pdu: Pdu, sequence: int = 7, status: int = 0) -> Pdu:
    """Redact a PDU on the wire, and read what comes of it."""
    octets = redact(encode(pdu, sequence, status))
    for planted in PLANTED:
        assert planted not in octets
    header, found = decode(octets)
    assert (header.sequence_number, header.command_status) == (sequence, status)
    assert type(found) is type(pdu)
    return found


def test_a_submit_sm() -> None:
    """Body and address are overwritten at their length, everything else is as it was."""
    pdu = SubmitSm(b"CMT", 5, 0, b"ACME", 1, 1, NUMBER, 0, 0, 1, b"", b"000000010000000R", 1, 0, 0, 0, TEXT)
    assert hidden(pdu) == pdu._replace(source_addr=b"xxxx", destination_addr=b"x" * 13, short_message=b"x" * len(TEXT))


def test_how_an_address_is_written_shows() -> None:
    """A plus sign and separators stay: a wrong notation is what one looks for."""
    assert hidden(QuerySm(b"id-7", 1, 1, b"+49 151-2345678")) == QuerySm(b"id-7", 1, 1, b"+xx xxx-xxxxxxx")


@pytest.mark.parametrize("pdu", [BindTransceiver(b"user", PASSWORD, b"SMPP"), Outbind(b"user", PASSWORD)])
def test_a_password_is_emptied(pdu: BindTransceiver | Outbind) -> None:
    """Not even its length is left; the account is."""
    assert hidden(pdu) == pdu._replace(password=b"")


def test_lists_of_addresses() -> None:
    """Each address of submit_multi and of its response is hidden, names of distribution lists too."""
    destinations = (SmeAddress(1, 1, NUMBER), DistributionList(b"friends"))
    found = hidden(SubmitMulti(source_addr=NUMBER, dest_addresses=destinations, short_message=TEXT))
    assert isinstance(found, SubmitMulti)
    assert found.dest_addresses == (SmeAddress(1, 1, b"x" * 13), DistributionList(b"x" * 7))
    failed = hidden(SubmitMultiResp(b"id-7", (UnsuccessSme(1, 1, NUMBER, 11),)))
    assert failed == SubmitMultiResp(b"id-7", (UnsuccessSme(1, 1, b"x" * 13, 11),))
    assert hidden(AlertNotification(1, 1, NUMBER, 1, 1, NUMBER)) == AlertNotification(1, 1, b"x" * 13, 1, 1, b"x" * 13)


def test_tlvs() -> None:
    """Numbers and the carrier's ids stay; texts, numbers to call and what nobody knows go, at their length."""
    kept = (
        Tlv(Tag.RECEIPTED_MESSAGE_ID, b"id-7\0"), Tlv(Tag.MESSAGE_STATE, b"\x02"),
        Tlv(Tag.NETWORK_ERROR_CODE, b"\x03\0\x05"), Tlv(Tag.SAR_MSG_REF_NUM, b"\0\x07"),
    )  # fmt: skip
    gone = (
        Tlv(Tag.MESSAGE_PAYLOAD, TEXT), Tlv(Tag.CALLBACK_NUM, b"\x01\x01\x01" + NUMBER), Tlv(0x1400, NUMBER),
        Tlv(Tag.ADDITIONAL_STATUS_INFO_TEXT, TEXT + b"\0"), Tlv(Tag.MESSAGE_STATE, NUMBER),
        Tlv(Tag.RECEIPTED_MESSAGE_ID, NUMBER * 6), Tlv(TRAILING, b"123"),
    )  # fmt: skip
    found = hidden(DataSm(tlvs=kept + gone))
    assert found.tlvs[:4] == kept
    assert [(tlv.tag, len(tlv.value)) for tlv in found.tlvs[4:]] == [(tlv.tag, len(tlv.value)) for tlv in gone]
    assert find(found.tlvs, Tag.MESSAGE_PAYLOAD) == b"x" * len(TEXT)


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (b"\x05\x00\x03\x07\x02\x01", b"\x05\x00\x03\x07\x02\x01"),
        (b"\x06\x08\x04\x01\x07\x02\x01", b"\x06\x08\x04\x01\x07\x02\x01"),
        (b"\x0a\x70\x08" + b"12345678", b"\x0a\x70\x08" + bytes(8)),
        (b"\x07\x05\x09123", b"\x07" + bytes(7)),
        (b"\xff", b""),
    ],
)
def test_user_data_headers(header: bytes, kept: bytes) -> None:
    """What joins parts and names ports stays; other elements are emptied; no text hides in an unsound header."""
    found = hidden(DeliverSm(esm_class=0x40, source_addr=NUMBER, short_message=header + TEXT))
    assert isinstance(found, DeliverSm)
    assert found.short_message.startswith(kept or b"\0")
    assert len(found.short_message) == len(header + TEXT)
    assert set(found.short_message[max(len(header), 1) :]) <= {ord("x"), 0}


def test_error_responses() -> None:
    """A response without a body stays one; so does an error with an id."""
    assert hidden(SubmitSmResp(), status=Status.ESME_RTHROTTLED) == SubmitSmResp()
    assert hidden(SubmitSmResp(b"id-7"), status=0) == SubmitSmResp(b"id-7")


@pytest.mark.parametrize(
    "octets",
    [
        HEADER.pack(16 + len(TEXT), 0x666, 0, 1) + TEXT,  # an unknown command
        HEADER.pack(16 + len(TEXT), 0x4, 0, 1) + TEXT,  # no submit_sm
        HEADER.pack(16 + 40, 0x80000004, 0, 1) + b"1" * 40,  # an id without its NUL
        HEADER.pack(16 + 90, 0x80000004, 0, 1) + b"4915112345678" * 6 + bytes(12),  # an id that is too long
        TEXT[:10],
    ],
)
def test_what_cannot_be_read_is_overwritten(octets: bytes) -> None:
    """Only the header stays of a PDU that is not what it claims to be."""
    found = redact(octets)
    assert len(found) == len(octets)
    assert found[:16] == octets[:16] if len(octets) >= 16 else not any(found)
    assert not any(found[16:])


def other(value: Any) -> Any:
    """Return a value of the same shape with other contents."""
    if isinstance(value, bytes):
        return bytes(octet if octet in b"+-. ()\0" else 0x41 + octet % 7 for octet in value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(other(each) for each in value)
    if isinstance(value, SmeAddress | UnsuccessSme):
        return value._replace(destination_addr=other(value.destination_addr))
    if isinstance(value, DistributionList):
        return DistributionList(b"9" * len(value.dl_name))
    return value


HIDDEN = {"source_addr", "destination_addr", "esme_addr", "address_range", "dest_addresses", "unsuccess_smes"}


@given(PDUS)
def test_what_is_hidden_makes_no_difference(pdu: Pdu) -> None:
    """Two PDUs that differ in addresses, text and password alone give the same octets, and these are a sound PDU."""
    changes = {name: other(getattr(pdu, name)) for name in HIDDEN & set(pdu._fields)}
    if "short_message" in pdu._fields and not getattr(pdu, "esm_class", 0) & 0x40:
        changes["short_message"] = b"?" * len(getattr(pdu, "short_message"))  # noqa: B009  # not all PDUs have it
    if "password" in pdu._fields:
        changes["password"] = b"another"
    found = redact(encode(pdu, 1))
    assert found == redact(encode(pdu._replace(**changes), 1))
    assert type(decode(found)[1]) is type(pdu)
    assert redact(found) == found


@given(st.binary(max_size=120), st.integers(0, 0xFFFFFFFF), st.integers(0, 0x15))
def test_any_octets(body: bytes, status: int, command_id: int) -> None:
    """Whatever comes, nothing raises, and what was a PDU is one afterwards."""
    octets = HEADER.pack(16 + len(body), command_id, status, 1) + body
    found = redact(octets)
    try:
        decode(octets)
    except PduError:
        return
    assert HEADER.unpack_from(found)[0] == len(found)
    assert HEADER.unpack_from(found)[1:] == (command_id, status, 1)
