"""Receipts as the simulator writes them, judged by the receipt parser."""

from __future__ import annotations

import pytest

from carrier.receipts import parse_receipt
from carrier.simulator.dialect import Outcome, receipt_pdu
from carrier.simulator.script import Receipts
from carrier.smpp.pdu import DeliverSm, encode
from tests.carrier.simulator.esme import NOON, submit

OUTCOME = Outcome(255, "ff", "UNDELIV", "027", NOON, NOON + 60, "hello\nid:1 world and more")


@pytest.mark.parametrize("form", ["both", "text", "tlv"])
def test_a_receipt_says_the_same_in_every_form(form: str) -> None:
    """Whatever is left out, id and state arrive."""
    pdu = receipt_pdu(submit(), OUTCOME, Receipts(form=form))
    encode(pdu, 1)
    receipt = parse_receipt(pdu)
    assert receipt is not None
    assert receipt[:3] == ("ff", "U", "UNDELIV")
    assert receipt.recipient == "4915112345678"
    assert receipt.done_at == (None if form == "tlv" else (int(NOON) + 60) // 60 * 60_000_000)
    assert receipt.network_error == ("" if form == "tlv" else "027")
    assert (pdu.destination_addr, pdu.dest_addr_ton) == (b"ACME", 5)


def test_ids_can_be_written_otherwise_in_receipts() -> None:
    """Hex in the response, decimal in the receipt: a carrier's old joke."""
    receipt = parse_receipt(receipt_pdu(submit(), OUTCOME, Receipts(ids="decimal")))
    assert receipt is not None
    assert receipt.carrier_id == "0000000255"


def test_a_template_is_any_dialect() -> None:
    """Upper case, no sub, no dates."""
    pdu = receipt_pdu(submit(), OUTCOME, Receipts(form="text", template="ID:{id} STAT:{stat} TEXT:{text}"))
    assert isinstance(pdu, DeliverSm)
    assert pdu.short_message == b"ID:ff STAT:UNDELIV TEXT:helloid:1 world and"
    assert pdu.tlvs == ()


def test_an_unknown_state_has_no_number() -> None:
    """Only the text can say what message_state cannot."""
    pdu = receipt_pdu(submit(), OUTCOME._replace(state="WEIRD"), Receipts())
    assert [tlv.tag for tlv in pdu.tlvs] == [0x1E]
