"""Our octets against smpplib's, for every PDU that it knows, in both directions."""

from __future__ import annotations

from typing import Any

import pytest
from smpplib import command as theirs

from carrier.smpp.constants import CommandId, Tag, command_name
from carrier.smpp.layouts import LAYOUTS
from carrier.smpp.messages import (
    AlertNotification,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Pdu,
    QuerySm,
    QuerySmResp,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
)
from carrier.smpp.pdu import command_id_of, decode, encode
from carrier.smpp.tlv import Tlv, make_tlv

TEXT = bytes(range(1, 120))
SUBMIT = SubmitSm(
    b"CMT", 5, 0, b"ACME", 1, 1, b"4915112345678", 0x43, 0x41, 1, b"260131235959032+", b"000000010000000R",
    1, 1, 8, 7, TEXT,
    (make_tlv(Tag.USER_MESSAGE_REFERENCE, 0x1234), make_tlv(Tag.SAR_MSG_REF_NUM, 7),
     make_tlv(Tag.SAR_TOTAL_SEGMENTS, 3), make_tlv(Tag.SAR_SEGMENT_SEQNUM, 2)),
)  # fmt: skip
DELIVER = DeliverSm(
    b"", 1, 1, b"4915112345678", 3, 0, b"12345", 4, 0, 0, b"", b"", 0, 0, 3, 0, b"id:1 stat:DELIVRD",
    (make_tlv(Tag.NETWORK_ERROR_CODE, b"\3\0\x08"), make_tlv(Tag.MESSAGE_STATE, 2),
     make_tlv(Tag.RECEIPTED_MESSAGE_ID, b"0001-aBc")),
)  # fmt: skip
DATA = DataSm(
    b"WAP", 1, 1, b"491", 1, 1, b"492", 0, 1, 8,
    (make_tlv(Tag.SOURCE_PORT, 9200), make_tlv(Tag.QOS_TIME_TO_LIVE, 3600), make_tlv(Tag.MESSAGE_PAYLOAD, TEXT)),
)  # fmt: skip
BIND = (b"user", b"secret08", b"SYS", 0x34, 1, 1, b"^49")
VERSION = (make_tlv(Tag.SC_INTERFACE_VERSION, 0x34),)

KNOWN: list[Pdu] = [
    BindTransmitter(*BIND),
    BindReceiver(*BIND),
    BindTransceiver(*BIND),
    BindTransmitterResp(b"smsc", VERSION),
    BindReceiverResp(b"smsc", VERSION),
    BindTransceiverResp(b"smsc", VERSION),
    SUBMIT,
    SUBMIT._replace(short_message=b"", tlvs=(make_tlv(Tag.MESSAGE_PAYLOAD, TEXT),)),
    SubmitSmResp(b"0001-aBc"),
    DELIVER,
    DeliverSmResp(),
    DATA,
    DataSmResp(b"0001-aBc", (make_tlv(Tag.DPF_RESULT, 1),)),
    QuerySm(b"0001-aBc", 5, 0, b"ACME"),
    QuerySmResp(b"0001-aBc", b"260131235959032+", 2, 8),
    Unbind(),
    UnbindResp(),
    EnquireLink(),
    EnquireLinkResp(),
    GenericNack(),
    AlertNotification(1, 1, b"491", 1, 1, b"492", (make_tlv(Tag.MS_AVAILABILITY_STATUS, 1),)),
]


def by_smpplib(pdu: Pdu, sequence: int) -> Any:
    """Build the same PDU with smpplib."""
    name = command_name(command_id_of(pdu))
    made = theirs.factory(name, sequence=sequence)
    made.sequence = sequence
    octet_strings = {"short_message"}
    for field, value in zip(pdu._fields, pdu, strict=True):
        if field != "tlvs":
            setattr(made, field, value.decode() if isinstance(value, bytes) and field not in octet_strings else value)
    for tag, value in pdu.tlvs:
        set_tlv(made, tag, value)
    return made


def set_tlv(made: Any, tag: int, value: bytes) -> None:
    """Give smpplib's PDU the value of a TLV in the form that it wants."""
    name = theirs.get_optional_name(tag)
    kind = made.params[name].type
    if kind is int:
        setattr(made, name, int.from_bytes(value, "big"))
    else:
        setattr(made, name, value[:-1].decode() if kind is str else value)


@pytest.mark.parametrize("pdu", KNOWN, ids=lambda pdu: type(pdu).__name__)
def test_our_octets_are_smpplibs(pdu: Pdu) -> None:
    """Encoding gives, octet by octet, what smpplib gives."""
    assert encode(pdu, 0x01020304).hex() == by_smpplib(pdu, 0x01020304).generate().hex()


@pytest.mark.parametrize("pdu", KNOWN, ids=lambda pdu: type(pdu).__name__)
def test_smpplib_reads_ours(pdu: Pdu) -> None:
    """smpplib parses what we encode into the same fields."""
    made = theirs.factory(command_name(command_id_of(pdu)), sequence=1)
    made.parse(encode(pdu, 9))
    assert made.sequence == 9
    for field, value in zip(pdu._fields, pdu, strict=True):
        if field != "tlvs":
            assert (getattr(made, field) or type(value)()) == value, field
    for tag, value in pdu.tlvs:
        assert tlv_of(made, tag) == Tlv(tag, value)


def tlv_of(made: Any, tag: int) -> Tlv:
    """Return what smpplib has parsed for a tag."""
    value = getattr(made, theirs.get_optional_name(tag))
    param = made.params[theirs.get_optional_name(tag)]
    if param.type is int:
        return Tlv(tag, value.to_bytes(param.size, "big"))
    return Tlv(tag, value + b"\0" if param.type is str else value)


@pytest.mark.parametrize("pdu", KNOWN, ids=lambda pdu: type(pdu).__name__)
def test_we_read_smpplibs(pdu: Pdu) -> None:
    """We decode what smpplib encodes into the same PDU."""
    assert decode(by_smpplib(pdu, 9).generate())[1] == pdu


def test_no_pdu_that_smpplib_knows_is_left_out() -> None:
    """The list above has every PDU of ours that smpplib can make."""
    unknown_to_smpplib = {
        CommandId.CANCEL_SM, CommandId.CANCEL_SM_RESP, CommandId.REPLACE_SM, CommandId.REPLACE_SM_RESP,
        CommandId.OUTBIND, CommandId.SUBMIT_MULTI, CommandId.SUBMIT_MULTI_RESP,
    }  # fmt: skip
    assert {command_id_of(pdu) for pdu in KNOWN} == set(LAYOUTS) - unknown_to_smpplib
    for command in unknown_to_smpplib:
        with pytest.raises(theirs.exceptions.UnknownCommandError):
            theirs.factory(command_name(command))
