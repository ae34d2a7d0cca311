"""The codec: golden octets, round trips, tolerance, and fuzz."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier.errors import FatalPduError, PduError, RecoverablePduError
from carrier.smpp.constants import CommandId, Status, Tag
from carrier.smpp.layouts import LAYOUTS
from carrier.smpp.messages import (
    AlertNotification,
    BindTransceiver,
    BindTransmitter,
    CancelSm,
    CancelSmResp,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    DistributionList,
    EnquireLink,
    GenericNack,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnsuccessSme,
)
from carrier.smpp.pdu import HEADER, Header, command_id_of, decode, encode, encode_submit_sm, printable
from carrier.smpp.tlv import TRAILING, Tlv, encode_tlvs, make_tlv
from tests.carrier.smpp.strategies import PDUS, pdus_of

GOLDEN: list[tuple[str, Pdu, int, int]] = [
    (  # the specification's own example, SMPP 3.4 §3.2.1
        "0000002f 00000002 00000000 00000001 534d50503354455354 00 7365637265743038 00 5355424d495431 00 00 01 01 00",
        BindTransmitter(b"SMPP3TEST", b"secret08", b"SUBMIT1", interface_version=0, addr_ton=1, addr_npi=1),
        1,
        0,
    ),
    ("00000010 00000006 00000000 00000007", Unbind(), 7, 0),
    ("00000010 00000015 00000000 7fffffff", EnquireLink(), 0x7FFFFFFF, 0),
    ("00000010 80000000 00000002 00000000", GenericNack(), 0, 2),
    ("00000010 80000004 00000058 00000005", SubmitSmResp(), 5, 0x58),
    ("00000013 80000004 00000000 00000005 6162 00", SubmitSmResp(b"ab"), 5, 0),
    ("00000011 80000005 00000000 00000009 00", DeliverSmResp(), 9, 0),
    ("00000010 80000008 00000000 00000003", CancelSmResp(), 3, 0),
    (
        (
            "0000003a 00000004 00000000 00000002 00 05 00 41434d45 00 01 01 343931 00 40 00 00 00"
            "303030303030303130303030303030 52 00 01 00 08 00 02 0041"
        ),
        SubmitSm(
            source_addr_ton=5, source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1, destination_addr=b"491",
            esm_class=0x40, validity_period=b"000000010000000R", registered_delivery=1, data_coding=8,
            short_message=b"\x00A",
        ),
        2,
        0,
    ),
    (
        (
            "00000032 00000005 00000000 00000001 00 01 01 3439 00 00 00 41 00 04 00 00 00 00 00 00 03 00 02 6964"
            "001e 0003 616200 0427 0001 02"
        ),
        DeliverSm(
            source_addr_ton=1, source_addr_npi=1, source_addr=b"49", destination_addr=b"A", esm_class=4,
            data_coding=3, short_message=b"id",
            tlvs=(make_tlv(Tag.RECEIPTED_MESSAGE_ID, b"ab"), make_tlv(Tag.MESSAGE_STATE, 2)),
        ),
        1,
        0,
    ),
    (
        "00000021 00000103 00000000 00000001 00 00 00 41 00 00 00 42 00 00 01 08 0424 0001 78",
        DataSm(
            source_addr=b"A", destination_addr=b"B", registered_delivery=1, data_coding=8,
            tlvs=(make_tlv(Tag.MESSAGE_PAYLOAD, b"x"),),
        ),
        1,
        0,
    ),
    ("00000016 00000003 00000000 00000001 6162 00 05 00 00", QuerySm(b"ab", source_addr_ton=5), 1, 0),
    ("00000015 80000003 00000000 00000001 61 00 00 02 00", QuerySmResp(b"a", message_state=2), 1, 0),
    (
        "0000001b 00000008 00000000 00000001 00 6162 00 01 01 00 01 01 31 00",
        CancelSm(
            message_id=b"ab", source_addr_ton=1, source_addr_npi=1, dest_addr_ton=1, dest_addr_npi=1,
            destination_addr=b"1",
        ),
        1,
        0,
    ),
    (
        "0000001c 00000007 00000000 00000001 61 00 00 00 00 00 00 01 00 02 6869",
        ReplaceSm(b"a", registered_delivery=1, short_message=b"hi"),
        1,
        0,
    ),
    (
        "00000028 00000021 00000000 00000001 00 00 00 00 02 01 01 01 31 00 02 6c 00 00 00 00 00 00 00 00 00 00 01 41",
        SubmitMulti(dest_addresses=(SmeAddress(1, 1, b"1"), DistributionList(b"l")), short_message=b"A"),
        1,
        0,
    ),
    (
        "0000001b 80000021 00000000 00000001 61 00 01 01 01 31 00 0000000b",
        SubmitMultiResp(b"a", (UnsuccessSme(1, 1, b"1", 0x0B),)),
        1,
        0,
    ),
    (
        "0000001c 00000102 00000000 00000001 01 01 31 00 00 00 00 0422 0001 01",
        AlertNotification(
            source_addr_ton=1, source_addr_npi=1, source_addr=b"1",
            tlvs=(make_tlv(Tag.MS_AVAILABILITY_STATUS, 1),),
        ),
        1,
        0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "pdu", "sequence", "status"), GOLDEN, ids=lambda v: type(v).__name__)
def test_golden_octets(octets: str, pdu: Pdu, sequence: int, status: int) -> None:
    """Encoding gives the octets written out by hand, and decoding them gives the PDU."""
    frame = bytes.fromhex(octets)
    assert encode(pdu, sequence, status).hex() == frame.hex()
    header, back = decode(frame)
    assert (header, back, type(back)) == (Header(len(frame), command_id_of(pdu), status, sequence), pdu, type(pdu))


@given(PDUS, st.integers(1, 0x7FFFFFFF), st.sampled_from([0, 8, 0xFFFFFFFF]))
@settings(max_examples=300)
def test_round_trip(pdu: Pdu, sequence: int, status: int) -> None:
    """Every PDU that can be encoded comes back equal, and of its type."""
    header, back = decode(encode(pdu, sequence, status))
    assert (type(back), back) == (type(pdu), pdu)
    assert header[1:] == (command_id_of(pdu), status, sequence)


@given(pdus_of(LAYOUTS[CommandId.SUBMIT_SM]))
def test_the_fast_encoder_agrees_with_the_table(pdu: SubmitSm) -> None:
    """encode_submit_sm gives the octets that the layout gives."""
    plain = pdu._replace(schedule_delivery_time=b"", sm_default_msg_id=0)
    fast = encode_submit_sm(
        service_type=plain.service_type, source_addr_ton=plain.source_addr_ton,
        source_addr_npi=plain.source_addr_npi, source_addr=plain.source_addr, dest_addr_ton=plain.dest_addr_ton,
        dest_addr_npi=plain.dest_addr_npi, dest_addr=plain.destination_addr, esm_class=plain.esm_class,
        protocol_id=plain.protocol_id, priority_flag=plain.priority_flag, validity_period=plain.validity_period,
        registered_delivery=plain.registered_delivery, data_coding=plain.data_coding,
        short_message=plain.short_message, tlvs=encode_tlvs(plain.tlvs),
        replace_if_present_flag=plain.replace_if_present_flag,
    )  # fmt: skip
    assert fast == encode(plain, 1)[16:]


SUBMIT = {
    "source_addr_ton": 0, "source_addr_npi": 0, "source_addr": b"A", "dest_addr_ton": 0, "dest_addr_npi": 0,
    "dest_addr": b"1", "esm_class": 0, "protocol_id": 0, "priority_flag": 0, "validity_period": b"",
    "registered_delivery": 0, "data_coding": 0, "short_message": b"",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source_addr": b"x" * 21}, "source_addr: 21 octets, at most 20"),
        ({"dest_addr": b"x" * 21}, "destination_addr: 21 octets"),
        ({"dest_addr": b"1\0002"}, "destination_addr: a C-octet string holds no NUL"),
        ({"source_addr": b"\0A"}, "source_addr: a C-octet string holds no NUL"),
        ({"service_type": b"x" * 6}, "service_type: 6 octets"),
        ({"service_type": b"\0"}, "service_type"),
        ({"validity_period": b"0"}, "validity_period: 1 octets, it is empty or 16"),
        ({"validity_period": b"\0" * 16}, "validity_period"),
        ({"short_message": bytes(255)}, "short_message: 255 octets, at most 254"),
        ({"esm_class": 256}, "not 0 to 255"),
        ({"data_coding": -1}, "not 0 to 255"),
    ],
)
def test_the_fast_encoder_refuses(change: dict[str, bytes | int], says: str) -> None:
    """Each bound of submit_sm holds on the fast path too, and the error names the field."""
    with pytest.raises(PduError, match=says):
        encode_submit_sm(**(SUBMIT | change))  # type: ignore[arg-type]  # the table mixes octets and numbers


@pytest.mark.parametrize(
    ("pdu", "sequence", "status", "says"),
    [
        (BindTransceiver(b"x" * 16, b"p"), 1, 0, "system_id: 16 octets, at most 15"),
        (BindTransceiver(b"x", b"\0"), 1, 0, "password: a C-octet"),
        (SubmitSm(esm_class=300), 1, 0, "esm_class: 300 does not fit 1 octet"),
        (SubmitSm(schedule_delivery_time=b"x"), 1, 0, "schedule_delivery_time: 1 octets"),
        (SubmitMulti(), 1, 0, "0 destinations"),
        (SubmitMulti(dest_addresses=(DistributionList(b"x" * 21),)), 1, 0, "dl_name"),
        (SubmitMultiResp(unsuccess_smes=(UnsuccessSme(0, 0, b"", 0),) * 256), 1, 0, "256 entries"),
        (Unbind(), 0, 0, "sequence_number 0"),
        (Unbind(), 0x80000000, 0, "sequence_number"),
        (Unbind(), 1, 1 << 32, "command_status"),
    ],
)
def test_encode_refuses(pdu: Pdu, sequence: int, status: int, says: str) -> None:
    """A value beyond the specification is refused with the field's name."""
    with pytest.raises(PduError, match=says):
        encode(pdu, sequence, status)


def test_errors_hold_no_content() -> None:
    """The message of an encoding error does not repeat the value: it may be a number or a password."""
    with pytest.raises(PduError) as caught:
        encode(SubmitSm(destination_addr=b"4915112345678901234567"), 1)
    assert "49151" not in str(caught.value)


@pytest.mark.parametrize("pdu", [SubmitSm(short_message=b"4711"), BindTransceiver(b"user", b"4711")])
def test_repr_shows_no_secret(pdu: Pdu) -> None:
    """Texts and passwords do not show in a repr, numbers of the protocol do."""
    assert "4711" not in repr(pdu)
    assert "=0" in repr(pdu)


def decoded_or_error(frame: bytes) -> Pdu | RecoverablePduError:
    """Decode a frame whose length is right; any error but the documented one escapes."""
    try:
        return decode(frame)[1]
    except RecoverablePduError as error:
        return error


@given(st.binary(max_size=120), st.sampled_from([*sorted(LAYOUTS), 0x666, 0x80000666]), st.sampled_from([0, 8]))
@settings(max_examples=500)
def test_fuzz_body(body: bytes, command_id: int, status: int) -> None:
    """Any body of any command decodes or raises RecoverablePduError that says what to answer."""
    frame = HEADER.pack(16 + len(body), command_id, status, 77) + body
    outcome = decoded_or_error(frame)
    if isinstance(outcome, RecoverablePduError):
        assert (outcome.command_id, outcome.sequence) == (command_id, 77)
        assert outcome.status in (Status.ESME_RINVCMDID, Status.ESME_RINVCMDLEN)
    else:
        assert command_id_of(outcome) == command_id


@given(PDUS, st.data())
def test_fuzz_cut_short(pdu: Pdu, data: st.DataObject) -> None:
    """A PDU cut anywhere decodes to something or is a documented error."""
    frame = encode(pdu, 1)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    with pytest.raises(FatalPduError):
        decode(cut)
    if len(cut) >= 16:
        outcome = decoded_or_error(len(cut).to_bytes(4, "big") + cut[4:])
        assert not isinstance(outcome, RecoverablePduError) or outcome.status == Status.ESME_RINVCMDLEN


@pytest.mark.parametrize("response", [SubmitSmResp(), DataSmResp(), QuerySmResp(), DeliverSmResp(), SubmitMultiResp()])
@pytest.mark.parametrize("status", [0, 8])
def test_a_response_may_have_no_body(response: Pdu, status: int) -> None:
    """Carriers leave the body out, of errors and of successes: the fields are their defaults."""
    frame = HEADER.pack(16, command_id_of(response), status, 1)
    assert decode(frame)[1] == response


def test_an_error_response_keeps_any_body() -> None:
    """Whatever an error response carries, the status arrives and the octets are kept."""
    frame = HEADER.pack(19, CommandId.QUERY_SM_RESP, 8, 1) + b"abc"
    assert decode(frame)[1] == QuerySmResp(tlvs=(Tlv(TRAILING, b"abc"),))


def test_an_error_response_may_have_tlvs() -> None:
    """node-smpp's users see TLVs behind an empty message_id."""
    frame = HEADER.pack(24, CommandId.SUBMIT_SM_RESP, 8, 1) + bytes.fromhex("00 0423 0003 030008")
    assert decode(frame)[1] == SubmitSmResp(tlvs=(Tlv(Tag.NETWORK_ERROR_CODE, b"\3\0\x08"),))


def test_an_unterminated_message_id_is_taken() -> None:
    """An answer in doubt for want of a NUL would be a message sent twice."""
    frame = HEADER.pack(18, CommandId.SUBMIT_SM_RESP, 0, 1) + b"ab"
    assert decode(frame)[1] == SubmitSmResp(b"ab")


def test_tlvs_in_the_wrong_place_are_kept() -> None:
    """A TLV on a PDU that has none, and one nobody knows, cost nothing."""
    frame = HEADER.pack(21, CommandId.ENQUIRE_LINK, 0, 1) + bytes.fromhex("1401000107")
    assert decode(frame)[1] == EnquireLink((Tlv(0x1401, b"\x07"),))


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"", "ends before"), (b"\0\0\0A", "ends before"), (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05abcd", "sm_length")],
)
def test_a_request_that_does_not_fit_its_frame(body: bytes, says: str) -> None:
    """A deliver_sm whose mandatory part is cut is an error that says what to answer."""
    with pytest.raises(RecoverablePduError, match=says) as caught:
        decode(HEADER.pack(16 + len(body), CommandId.DELIVER_SM, 0, 5) + body)
    assert (caught.value.sequence, caught.value.status) == (5, Status.ESME_RINVCMDLEN)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"0001-aBc", "0001-aBc"),
        (b"a\nb\x1b[2J", "a\\x0ab\\x1b[2J"),
        (b"\xff\x80", "\\xff\\x80"),
        (b"", ""),
        (b"9" * 300, "9" * 255),
    ],
)
def test_printable(octets: bytes, text: str) -> None:
    """A carrier's id cannot carry control characters, nor be of any length."""
    assert printable(octets) == text
