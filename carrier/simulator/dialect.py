"""How a simulated SMSC writes: message ids and delivery receipts in the dialect of its script. Pure."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import NamedTuple

from carrier.simulator.script import Receipts
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DeliverSm, SubmitSm, Tlv
from carrier.smpp.tlv import make_tlv

_ESM_CLASS_RECEIPT = 0x04
_TEXT_CHARACTERS = 20  # of the message, that Appendix B's receipt repeats
_MESSAGE_STATES = {
    "ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8,
}  # fmt: skip
FINAL_SUCCESS = "DELIVRD"


class Ids:
    """Gives message ids in one form, each once. `first` should differ from run to run."""

    def __init__(self, form: str, first: int) -> None:
        self._form = form
        self._next = first

    def new(self) -> tuple[int, str]:
        """Return the next id as number and as text."""
        number = self._next
        self._next += 1
        return number, self.write(number, self._form)

    @staticmethod
    def write(number: int, form: str) -> str:
        """Return `number` as "uuid", "hex" or "decimal"."""
        if form == "uuid":
            return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
        return f"{number:x}" if form == "hex" else f"{number:010d}"


class Outcome(NamedTuple):
    """What became of a message, for its receipt. Times in Unix seconds."""

    number: int
    message_id: str
    state: str
    error: str
    submitted_at: float
    done_at: float
    text: str


def receipt_pdu(submit: SubmitSm, outcome: Outcome, how: Receipts) -> DeliverSm:
    """Return the deliver_sm that tells `outcome` of `submit` (SMPP 3.4 §4.6, Appendix B)."""
    receipt_id = _receipt_id(outcome, how.ids)
    tlvs: list[Tlv] = []
    if how.form != "text":
        tlvs.append(make_tlv(Tag.RECEIPTED_MESSAGE_ID, receipt_id.encode("ascii")))
        if outcome.state in _MESSAGE_STATES:
            tlvs.append(make_tlv(Tag.MESSAGE_STATE, _MESSAGE_STATES[outcome.state]))
    return DeliverSm(
        source_addr_ton=submit.dest_addr_ton,
        source_addr_npi=submit.dest_addr_npi,
        source_addr=submit.destination_addr,
        dest_addr_ton=submit.source_addr_ton,
        dest_addr_npi=submit.source_addr_npi,
        destination_addr=submit.source_addr,
        esm_class=_ESM_CLASS_RECEIPT,
        short_message=b"" if how.form == "tlv" else _receipt_text(receipt_id, outcome, how.template),
        tlvs=tuple(tlvs),
    )


def _receipt_id(outcome: Outcome, form: str) -> str:
    if form in ("same", "upper"):
        return outcome.message_id.upper() if form == "upper" else outcome.message_id
    return Ids.write(outcome.number, form)


def _receipt_text(receipt_id: str, outcome: Outcome, template: str) -> bytes:
    delivered = outcome.state == FINAL_SUCCESS
    text = template.format(
        id=receipt_id,
        sub="001",
        dlvrd="001" if delivered else "000",
        submit=_date(outcome.submitted_at),
        done=_date(outcome.done_at),
        stat=outcome.state,
        err=outcome.error,
        text="".join(char for char in outcome.text[:_TEXT_CHARACTERS] if char.isprintable()),
    )
    return text.encode("ascii", "replace")[:254]


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%y%m%d%H%M")
