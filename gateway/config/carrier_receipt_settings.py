"""The settings of a carrier that have to do with its receipts (`carrier.receipt_rules`)."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass

from carrier.receipt_rules import ReceiptedParts, ReceiptRules, UnmatchedAnswer
from gateway.config.definitions import setting
from gateway.config.kinds import Choice, Duration, Integer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptSettings:
    """How the carrier's delivery receipts are taken."""

    parts: ReceiptedParts = setting(
        Choice(ReceiptedParts),
        default="all",
        doc="Of which parts of a long message the carrier tells that they were delivered: all, last, first, or any for "
        "one of them. A part that failed decides in any case.",
    )
    unmatched: UnmatchedAnswer = setting(
        Choice(UnmatchedAnswer),
        default="accept",
        doc="How a receipt is answered whose id belongs to no message (yet). It is kept in any case, and matched when "
        "its id comes; refuse_temporarily also asks the carrier to deliver it again.",
    )
    refusals: int = setting(
        Integer(low=1, high=1_000, unit="times"),
        default="10",
        doc="How often refuse_temporarily refuses the same one, so that it cannot hold up the carrier's queue.",
    )
    clock_tolerance_s: float = setting(
        Duration(low="1m", high="7d"),
        default="24h",
        doc="A receipt whose done date lies further than this before the message was sent, or in the future, is not "
        "believed. With the default a wrong time zone alone costs no receipt.",
    )

    def rules(self) -> ReceiptRules:
        """Return them as the profile has them."""
        return ReceiptRules(
            parts=self.parts,
            unmatched=self.unmatched,
            refusals=self.refusals,
            clock_tolerance_s=self.clock_tolerance_s,
        )
