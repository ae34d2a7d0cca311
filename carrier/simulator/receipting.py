"""Which receipts an accepted submit_sm gets, and when: those of its script, in their order. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from carrier.simulator.arrival import Part
from carrier.simulator.book import Entry
from carrier.simulator.dialect import Outcome, receipt_pdu
from carrier.simulator.peer import Delivery
from carrier.simulator.script import Receipts

_WANTS_RECEIPT = 0x03  # registered_delivery, SMPP 3.4 §5.2.17


def receipts_of(
    entry: Entry, part: Part, how: Receipts, *, submitted_at: float, after_s: float
) -> list[tuple[float, Delivery]]:
    """Return the receipts of `entry` with the seconds from its submit_sm to each; the final one `after_s` from it.

    `submitted_at` is Unix time.
    """
    if not how.send or not (how.unrequested or entry.submit.registered_delivery & _WANTS_RECEIPT):
        return []
    if (how.parts == "first" and part.part != 1) or (how.parts == "last" and part.part != part.total):
        return []
    found = []
    for state, delay_s, esm_class in _told(entry, how, after_s):
        pdu = receipt_pdu(entry.submit, _outcome(entry, state, submitted_at, delay_s), how, esm_class=esm_class)
        found += [(delay_s, Delivery(pdu, is_receipt=True, entry=entry))] * (1 + how.duplicates)
    return found


def deleted_receipt(entry: Entry, how: Receipts, *, submitted_at: float, after_s: float) -> Delivery:
    """Return the receipt of a message that was cancelled."""
    return Delivery(receipt_pdu(entry.submit, _outcome(entry, "DELETED", submitted_at, after_s), how), is_receipt=True)


def wants_receipt(entry: Entry, how: Receipts) -> bool:
    """Say whether a receipt is due at all."""
    return how.send and bool(how.unrequested or entry.submit.registered_delivery & _WANTS_RECEIPT)


def _told(entry: Entry, how: Receipts, after_s: float) -> Iterator[tuple[str, float, int]]:
    """Yield state, seconds from the submit_sm and esm_class of each receipt."""
    for number, state in enumerate(how.before):
        yield state, after_s + number * how.gap_s, how.before_esm_class
    after_s += len(how.before) * how.gap_s
    yield entry.state, after_s, how.esm_class
    for number, state in enumerate(how.afterwards, 1):
        yield state, after_s + number * how.gap_s, how.esm_class


def _outcome(entry: Entry, state: str, submitted_at: float, delay_s: float) -> Outcome:
    return Outcome(entry.number, entry.message_id, state, entry.error, submitted_at, submitted_at + delay_s, entry.text)
