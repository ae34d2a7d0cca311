"""What a carrier's rules make of its receipts."""

from __future__ import annotations

import pytest

from carrier.receipt_rules import ReceiptedParts, ReceiptRules, UnmatchedAnswer
from gateway.pipeline.receipt_terms import ReceiptTerms
from gateway.states import PartsRule

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
HOUR = 3600 * SECOND


@pytest.mark.parametrize("parts", ReceiptedParts)
def test_parts(parts: ReceiptedParts) -> None:
    """Each setting is the rule of the same name; a carrier that nobody described tells of all parts."""
    terms = ReceiptTerms([("acme", ReceiptRules(parts=parts))])
    assert PartsRule(terms.of("acme").parts_rule).name == parts.name
    assert terms.of("other").parts_rule == PartsRule.ALL


def test_refusals() -> None:
    """Only a carrier that is to be asked again is, and so often as its profile says."""
    refuse = ReceiptRules(unmatched=UnmatchedAnswer.REFUSE, refusals=7)
    terms = ReceiptTerms([("one", refuse), ("two", ReceiptRules(refusals=7))])
    assert (terms.of("one").refusals, terms.of("two").refusals) == (7, 0)


@pytest.mark.parametrize(
    ("done_at", "sent_by"),
    [
        (None, NOW + 5 * SECOND),
        (NOW, NOW + 5 * SECOND),
        (NOW - HOUR, NOW),  # done an hour ago, by a clock that may be an hour behind
        (NOW - 3 * HOUR, NOW - 2 * HOUR),
        (NOW + HOUR, NOW + 5 * SECOND),
        (NOW + HOUR + 1, -1),  # in the future
    ],
)
def test_when_the_message_must_have_been_sent(done_at: int | None, sent_by: int) -> None:
    """A receipt is not older than its message: neither by our clock nor, within the tolerance, by the carrier's."""
    terms = ReceiptTerms([("acme", ReceiptRules(clock_tolerance_s=3600))]).of("acme")
    assert terms.sent_by(done_at, NOW) == sent_by
