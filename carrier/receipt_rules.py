"""What differs from carrier to carrier in its receipts: plain data. What a receipt says is `carrier.receipts`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRules:
    """How a carrier's receipts are taken."""

    parts: ReceiptedParts = ReceiptedParts.ALL
    unmatched: UnmatchedAnswer = UnmatchedAnswer.ACCEPT
    refusals: int = 10  # of the same one, at most
    clock_tolerance_s: float = 86_400.0  # a wrong time zone alone never costs a receipt


USUAL = ReceiptRules()
