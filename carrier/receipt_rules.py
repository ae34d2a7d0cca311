"""What differs from carrier to carrier in its receipts: plain data. What a receipt says is `carrier.receipts`."""

from __future__ import annotations

import datetime as dt
import enum
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field


class ReceiptedParts(enum.StrEnum):
    """Of which parts of a long message a carrier tells that they were delivered."""

    ALL = "all"
    LAST = "last"
    FIRST = "first"
    ANY = "any"  # of one of them, whichever it is


class UnmatchedAnswer(enum.StrEnum):
    """How a receipt is answered whose id belongs to no message (yet). It is kept in any case."""

    ACCEPT = "accept"
    REFUSE = "refuse_temporarily"  # with ESME_RX_T_APPN, a bounded number of times for the same one


class IdSource(enum.StrEnum):
    """Where a receipt's id is taken from, when TLV and text name one each."""

    TLV = "tlv"
    TEXT = "text"


class StatMeaning(enum.StrEnum):
    """What a stat of a carrier's own means for a message."""

    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    PENDING = "pending"  # recorded, and nothing changes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRules:
    """How a carrier's receipts are taken."""

    parts: ReceiptedParts = ReceiptedParts.ALL
    unmatched: UnmatchedAnswer = UnmatchedAnswer.ACCEPT
    refusals: int = 10  # of the same one, at most
    clock_tolerance_s: float = 86_400.0  # a wrong time zone alone never costs a receipt
    timezone: str = "UTC"  # of its dates: see `zone_of`
    id_from: IdSource = IdSource.TLV
    stats: Mapping[str, StatMeaning] = field(default_factory=dict)  # what differs from the usual; keys in capitals


USUAL = ReceiptRules()

_OFFSET = re.compile(r"([+-])([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def zone_of(name: str) -> dt.tzinfo:
    """Return the time zone of a name (Asia/Kolkata), or of an offset from UTC (+05:30). Raises ValueError."""
    if name == "UTC":  # known without the system's table
        return dt.UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return dt.timezone(dt.timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name} is no time zone that this system knows") from error
