"""Periods of retention: the configuration as rules of the store."""

from __future__ import annotations

import pytest

from gateway.config.retention_settings import retention_findings
from gateway.privacy.periods import Periods
from gateway.states import Category
from gateway.store.retention import Rule, Stage
from tests.gateway.privacy.periods import read_periods

DAY = 86_400_000_000


def test_defaults_are_three_groups() -> None:
    """Categories that are kept for the same time are one rule: four of them step through a tenant's messages."""
    rules = Periods(read_periods("{}")).rules(["acme"])
    others = 1 << Category.TRANSACTIONAL | 1 << Category.PROMOTIONAL
    everybody = others | 1 << Category.OTP
    assert rules == [
        Rule("acme", 1 << Category.OTP, Stage.CONTENT, DAY),
        Rule("acme", others, Stage.CONTENT, 7 * DAY),
        Rule("acme", everybody, Stage.ENVELOPE, 7 * DAY),
        Rule("acme", everybody, Stage.MESSAGE, 365 * DAY),
    ]


def test_a_tenant_has_its_own() -> None:
    """A tenant that is named has its own periods, what is left out has its default; others have the general ones."""
    periods = Periods(
        read_periods(
            "{events: 60d, tenants: [{tenant: shop, content: {otp: 1h}, inbound: 3d}, "
            "{tenant: bank, events: 90d, usage: 62d}]}"
        )
    )
    assert periods.of("shop").keeps[Category.OTP, Stage.CONTENT] == DAY // 24
    assert (periods.of("shop").inbound, periods.of("shop").events) == (3 * DAY, 30 * DAY)
    assert periods.of("bank").events == 90 * DAY
    assert periods.of("anybody").events == 60 * DAY
    assert (periods.of("bank").usage, periods.of("anybody").usage) == (62 * DAY, 400 * DAY)
    keeps = periods.keeps(["shop", "other"])
    assert keeps["shop", Category.OTP, Stage.CONTENT] == DAY // 24
    assert keeps["other", Category.OTP, Stage.CONTENT] == DAY
    assert len(keeps) == 2 * len(Category) * len(Stage)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{content: {promotional: 8d}}", "envelope.promotional"),
        ("{envelope: {otp: 400d}}", "metadata.otp"),
        ("{tenants: [{tenant: shop, content: {otp: 9d}}]}", "tenants[0].envelope.otp"),
        ("{tenants: [{tenant: nobody}]}", "tenants[0].tenant"),
        ("{tenants: [{tenant: shop}, {tenant: shop}]}", "tenants[1].tenant"),
    ],
)
def test_what_does_not_go_together(text: str, key: str) -> None:
    """A period that outlives what it needs, and a tenant that there is not, are refused by their key."""
    assert [where for where, _ in retention_findings(read_periods(text), ["shop"])] == [key]


def test_defaults_go_together() -> None:
    """Nothing is wrong with the defaults."""
    assert not list(retention_findings(read_periods("{}"), []))
