"""What each carrier's profile says of its receipts, in the units of the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from carrier.receipt_rules import USUAL, ReceiptedParts, ReceiptRules, UnmatchedAnswer
from gateway.states import PartsRule

_SECOND = 1_000_000
_CLOCK_STEP = 5 * _SECOND  # our own clock may have been set back since a message was sent
_PARTS = {
    ReceiptedParts.ALL: PartsRule.ALL,
    ReceiptedParts.LAST: PartsRule.LAST,
    ReceiptedParts.FIRST: PartsRule.FIRST,
    ReceiptedParts.ANY: PartsRule.ANY,
}


class Terms(NamedTuple):
    """Of one carrier (hot: a tuple)."""

    parts_rule: int
    refusals: int  # see `NewReceipt`
    tolerance: int  # microseconds

    def sent_by(self, done_at: int | None, now: int) -> int:
        """Return when a message must have been sent at the latest, for a receipt that came `now` and says that it was
        done at `done_at`; -1 when it can mean none."""
        if done_at is None:
            return now + _CLOCK_STEP
        if done_at > now + self.tolerance:
            return -1
        return min(now + _CLOCK_STEP, done_at + self.tolerance)


def terms_of(rules: ReceiptRules) -> Terms:
    """Return the terms of a carrier with these rules."""
    refusals = rules.refusals if rules.unmatched is UnmatchedAnswer.REFUSE else 0
    return Terms(int(_PARTS[rules.parts]), refusals, round(rules.clock_tolerance_s * _SECOND))


class ReceiptTerms:
    """The terms of all carriers."""

    def __init__(self, rules: Iterable[tuple[str, ReceiptRules]] = ()) -> None:
        """Take (carrier, its rules)."""
        self._terms: dict[str, Terms] = {}
        self.use(rules)

    def use(self, rules: Iterable[tuple[str, ReceiptRules]]) -> None:
        """Go by these rules from now on."""
        self._terms = {carrier: terms_of(each) for carrier, each in rules}

    def of(self, carrier: str) -> Terms:
        """Return those of `carrier`."""
        return self._terms.get(carrier, _USUAL)


_USUAL = terms_of(USUAL)
