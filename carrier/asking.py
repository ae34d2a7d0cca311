"""Asking a carrier about a message that has left: query_sm (SMPP 3.4 §4.8), cancel_sm (§4.9), and what answers say.

Knows nothing of links or stores.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from carrier.addresses import PLAIN_WRITER, AddressWriter
from carrier.receipts import state_of
from carrier.smpp.pdu import CancelSm, QuerySm, QuerySmResp

# An absolute time: YYMMDDhhmmss, tenths, quarters of an hour from UTC, their sign (SMPP 3.4 §7.1.1.1).
_ABSOLUTE = re.compile(rb"([0-9]{12})[0-9]([0-9]{2})([+-])")


class Answer(NamedTuple):
    """What a carrier says of a message."""

    part_state: str  # as `carrier.receipts.Receipt` has it
    stat: str
    network_error: str  # "" for none
    done_at: int | None  # microseconds since the Unix epoch, UTC


def query_of(message_id: str, sender: str, addresses: AddressWriter = PLAIN_WRITER) -> QuerySm:
    """Return a query about the message to which the carrier gave this id; `addresses` writes as its submit_sm did.
    Raises TextError for an odd sender."""
    ton, npi, address = addresses.sender(sender)
    return QuerySm(message_id.encode("ascii", "replace"), ton, npi, address)


def cancel_of(message_id: str, sender: str, addresses: AddressWriter = PLAIN_WRITER) -> CancelSm:
    """Return the withdrawal of that message; with its id, the destination may be left out (SMPP 3.4 §4.9.1). Raises
    TextError for an odd sender."""
    ton, npi, address = addresses.sender(sender)
    octets = message_id.encode("ascii", "replace")
    return CancelSm(message_id=octets, source_addr_ton=ton, source_addr_npi=npi, source_addr=address)


def read_answer(pdu: QuerySmResp) -> Answer:
    """Return what a query_sm_resp says. Never fails."""
    stat, part_state = state_of(pdu.message_state)
    return Answer(part_state, stat, str(pdu.error_code) if pdu.error_code else "", _moment(pdu.final_date))


def _moment(written: bytes) -> int | None:
    found = _ABSOLUTE.fullmatch(written)
    if not found:
        return None
    numbers = [int(found[1][at : at + 2]) for at in range(0, 12, 2)]
    try:
        at = datetime(2000 + numbers[0], *numbers[1:], tzinfo=UTC)  # type: ignore[arg-type, misc]  # month to second
    except ValueError:
        return None
    ahead_s = int(found[2]) * 900
    return (int(at.timestamp()) - (ahead_s if found[3] == b"+" else -ahead_s)) * 1_000_000
