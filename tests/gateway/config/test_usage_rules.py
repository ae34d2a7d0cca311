"""Prices and caps: amounts are decimal, and what contradicts is told by line and key."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from gateway.config.usage_settings import Amount, Day
from gateway.usage.assembly import cap_rules, price_table
from tests.gateway.config.conftest import MINIMAL, Load, Problems

SITE = """\
tenants: [{name: demo, spiffe_ids: [spiffe://example.org/demo]}]
carriers: [{name: a, host: localhost, system_id: me, password_file: secret, insecure: true}]
"""


ONLY_OTP = "  currency: EUR\n  prices: [{carrier: a, price: 1, category: OTP}]\n"


def usage(text: str) -> str:
    """Return a configuration with this section."""
    return f"{SITE}usage:\n{text}"


def test_prices_and_caps(loaded: Load) -> None:
    """What the file says is what counts: in one currency, without a float on the way."""
    settings = loaded(
        usage(
            "  currency: EUR\n"
            "  rates: {USD: 0.92}\n"
            "  prices:\n"
            "    - {carrier: a, price: 0.1}\n"
            "    - {carrier: a, price: 0.0075, currency: USD, country: DE, category: OTP, valid_from: 2026-12-01}\n"
            "  caps:\n"
            "    - {tenant: demo, category: OTP, spend_per_day: 0.3, messages_per_month: 1_000}\n"
        )
    ).usage
    table = price_table(settings)
    day = 86_400_000_000 * (dt.date(2026, 12, 1) - dt.date(1970, 1, 1)).days
    assert [table.price("a", 1, "", "DE", at) for at in (day - 1, day)] == [100_000, 6_900]
    (cap,) = cap_rules(settings).caps
    assert (cap.category, cap.spend_per_day, cap.messages_per_month) == (1, 300_000, 1000)
    assert (cap.messages_per_day, cap.spend_per_month) == (None, None)


def test_nothing_is_capped_by_default(loaded: Load) -> None:
    """Without the section there are neither prices nor caps."""
    rules = cap_rules(loaded("").usage)
    assert (rules.caps, bool(rules.prices), rules.currency) == ([], False, "")


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ("  prices: [{carrier: a, price: 1}]\n", "usage.currency", "is missing"),
        ("  currency: EUR\n  rates: {EUR: 1}\n", "usage.rates.EUR", "is usage.currency itself"),
        ("  currency: EUR\n  prices: [{carrier: b, price: 1}]\n", "usage.prices[0].carrier", "no carrier b"),
        (
            "  currency: EUR\n  prices: [{carrier: a, price: 1, prefix: '+49', country: DE}]\n",
            "usage.prices[0].country",
            "stands beside a prefix",
        ),
        (
            "  currency: EUR\n  prices: [{carrier: a, price: 1, currency: USD}]\n",
            "usage.prices[0].currency",
            "no rate of USD",
        ),
        (
            "  currency: EUR\n  prices: [{carrier: a, price: 1}, {carrier: a, price: 2}]\n",
            "usage.prices[1]",
            "a second price for the same",
        ),
        ("  currency: EUR\n  prices: [{carrier: a, price: 1e-3}]\n", "usage.prices[0].price", "wants an amount"),
        ("  caps: [{tenant: nobody, messages_per_day: 1}]\n", "usage.caps[0].tenant", "no tenant nobody"),
        ("  caps: [{tenant: demo}]\n", "usage.caps[0]", "bounds nothing"),
        (
            "  caps: [{tenant: demo, messages_per_day: 1}, {tenant: demo, messages_per_month: 1}]\n",
            "usage.caps[1]",
            "put both into one",
        ),
        ("  caps: [{tenant: demo, spend_per_day: 1}]\n", "usage.caps[0].spend_per_day", "a has no price"),
        (
            ONLY_OTP + "  caps: [{tenant: demo, spend_per_month: 1}]\n",
            "usage.caps[0].spend_per_month",
            "cannot hold while a has no price for every number",
        ),
    ],
)
def test_what_is_wrong(problems: Problems, text: str, key: str, why: str) -> None:
    """Each fault is told once, with its line."""
    ((line, found, told),) = problems(MINIMAL + usage(text))
    assert found == key
    assert why in told
    assert line > MINIMAL.count("\n") + SITE.count("\n")


@pytest.mark.parametrize("text", ["", "-1", "1.", ".5", "1,5", "0.0000001", "1e3", "NaN", "1234567890", "0x1"])
def test_amounts_that_are_none(text: str) -> None:
    """An amount is written in digits, with at most six behind its point."""
    with pytest.raises(ValueError, match="wants an amount"):
        Amount().read(text)


def test_amounts_keep_their_digits() -> None:
    """A tenth is a tenth."""
    assert Amount().read("0.1") * 3 == Decimal("0.3")
    assert Amount().show(Decimal("0.000001")) == "0.000001"
    with pytest.raises(ValueError, match="more than 0"):
        Amount(above_zero=True).read("0.0")


@pytest.mark.parametrize("text", ["2026-2-1", "2026-02-30", "20260201", "tomorrow"])
def test_days_that_are_none(text: str) -> None:
    """A day is one of the calendar, written in full."""
    with pytest.raises(ValueError, match="wants a day"):
        Day().read(text)
