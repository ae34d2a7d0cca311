"""TLVs of a carrier's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.errors import TextError
from carrier.smpp.tlv import Tlv, decode_tlvs
from carrier.tlvs import TlvRule, TlvType, TlvWriter

PE = TlvRule(name="pe_id", tag=0x1400, value="1101234567890123456", length=31)
TEMPLATE = TlvRule(name="template_id", tag=0x1401, from_label="dlt_template_id", length=31)


def written(rules: tuple[TlvRule, ...], sender: str = "ACME", **labels: str) -> tuple[Tlv, ...]:
    """Return the TLVs that a carrier reads."""
    return decode_tlvs(TlvWriter(rules).write(sender, labels), 0)


def test_fixed_and_from_a_label() -> None:
    """India's TLVs: the entity is the account's, the template the message's."""
    assert written((PE, TEMPLATE), dlt_template_id="1107") == (
        (0x1400, b"1101234567890123456\0"),
        (0x1401, b"1107\0"),
    )


def test_a_label_that_is_missing() -> None:
    """Without the label the message is refused, and the text says which; one that is not required is left out."""
    with pytest.raises(TextError, match="wants TLV template_id: send the message with a label dlt_template_id"):
        written((PE, TEMPLATE), other="1107")
    optional = TlvRule(name="x", tag=0x1402, from_label="x", required=False)
    assert written((PE, optional)) == ((0x1400, b"1101234567890123456\0"),)


@pytest.mark.parametrize(
    ("type_", "length", "value", "octets"),
    [
        (TlvType.CSTRING, 255, "ab", b"ab\0"),
        (TlvType.STRING, 2, "ab", b"ab"),
        (TlvType.INT, 1, "255", b"\xff"),
        (TlvType.INT, 4, "258", b"\0\0\1\2"),
        (TlvType.HEX, 2, "00fF", b"\x00\xff"),
    ],
)
def test_forms(type_: TlvType, length: int, value: str, octets: bytes) -> None:
    """Each type's octets."""
    assert written((TlvRule(name="x", tag=0x1500, type=type_, length=length, value=value),)) == ((0x1500, octets),)


@pytest.mark.parametrize(
    ("type_", "length", "value"),
    [
        (TlvType.CSTRING, 2, "ab"),
        (TlvType.STRING, 1, "ab"),
        (TlvType.STRING, 9, "ä"),
        (TlvType.STRING, 9, "a\nb"),
        (TlvType.INT, 1, "256"),
        (TlvType.INT, 1, "-1"),
        (TlvType.INT, 1, "1_0"),
        (TlvType.INT, 1, "?"),
        (TlvType.HEX, 9, "0"),
        (TlvType.HEX, 1, "0102"),
    ],
)
def test_values_without_their_form(type_: TlvType, length: int, value: str) -> None:
    """A fixed value is refused at once, a label's with its message; the error does not tell the value."""
    with pytest.raises(TextError, match="TLV x"):
        TlvWriter((TlvRule(name="x", tag=0x1500, type=type_, length=length, value=value),))
    rule = TlvRule(name="x", tag=0x1500, type=type_, length=length, from_label="secret-label")
    with pytest.raises(TextError, match="TLV x") as caught:
        written((rule,), **{"secret-label": value})
    assert f" {value} " not in f" {caught.value} "


def test_a_mask_tells_swapped_ids() -> None:
    """An entity's id where a template's is wanted is refused, as is one of another length, or letters for digits."""
    rule = TlvRule(name="template_id", tag=0x1401, from_label="id", mask="1#07###############")
    assert written((rule,), id="1107161234567890123") == ((0x1401, b"1107161234567890123\0"),)
    for other in (
        "1101161234567890123",
        "110716123456789012",
        "11071612345678901234",
        "1x07161234567890123",
        "١107",
        "",
    ):
        with pytest.raises(TextError, match="does not look like 1#07"):
            written((rule,), id=other)
    with pytest.raises(TextError, match="does not look like 1#01"):
        TlvWriter((TlvRule(name="pe_id", tag=0x1400, value="1107161234567890123", mask="1#01###############"),))


def test_by_sender() -> None:
    """Of several rules with one tag the first that is for the sender counts."""
    rules = (
        TlvRule(name="own", tag=0x1400, value="1", senders=("ACME", "OTHER")),
        TlvRule(name="rest", tag=0x1400, value="2"),
        TlvRule(name="only", tag=0x1405, value="3", senders=("OTHER",)),
    )
    assert written(rules, "ACME") == ((0x1400, b"1\0"),)
    assert written(rules, "OTHER") == ((0x1400, b"1\0"), (0x1405, b"3\0"))
    assert written(rules, "NEW") == ((0x1400, b"2\0"),)


@given(st.text(max_size=300), st.sampled_from(TlvType), st.integers(1, 8))
def test_labels_never_break_a_pdu(value: str, type_: TlvType, length: int) -> None:
    """Whatever a label holds gives one whole TLV of at most its length, or a TextError."""
    try:
        found = written((TlvRule(name="x", tag=0x1500, type=type_, length=length, from_label="x"),), x=value)
    except TextError:
        return
    assert len(found) == 1
    assert len(found[0].value) <= length
