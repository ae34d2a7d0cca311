"""Receipts of every dialect: how many, when, in what order, in what PDU."""

from __future__ import annotations

from typing import Any

import pytest

from carrier.receipts import parse_receipt
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm, DeliverSm
from carrier.smpp.tlv import TRAILING, Tlv, find
from tests.carrier.simulator.esme import Esme, smsc, submit

HEX = "message_ids: hex\n"


def told(script: str, until: float = 20.0, **fields: Any) -> list[DeliverSm | DataSm]:
    """Return the receipts of one submit_sm."""
    esme = Esme(smsc(HEX + script))
    esme.send(submit(**fields), now=0.0)
    esme.tick(until)
    return [pdu for _, pdu in esme.read() if isinstance(pdu, DeliverSm | DataSm)]


def one(script: str, until: float = 20.0) -> DeliverSm:
    """Return the only one, a deliver_sm."""
    (pdu,) = told(script, until)
    assert isinstance(pdu, DeliverSm)
    return pdu


def test_states_before_and_after_the_final_one() -> None:
    """Intermediate ones, the final one, one that contradicts it: each in its time."""
    script = (
        "receipts: {delay_s: 1, before: [ACCEPTD, ENROUTE], afterwards: [UNDELIV], gap_s: 2, before_esm_class: 0x20}"
    )
    found = told(script)
    receipts = [parse_receipt(pdu) for pdu in found]
    assert [receipt.stat for receipt in receipts if receipt] == ["ACCEPTD", "ENROUTE", "DELIVRD", "UNDELIV"]
    assert [pdu.esm_class for pdu in found] == [0x20, 0x20, 4, 4]
    assert [len(told(script, until)) for until in (0.9, 1, 3, 5, 7)] == [0, 1, 2, 3, 4]


def test_unrequested_ones() -> None:
    """To those who did not ask."""
    assert told("", registered_delivery=0) == []
    assert len(told("receipts: {unrequested: true}", registered_delivery=0)) == 1


@pytest.mark.parametrize(("parts", "ids"), [("all", ["ff", "100"]), ("first", ["ff"]), ("last", ["100"])])
def test_some_parts_only(parts: str, ids: list[str]) -> None:
    """The message has two."""
    esme = Esme(smsc(HEX + f"receipts: {{parts: {parts}}}"))
    esme.send(*[submit(b"\5\0\3\7\2" + bytes((number,)) + b"x", esm_class=0x40) for number in (1, 2)], now=0.0)
    receipts = [parse_receipt(pdu) for _, pdu in esme.deliveries()]
    assert [receipt.carrier_id for receipt in receipts if receipt] == ids


def test_by_data_sm_or_in_the_payload() -> None:
    """The text is in message_payload, and short_message is empty."""
    (pdu,) = told("receipts: {by: data_sm, form: text}")
    assert isinstance(pdu, DataSm)
    other = one("receipts: {payload: true, form: text}")
    assert other.short_message == b""
    for found in (pdu, other):
        receipt = parse_receipt(found)
        assert receipt is not None
        assert receipt[:3] == ("ff", "D", "DELIVRD")


def test_other_forms() -> None:
    """An id without a state; UCS2; a message that only looks like a receipt; a header; a network error."""
    only_id = one("receipts: {form: id}")
    assert (only_id.short_message, [tlv.tag for tlv in only_id.tlvs]) == (b"", [0x1E])
    ucs2 = one("receipts: {data_coding: 8, form: text}")
    assert ucs2.short_message.decode("utf-16-be").startswith("id:ff sub:001")
    handset = one("receipts: {esm_class: 0, form: text}")
    assert parse_receipt(handset) is None
    assert handset.short_message.startswith(b"id:ff ")
    headed = one('receipts: {esm_class: 0x44, udh: "0401020304", form: text}')
    receipt = parse_receipt(headed)
    assert receipt is not None
    assert (headed.esm_class, receipt.carrier_id) == (0x44, "ff")
    network = one('receipts: {network_type: 3, rules: [{state: UNDELIV, error: "0x1B"}]}')
    assert find(network.tlvs, Tag.NETWORK_ERROR_CODE) == b"\3\0\1"


@pytest.mark.parametrize(("charset", "echo"), [("ascii", b"caf?"), ("latin1", b"caf\xe9")])
def test_charsets(charset: str, echo: bytes) -> None:
    """What the receipt repeats of the message is in the carrier's own writing."""
    esme = Esme(smsc(f"alphabet: latin1\nreceipts: {{form: text, charset: {charset}}}"))
    esme.send(submit(b"caf\xe9"), now=0.0)
    ((_, pdu),) = esme.deliveries()
    assert pdu.short_message.endswith(b"text:" + echo)


def test_wrong_ones() -> None:
    """An id that never was, another handset, TLVs nobody knows."""
    forged = one('receipts: {unknown_id: nope, destination: "4366412345678"}')
    receipt = parse_receipt(forged)
    assert receipt is not None
    assert (receipt.carrier_id, receipt.recipient) == ("nope", "4366412345678")
    extra = one('receipts: {form: text, tlvs: [{tag: 0x1500, value: "00ff"}], trailing: "04"}')
    assert extra.tlvs == (Tlv(0x1500, b"\0\xff"), Tlv(TRAILING, b"\4"))


@pytest.mark.parametrize(
    ("how", "done"),
    [
        ("dates: minutes", "2701150801"),
        ("dates: seconds", "270115080100"),
        ("dates: century", "20270115080100"),
        ("dates: zero", "0000000000"),
        ("dates: impossible", "9913459999"),
        ("done_offset_s: 3600", "2701150901"),
        ("done_offset_s: -86400", "2701140801"),
    ],
)
def test_done_dates(how: str, done: str) -> None:
    """Every length, no date at all, another zone, before it was sent."""
    text = one(f"receipts: {{delay_s: 60, {how}}}", 60.0).short_message.decode()
    assert f"done date:{done} " in text


def test_variants_for_some() -> None:
    """Two dialects on one link."""
    box = smsc(HEX + 'receipts: {delay_s: 1, variants: [{destination_prefix: "91", ids: decimal, form: text}]}')
    esme = Esme(box)
    esme.send(submit(), submit(to=b"919812345678"), now=0.0)
    esme.tick(0.0)
    (pdu,) = [pdu for _, pdu in esme.deliveries()]
    assert pdu.short_message.startswith(b"id:0000000256 ")
    esme.tick(1.0)
    (pdu,) = [pdu for _, pdu in esme.deliveries()]
    assert pdu.short_message.startswith(b"id:ff ")
