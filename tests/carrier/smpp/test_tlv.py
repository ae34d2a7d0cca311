"""TLVs: strict to write, tolerant to read, never lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.errors import PduError
from carrier.smpp.constants import Tag
from carrier.smpp.tlv import (
    TLV_FORMATS,
    TRAILING,
    Tlv,
    decode_tlvs,
    encode_tlvs,
    find,
    make_tlv,
    read_cstring,
    read_int,
)
from tests.carrier.smpp.strategies import TLVS


def test_golden_octets() -> None:
    """Tag, length, value, big-endian (SMPP 3.4 §3.2.4.1)."""
    made = (
        make_tlv(Tag.USER_MESSAGE_REFERENCE, 0x1234),
        make_tlv(Tag.RECEIPTED_MESSAGE_ID, b"ab"),
        make_tlv(0x1400, b"\x01"),
    )
    assert encode_tlvs(made).hex() == "020400021234" + "001e0003616200" + "1400000101"


@given(TLVS)
def test_round_trip(tlvs: tuple[Tlv, ...]) -> None:
    """What is encoded is decoded, in its order, duplicates too."""
    assert decode_tlvs(b"head" + encode_tlvs(tlvs), 4) == tlvs


@given(st.binary(max_size=200))
def test_any_octets_are_kept(octets: bytes) -> None:
    """Whatever a carrier sends comes out again octet by octet."""
    assert encode_tlvs(decode_tlvs(octets, 0)) == octets


def test_a_truncated_tlv_is_kept_raw() -> None:
    """A length beyond the frame costs only that TLV."""
    tlvs = decode_tlvs(bytes.fromhex("0427000102" + "001e00ff61"), 0)
    assert tlvs == (Tlv(Tag.MESSAGE_STATE, b"\x02"), Tlv(TRAILING, bytes.fromhex("001e00ff61")))
    assert (read_int(tlvs, Tag.MESSAGE_STATE), find(tlvs, Tag.RECEIPTED_MESSAGE_ID)) == (2, None)


@pytest.mark.parametrize(("value", "number"), [(b"\x02", 2), (b"\x00\x02", 2), (b"", None), (b"\0\0\0\0\2", None)])
def test_read_int_takes_what_carriers_send(value: bytes, number: int | None) -> None:
    """A number of another size is read, one that cannot be a number is None."""
    assert read_int((Tlv(Tag.MESSAGE_STATE, value),), Tag.MESSAGE_STATE) == number


@pytest.mark.parametrize("value", [b"ab\0", b"ab", b"ab\0junk"])
def test_read_cstring_ends_at_the_first_nul(value: bytes) -> None:
    """A missing NUL and octets after it do no harm."""
    assert read_cstring((Tlv(Tag.RECEIPTED_MESSAGE_ID, value),), Tag.RECEIPTED_MESSAGE_ID) == b"ab"


@pytest.mark.parametrize(
    ("tag", "value", "says"),
    [
        (Tag.MESSAGE_STATE, 256, "does not fit 1 octets"),
        (Tag.SOURCE_PORT, -1, "does not fit 2 octets"),
        (Tag.MESSAGE_PAYLOAD, 1, "holds octets, not a number"),
        (0x1400, 1, "holds octets, not a number"),
        (Tag.RECEIPTED_MESSAGE_ID, b"a\0b", "no NUL but its last"),
        (Tag.RECEIPTED_MESSAGE_ID, b"a" * 65, "66 octets, it has 1 to 65"),
        (Tag.NETWORK_ERROR_CODE, b"ab", "2 octets, it has 3 to 3"),
    ],
)
def test_make_tlv_refuses(tag: int, value: int | bytes, says: str) -> None:
    """A value outside the tag's form is refused with the bound."""
    with pytest.raises(PduError, match=says):
        make_tlv(tag, value)


@pytest.mark.parametrize("tlv", [Tlv(0x10000, b""), Tlv(-2, b""), Tlv(1, bytes(0x10000))])
def test_encode_refuses_what_the_wire_cannot_hold(tlv: Tlv) -> None:
    """Tag and length have two octets each."""
    with pytest.raises(PduError, match="TLV"):
        encode_tlvs((tlv,))


def test_every_known_tag_has_a_form() -> None:
    """The table of forms covers the table of tags."""
    assert set(TLV_FORMATS) == set(Tag)


def test_repr_hides_the_value() -> None:
    """A text in message_payload does not reach a log by way of a repr."""
    assert "secret" not in repr(Tlv(Tag.MESSAGE_PAYLOAD, b"secret"))


@pytest.mark.parametrize(
    ("tag", "value", "octets"),
    [
        (Tag.CONGESTION_STATE, 95, "0428 0001 5f"),
        (Tag.BROADCAST_REP_NUM, 300, "0604 0002 012c"),
        (Tag.BROADCAST_ERROR_STATUS, 0x58, "0607 0004 00000058"),
        (Tag.DEST_ADDR_NP_RESOLUTION, 2, "0611 0001 02"),
        (Tag.DEST_ADDR_NP_INFORMATION, b"0123456789", "0612 000a 30313233343536373839"),
        (Tag.DEST_ADDR_NP_COUNTRY, b"\x31", "0613 0001 31"),
        (Tag.BILLING_IDENTIFICATION, b"\x01abc", "060b 0004 01616263"),
        (Tag.SOURCE_NETWORK_ID, b"262011", "060d 0007 32363230313100"),
        (Tag.SOURCE_NODE_ID, b"000001", "060f 0006 303030303031"),
        (Tag.ALERT_ON_MESSAGE_DELIVERY, b"\x01", "130c 0001 01"),
        (Tag.ALERT_ON_MESSAGE_DELIVERY, b"", "130c 0000"),
    ],
)
def test_tlvs_of_smpp_5(tag: Tag, value: int | bytes, octets: str) -> None:
    """The TLVs of SMPP 5.0 §4.8.4 have their forms, and come back."""
    made = make_tlv(tag, value)
    assert encode_tlvs([made]) == bytes.fromhex(octets)
    assert decode_tlvs(bytes.fromhex(octets), 0) == (made,)
    if isinstance(value, int):
        assert read_int((made,), tag) == value


@pytest.mark.parametrize(
    ("tag", "value"),
    [(Tag.DEST_ADDR_NP_INFORMATION, b"123"), (Tag.SOURCE_NETWORK_ID, b"1"), (Tag.SOURCE_NODE_ID, b"1234567"),
     (Tag.BROADCAST_CONTENT_TYPE, b"ab"), (Tag.BROADCAST_END_TIME, b"x" * 17)],
)  # fmt: skip
def test_tlvs_of_smpp_5_have_their_sizes(tag: Tag, value: bytes) -> None:
    """What is too short or too long is not written."""
    with pytest.raises(PduError, match="it has"):
        make_tlv(tag, value)
