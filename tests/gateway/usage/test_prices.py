"""Prices: which of them counts, and that no amount is ever a float."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gateway.store.usage import DAY
from gateway.usage import prices
from gateway.usage.prices import Price, PriceTable, micros

NUMBER = "+4915112345678"
AT = 20_000 * DAY
ROWS = (
    Price(carrier="acme", micros=1),
    Price(carrier="acme", micros=2, category=1),
    Price(carrier="acme", micros=3, country="DE"),
    Price(carrier="acme", micros=4, country="DE", category=1),
    Price(carrier="acme", micros=5, prefix="+491"),
    Price(carrier="acme", micros=6, prefix="+4915"),
    Price(carrier="acme", micros=7, prefix="+4915", category=1),
    Price(carrier="acme", micros=8, prefix="+4915", category=1, valid_from=20_001),
)


@pytest.mark.parametrize(
    ("category", "number", "country", "at", "expected"),
    [
        (2, "+33612345678", "FR", AT, 1),
        (1, "+33612345678", "FR", AT, 2),
        (2, "+4930123456", "DE", AT, 3),
        (1, "+4930123456", "DE", AT, 4),
        (1, "+4912345678", "DE", AT, 5),  # a prefix goes before a country, though that has the category
        (2, NUMBER, "DE", AT, 6),
        (1, NUMBER, "DE", AT, 7),
        (1, NUMBER, "DE", AT + DAY - 1, 7),
        (1, NUMBER, "DE", AT + DAY, 8),
        (2, "+49", "DE", AT, 3),
    ],
)
def test_which_price_counts(category: int, number: str, country: str, at: int, expected: int) -> None:
    """The longest prefix, then the country; of those the category, then the latest that is valid; in any order."""
    for rows in (ROWS, ROWS[::-1]):
        assert PriceTable(rows).price("acme", category, number, country, at) == expected


def test_what_has_no_price() -> None:
    """A carrier, or a number, without a price costs nothing."""
    table = PriceTable([Price(carrier="acme", micros=5, country="DE")])
    assert table.price("other", 1, NUMBER, "DE", AT) == 0
    assert table.price("acme", 1, "+33612345678", "FR", AT) == 0
    assert table.dearest(1, "+33612345678", "FR", AT) == 0
    assert not PriceTable()


def test_the_dearest() -> None:
    """What is reserved is what the dearest carrier bills, for this message."""
    table = PriceTable([*ROWS, Price(carrier="dear", micros=9, country="FR"), Price(carrier="dear", micros=1)])
    assert table.dearest(2, NUMBER, "DE", AT) == 6
    assert table.dearest(2, "+33612345678", "FR", AT) == 9


def test_answers_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that no price tells apart are one answer; however many are asked for, few are kept, and all are right."""
    monkeypatch.setattr(prices, "_REMEMBERED", 3)
    table = PriceTable(ROWS)
    for tail in range(20):
        assert table.dearest(2, f"+4915{tail:08}", "DE", AT) == 6
        assert len(table._dearest) == 1
    for number in range(10):
        assert table.dearest(2, f"+49{number}1234567", "DE", AT) == (5 if number == 1 else 3)
        assert len(table._dearest) <= 3


def test_whether_numbers_are_needed() -> None:
    """Without a prefix nobody has to open an envelope for a price."""
    assert PriceTable(ROWS).by_prefix
    assert not PriceTable([row for row in ROWS if not row.prefix]).by_prefix


@given(st.decimals(0, 999_999_999, places=6, allow_nan=False), st.integers(1, 1000))
def test_amounts_are_exact(amount: Decimal, segments: int) -> None:
    """So many segments cost exactly so many times the price: what floats would not give."""
    assert Decimal(micros(amount) * segments) == amount * segments * 1_000_000


def test_other_currencies_are_rounded_half_up() -> None:
    """A rate makes a price a millionth's multiple again."""
    assert micros(Decimal("0.0075"), Decimal("0.92")) == 6_900
    assert micros(Decimal("0.000001"), Decimal("0.5")) == 1
    assert micros(Decimal("0.000001"), Decimal("0.499999")) == 0
