"""The settings of a carrier that have to do with its receipts (`carrier.receipt_rules`)."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from carrier.receipt_rules import IdSource, ReceiptedParts, ReceiptRules, StatMeaning, UnmatchedAnswer, zone_of
from gateway.config.definitions import setting
from gateway.config.kinds import Choice, Duration, Integer, Table, Text

_ZONE = r"[A-Za-z][A-Za-z0-9_+/-]*|[+-][0-9]{2}:[0-9]{2}"
_STAT = Text(meaning="a stat of letters and digits", pattern=r"[A-Za-z0-9_]+", low=1, high=16)


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

    timezone: str = setting(
        Text(meaning="a time zone, as Asia/Kolkata, or an offset from UTC, as +05:30", pattern=_ZONE, low=1, high=64),
        default="UTC",
        doc="Of the dates in its receipts, which name none.",
    )
    id_from: IdSource = setting(
        Choice(IdSource),
        default="tlv",
        doc="Which id counts when receipted_message_id and the text name one each. A single one counts in any case.",
    )
    stats: Mapping[str, StatMeaning] = setting(
        Table(key=_STAT, value=Choice(StatMeaning), high=100),
        doc="What a stat in the text of a receipt means, where that is not the usual. An unknown one is recorded "
        "and leaves the message as it is. A message_state TLV comes first.",
        example="EXPRD: expired",
    )

    def rules(self) -> ReceiptRules:
        """Return them as the profile has them."""
        return ReceiptRules(
            parts=self.parts,
            unmatched=self.unmatched,
            refusals=self.refusals,
            clock_tolerance_s=self.clock_tolerance_s,
            timezone=self.timezone,
            id_from=self.id_from,
            stats={stat.upper(): meaning for stat, meaning in self.stats.items()},
        )

    def findings(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with them."""
        try:
            zone_of(self.timezone)
        except ValueError as error:
            yield "receipts.timezone", f"{error}; is the package tzdata installed?"
        if len({stat.upper() for stat in self.stats}) != len(self.stats):
            yield "receipts.stats", "has a stat twice; capitals make no difference"
