"""How a simulated SMSC writes delivery receipts, in the dialect of its script. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from carrier.simulator.ids import write_id
from carrier.simulator.payload import as_data_sm, in_payload
from carrier.simulator.script_deliveries import Receipts
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm, DeliverSm, SubmitSm, Tlv
from carrier.smpp.tlv import TRAILING, make_tlv

_UCS2 = 8
_TEXT_CHARACTERS = 20  # of the message, that Appendix B's receipt repeats
MESSAGE_STATES = {
    "SCHEDLD": 0, "ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7,
    "REJECTD": 8, "SKIPPED": 9,
}  # fmt: skip
FINAL_SUCCESS = "DELIVRD"
_FORMATS = {"minutes": "%y%m%d%H%M", "seconds": "%y%m%d%H%M%S", "century": "%Y%m%d%H%M%S", "zero": "0" * 10}
_IMPOSSIBLE = "9913459999"  # the 45th of month 13


class Outcome(NamedTuple):
    """What became of a message, for its receipt. Times in Unix seconds."""

    number: int
    message_id: str
    state: str
    error: str
    submitted_at: float
    done_at: float
    text: str


def receipt_pdu(
    submit: SubmitSm, outcome: Outcome, how: Receipts, *, esm_class: int | None = None
) -> DeliverSm | DataSm:
    """Return the deliver_sm or data_sm that tells `outcome` of `submit` (SMPP 3.4 §4.6, §4.7, Appendix B).

    `esm_class` None: the script's.
    """
    receipt_id = how.unknown_id or _receipt_id(outcome, how.ids)
    text = b"" if how.form in ("tlv", "id") else how.udh + _receipt_text(receipt_id, outcome, how)
    pdu = DeliverSm(
        source_addr_ton=submit.dest_addr_ton,
        source_addr_npi=submit.dest_addr_npi,
        source_addr=how.destination.encode("ascii") or submit.destination_addr,
        dest_addr_ton=submit.source_addr_ton,
        dest_addr_npi=submit.source_addr_npi,
        destination_addr=submit.source_addr,
        esm_class=how.esm_class if esm_class is None else esm_class,
        data_coding=how.data_coding,
        short_message=text,
        tlvs=tuple(_tlvs(receipt_id, outcome, how)),
    )
    if how.by == "data_sm":
        return as_data_sm(pdu)
    return in_payload(pdu) if how.payload else pdu


def _receipt_id(outcome: Outcome, form: str) -> str:
    if form in ("same", "upper"):
        return outcome.message_id.upper() if form == "upper" else outcome.message_id
    return write_id(outcome.number, form)


def _tlvs(receipt_id: str, outcome: Outcome, how: Receipts) -> list[Tlv]:
    tlvs: list[Tlv] = []
    if how.form != "text":
        tlvs.append(make_tlv(Tag.RECEIPTED_MESSAGE_ID, receipt_id.encode("ascii")))
        if outcome.state in MESSAGE_STATES and how.form != "id":
            tlvs.append(make_tlv(Tag.MESSAGE_STATE, MESSAGE_STATES[outcome.state]))
    if how.network_type:
        digits = re.sub(r"\D", "", outcome.error) or "0"
        tlvs.append(
            Tlv(Tag.NETWORK_ERROR_CODE, bytes((how.network_type,)) + (int(digits) % 0x10000).to_bytes(2, "big"))
        )
    tlvs += [Tlv(extra.tag, extra.value) for extra in how.tlvs]
    if how.trailing:
        tlvs.append(Tlv(TRAILING, how.trailing))
    return tlvs


def _receipt_text(receipt_id: str, outcome: Outcome, how: Receipts) -> bytes:
    delivered = outcome.state == FINAL_SUCCESS
    text = how.template.format(
        id=receipt_id,
        sub="001",
        dlvrd="001" if delivered else "000",
        submit=_date(outcome.submitted_at, how.dates if how.dates in ("seconds", "century") else "minutes"),
        done=_date(outcome.done_at + how.done_offset_s, how.dates),
        stat=outcome.state,
        err=outcome.error,
        text="".join(char for char in outcome.text[:_TEXT_CHARACTERS] if char.isprintable()),
    )
    octets = text.encode("utf-16-be" if how.data_coding == _UCS2 else how.charset, "replace")
    return octets if how.payload or how.by == "data_sm" else octets[: 254 - len(how.udh)]


def _date(at: float, form: str) -> str:
    if form == "impossible":
        return _IMPOSSIBLE
    return datetime.fromtimestamp(at, UTC).strftime(_FORMATS[form])
