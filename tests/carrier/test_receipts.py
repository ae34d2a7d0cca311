"""Receipts in the dialects of real carriers, and octets that only look like receipts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.receipt_rules import IdSource, ReceiptRules, StatMeaning
from carrier.receipts import PLAIN_FORM, Receipt, ReceiptForm, parse_receipt, receipt_form
from carrier.smpp.pdu import DataSm, DeliverSm, Tlv
from carrier.text import gsm7
from carrier.tlvs import ReceiptKey, TlvRule, TlvType
from gateway.states import PartState

USUAL = (
    b"id:0a1b2c3d sub:001 dlvrd:001 submit date:2611131205 done date:2611131206 stat:DELIVRD err:000 text:hello world"
)
DONE = int(datetime(2026, 11, 13, 12, 6, tzinfo=UTC).timestamp()) * 1_000_000


def deliver(text: bytes = USUAL, *tlvs: Tlv, esm_class: int = 0x04, **fields: int) -> DeliverSm:
    """Make the deliver_sm of a receipt."""
    return DeliverSm(
        source_addr_ton=1,
        source_addr_npi=1,
        source_addr=b"4915112345678",
        destination_addr=b"ACME",
        esm_class=esm_class,
        short_message=text,
        tlvs=tlvs,
        data_coding=fields.get("data_coding", 0),
    )


def parsed(pdu: DeliverSm | DataSm) -> Receipt:
    """Parse what has to be a receipt."""
    receipt = parse_receipt(pdu)
    assert receipt is not None
    return receipt


def test_the_usual_receipt() -> None:
    """Appendix B of SMPP 3.4, field by field."""
    assert parsed(deliver()) == Receipt("0a1b2c3d", "D", "DELIVRD", "000", DONE, "4915112345678")


@pytest.mark.parametrize("esm_class", [0x04, 0x44, 0x05, 0x84])
def test_receipts_by_esm_class(esm_class: int) -> None:
    """The type bits decide, whatever mode and features stand beside them."""
    assert parse_receipt(deliver(esm_class=esm_class)) is not None


@pytest.mark.parametrize("esm_class", [0x00, 0x40, 0x08, 0x10, 0x18, 0x03, 0x80])
def test_a_handset_that_sends_the_words_of_a_receipt_sends_a_message(esm_class: int) -> None:
    """A receipt is never recognised by its text, nor by TLVs alone."""
    assert parse_receipt(deliver(USUAL, Tlv(0x1E, b"1\0"), esm_class=esm_class)) is None


def test_an_intermediate_notification_changes_nothing() -> None:
    """esm_class 0x20: recorded, whatever its state says."""
    receipt = parsed(deliver(esm_class=0x20))
    assert (receipt.part_state, receipt.stat, receipt.carrier_id) == ("", "DELIVRD", "0a1b2c3d")


def test_tlvs_come_before_the_text() -> None:
    """Where both speak, the TLVs are believed."""
    receipt = parsed(
        deliver(USUAL, Tlv(0x1E, b"other-id\0"), Tlv(0x0427, b"\x05"), Tlv(0x0423, b"\x03\x00\x0b"), Tlv(0x1401, b"x"))
    )
    assert receipt == Receipt("other-id", "U", "DELIVRD", "3:11", DONE, "4915112345678")


def test_tlvs_without_text() -> None:
    """A receipt of nothing but TLVs is whole; its stat is in Appendix B's words."""
    receipt = parsed(deliver(b"", Tlv(0x1E, b"42\0"), Tlv(0x0427, b"\x02")))
    assert receipt == Receipt("42", "D", "DELIVRD", "", None, "4915112345678")


def test_id_by_tlv_and_state_by_text() -> None:
    """Kannel has seen the one without the other."""
    receipt = parsed(deliver(b"stat:UNDELIV err:0x1B", Tlv(0x1E, b"42")))
    assert (receipt.carrier_id, receipt.part_state, receipt.network_error) == ("42", "U", "0x1B")


@pytest.mark.parametrize(
    ("value", "state", "stat"),
    [
        (0, "", "SCHEDLD"), (1, "", "ENROUTE"), (2, "D", "DELIVRD"), (3, "E", "EXPIRED"), (4, "C", "DELETED"),
        (5, "U", "UNDELIV"), (6, "", "ACCEPTD"), (7, "", "UNKNOWN"), (8, "R", "REJECTD"), (9, "U", "SKIPPED"),
        (77, "?", "state 77"),
    ],
)  # fmt: skip
def test_message_states(value: int, state: str, stat: str) -> None:
    """SMPP 3.4 §5.2.28, and the two of SMPP 5.0; an unknown one stays pending."""
    receipt = parsed(deliver(b"", Tlv(0x1E, b"1\0"), Tlv(0x0427, bytes((value,)))))
    assert (receipt.part_state, receipt.stat) == (state, stat)


@pytest.mark.parametrize(
    ("stat", "state"),
    [
        ("DELIVRD", "D"), ("delivrd", "D"), ("Delivered", "D"), ("EXPIRED", "E"), ("DELETED", "C"), ("UNDELIV", "U"),
        ("REJECTD", "R"), ("ACCEPTD", ""), ("ENROUTE", ""), ("ACKED", ""), ("BUFFRED", ""), ("BUFFERD", ""),
        ("UNKNOWN", ""), ("WHATEVER", "?"),
    ],
)  # fmt: skip
def test_stats(stat: str, state: str) -> None:
    """An unknown stat is recorded as written and left pending, never failed."""
    receipt = parsed(deliver(USUAL.replace(b"DELIVRD", stat.encode())))
    assert (receipt.part_state, receipt.stat) == (state, stat)


def test_part_states_are_those_of_the_gateway() -> None:
    """The characters are stored as they are."""
    found = {parsed(deliver(b"", Tlv(0x0427, bytes((value,))))).part_state for value in range(10)}
    assert found - {""} == {state.value for state in PartState} - {PartState.UNSENT.value, PartState.SUBMITTED.value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # no sub, no dlvrd
        (b"id:7 submit date:2611131205 done date:2611131206 stat:DELIVRD err:0 text:", ("7", "D", "0", DONE)),
        # no space in the keys, an all-zero done date (OpenMarket)
        (
            b"id:7 sub:001 dlvrd:001 submitdate:20261113120500 donedate:00000000000000 stat:UNDELIV err:6 text:",
            ("7", "U", "6", None),
        ),
        # dates of 12 and 14 digits
        (b"id:7 done date:261113120600 stat:DELIVRD err:0", ("7", "D", "0", DONE)),
        (b"id:7 done date:202611131206 stat:DELIVRD err:0", ("7", "D", "0", DONE)),
        (b"id:7 done date:20261113120600 stat:DELIVRD err:0", ("7", "D", "0", DONE)),
        # err of four digits, not a number, missing
        (b"id:7 done date:2611131206 stat:UNDELIV err:0027 text:", ("7", "U", "0027", DONE)),
        (b"id:7 done date:2611131206 stat:UNDELIV err:ABSENT text:", ("7", "U", "ABSENT", DONE)),
        (b"id:7 done date:2611131206 stat:UNDELIV", ("7", "U", "", DONE)),
        # stat without its label
        (b"id:7 sub:001 dlvrd:001 submit date:2611131205 done date:2611131206 DELIVRD err:0", ("7", "D", "0", DONE)),
        # keys in any case, spaces after the colon, another order, a NUL at the end
        (b"ID:7 SUB:001 DLVRD:001 SUBMIT DATE:2611131205 DONE DATE:2611131206 STAT:DELIVRD ERR:000 TEXT:x",
         ("7", "D", "000", DONE)),
        (b"Id: 7 Stat: DELIVRD Done Date: 2611131206 Err: 000", ("7", "D", "000", DONE)),
        (b"stat:EXPIRED id:7\0", ("7", "E", "", None)),
        (b"stat:DELIVRD\0", ("", "D", "", None)),
        # fields without values do not swallow their neighbours
        (b"id: sub:001 stat:DELIVRD err: text:x", ("", "D", "", None)),
        # what is no date is none
        (b"id:7 done date:2613131206 stat:DELIVRD", ("7", "D", "", None)),
        (b"id:7 done date:yesterday stat:DELIVRD", ("7", "D", "", None)),
        # a UUID stays one; leading zeros stay
        (b"id:0000123e4567-e89b-12d3 stat:DELIVRD", ("0000123e4567-e89b-12d3", "D", "", None)),
        # the message's own words do not count
        (b"stat:UNDELIV text:id:666 stat:DELIVRD err:999", ("", "U", "", None)),
        (b"id:7 text:done date:2611131206 stat:DELIVRD", ("7", "?", "", None)),
        (b"id:7 TEXT :stat:DELIVRD", ("7", "?", "", None)),
        (b"", ("", "?", "", None)),
    ],
)  # fmt: skip
def test_texts_of_many_carriers(text: bytes, expected: tuple[str, str, str, int | None]) -> None:
    """Each dialect that gateways are known to have stumbled over."""
    receipt = parsed(deliver(text))
    assert (receipt.carrier_id, receipt.part_state, receipt.network_error, receipt.done_at) == expected


def test_text_in_message_payload() -> None:
    """An empty short_message means: read message_payload."""
    assert parsed(deliver(b"", Tlv(0x0424, USUAL))).carrier_id == "0a1b2c3d"


def test_receipt_by_data_sm() -> None:
    """A data_sm has no short_message at all."""
    pdu = DataSm(source_addr_ton=1, source_addr=b"4915112345678", esm_class=4, tlvs=(Tlv(0x0424, USUAL),))
    assert parsed(pdu) == parsed(deliver())


def test_receipt_behind_a_user_data_header() -> None:
    """esm_class 0x44: the header is not read as text."""
    assert parsed(deliver(b"\x05\x00\x03\x07\x01\x01" + USUAL, esm_class=0x44)) == parsed(deliver())


def test_receipt_in_ucs2() -> None:
    """Some carriers write receipts as UCS2."""
    assert parsed(deliver(USUAL.decode().encode("utf-16-be"), data_coding=8)) == parsed(deliver())


def test_the_carriers_clock_can_be_ahead() -> None:
    """Its dates name no zone: the profile does, by offset or by name."""
    for timezone in ("+05:30", "Asia/Kolkata"):
        receipt = parse_receipt(deliver(), receipt_form(ReceiptRules(timezone=timezone), packed=False))
        assert receipt is not None
        assert receipt.done_at == DONE - 330 * 60_000_000


@pytest.mark.parametrize(("month", "hours"), [("01", 1), ("07", 2)])
def test_summer_time_is_the_zone_s(month: str, hours: int) -> None:
    """A zone with summer time is another number of hours ahead in July."""
    text = b"id:1 done date:26%s011200 stat:DELIVRD" % month.encode()
    receipt = parse_receipt(deliver(text), receipt_form(ReceiptRules(timezone="Europe/Berlin"), packed=False))
    assert receipt is not None
    assert receipt.done_at == datetime(2026, int(month), 1, 12 - hours, tzinfo=UTC).timestamp() * 1_000_000


def test_a_zone_that_is_none() -> None:
    """A name that the system does not know is an error, not UTC."""
    for name in ("Mars/Base", "+25:00", "../etc/passwd"):
        with pytest.raises(ValueError, match="no time zone"):
            receipt_form(ReceiptRules(timezone=name), packed=False)


def test_stats_of_a_carrier_s_own() -> None:
    """The profile's meaning counts before the usual one, in any case of letters; a message_state comes before both."""
    form = receipt_form(
        ReceiptRules(stats={"FOO": StatMeaning.DELIVERED, "EXPIRED": StatMeaning.PENDING}), packed=False
    )
    assert [
        parse_receipt(deliver(b"id:1 stat:" + stat), form) for stat in (b"foo", b"EXPIRED", b"UNDELIV", b"BAR")
    ] == [
        Receipt("1", state, stat, "", None, "4915112345678")
        for state, stat in (("D", "foo"), ("", "EXPIRED"), ("U", "UNDELIV"), ("?", "BAR"))
    ]
    told = parse_receipt(deliver(b"id:1 stat:FOO", Tlv(0x0427, b"\x05")), form)
    assert told is not None
    assert told.part_state == "U"


def test_which_id_counts() -> None:
    """The TLV's, or the text's where the profile says so; where there is only one, that one."""
    both, text, tlv = deliver(b"id:7 stat:X", Tlv(0x1E, b"8\0")), deliver(b"id:7"), deliver(b"", Tlv(0x1E, b"8\0"))
    by_text = receipt_form(ReceiptRules(id_from=IdSource.TEXT), packed=False)
    for form, expected in ((PLAIN_FORM, ["8", "7", "8", ""]), (by_text, ["7", "7", "8", ""])):
        found = [parse_receipt(pdu, form) for pdu in (both, text, tlv, deliver(b""))]
        assert [receipt.carrier_id for receipt in found if receipt] == expected


def test_packed_receipts() -> None:
    """Where the default alphabet is packed, the text of a receipt may be, and need not."""
    form = receipt_form(ReceiptRules(), packed=True)
    for text in (USUAL, gsm7.pack(USUAL)):
        assert parse_receipt(deliver(text), form) == parsed(deliver())


@pytest.mark.parametrize(
    ("ton", "address", "digits"),
    [
        (1, b"4915112345678", "4915112345678"),
        (1, b"+4915112345678", "4915112345678"),
        (0, b"4915112345678", "4915112345678"),
        (0, b"004915112345678", "4915112345678"),
        (0, b"015112345678", ""),
        (2, b"15112345678", ""),
        (5, b"ACME", ""),
        (1, b"", ""),
        (1, b"12345", ""),
        (1, b"1" * 16, ""),
    ],
)
def test_the_recipient_is_named_only_when_it_is_international(ton: int, address: bytes, digits: str) -> None:
    """A national number must not be compared with an international one."""
    pdu = deliver()._replace(source_addr_ton=ton, source_addr=address)
    assert parsed(pdu).recipient == digits


def test_control_characters_are_escaped_and_sizes_bounded() -> None:
    """What a carrier writes is safe to log and to store."""
    receipt = parsed(deliver(b"id:a\x1b[31m\xff stat:" + b"X" * 200 + b" err:" + b"\x07" * 40))
    assert receipt.carrier_id == "a\\x1b[31m\\xff"
    assert receipt.stat == "X" * 16
    assert len(receipt.network_error) == 32
    assert receipt.network_error.isprintable()
    assert len(parsed(deliver(b"", Tlv(0x1E, b"9" * 60000))).carrier_id) == 255


FORMS = [
    PLAIN_FORM,
    receipt_form(ReceiptRules(timezone="Europe/Berlin", id_from=IdSource.TEXT), packed=True),
    receipt_form(
        ReceiptRules(timezone="-11:30"),
        tlvs=[
            TlvRule(name=str(key), tag=tag, type=type_, receipt_key=key)
            for tag, type_, key in (
                (0x1401, TlvType.STRING, ReceiptKey.DONE),
                (0x1402, TlvType.INT, ReceiptKey.ID),
            )
        ],
    ),
]


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([b"id:", b"stat:", b"DELIVRD", b" ", b"done date:", b"26111312", b"text:", b"\0", b"err:"]),
            max_size=40,
        ).map(b"".join),
    ),
    st.lists(
        st.tuples(st.sampled_from([0x1E, 0x0427, 0x0423, 0x0424, 0x1401, 0x1402, -1]), st.binary(max_size=10)),
        max_size=4,
    ),
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from(FORMS),
)
def test_no_octets_make_it_fail(
    text: bytes, tlvs: list[tuple[int, bytes]], esm_class: int, coding: int, form: ReceiptForm
) -> None:
    """Any octets give a receipt of bounded printable fields, or none, in every carrier's form."""
    pdu = deliver(text, *(Tlv(*tlv) for tlv in tlvs), esm_class=esm_class, data_coding=coding)
    receipt = parse_receipt(pdu, form)
    assert (receipt is not None) == (esm_class & 0x3C in (0x04, 0x20))
    if receipt is not None:
        for value, size in ((receipt.carrier_id, 255), (receipt.stat, 16), (receipt.network_error, 32)):
            assert len(value) <= size
            assert value.isascii()
            assert value.isprintable()
        assert receipt.part_state in ("", "?", "D", "U", "E", "C", "R")


def test_tlvs_of_the_carrier_s_own() -> None:
    """They stand for keys of the text, and come before it; SMPP's own TLVs come before them."""
    form = receipt_form(
        ReceiptRules(),
        tlvs=(
            TlvRule(name="id", tag=0x1401, receipt_key=ReceiptKey.ID),
            TlvRule(name="error", tag=0x1403, type=TlvType.INT, receipt_key=ReceiptKey.ERR),
            TlvRule(name="stat", tag=0x1404, type=TlvType.STRING, receipt_key=ReceiptKey.STAT),
            TlvRule(name="done", tag=0x1405, type=TlvType.HEX, receipt_key=ReceiptKey.DONE),
            TlvRule(name="sent", tag=0x1406, value="x"),
        ),
    )
    own = (Tlv(0x1401, b"77\0"), Tlv(0x1403, b"\x02\x65"), Tlv(0x1404, b"EXPIRED"), Tlv(0x1406, b"REJECTD"))
    done = Tlv(0x1405, bytes.fromhex("261113120600"))
    receipt = Receipt("77", "E", "EXPIRED", "613", DONE, "4915112345678")
    assert parse_receipt(deliver(USUAL, *own, done), form) == receipt
    told = parse_receipt(deliver(USUAL, *own, Tlv(0x1E, b"8\0"), Tlv(0x0427, b"\x02")), form)
    assert told is not None
    assert (told.carrier_id, told.part_state) == ("8", "D")
    assert parse_receipt(deliver(), form) == parsed(deliver())
