"""Caps: what is used and held never exceeds them, and comes back when a message costs less, or nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gateway.errors import Overloaded, RateLimited
from gateway.store.usage import DAY, Correction
from gateway.usage.caps import Cap, CapRules, Caps, Meter, Period, amount_text, period_of
from gateway.usage.prices import Price, PriceTable
from gateway.validation import Draft

TENANT = "acme"
DAY_NO = (dt.date(2026, 11, 27) - dt.date(1970, 1, 1)).days
NOW = DAY_NO * DAY + 10 * 3_600_000_000
PRICES = PriceTable([Price(carrier="a", micros=10), Price(carrier="b", micros=30, country="DE")])


def draft(**fields: Any) -> Draft:
    """Return a message of one segment to Germany."""
    new = Draft("+4915112345678", "", "ACME", 2, b"", b"", 1, 1, NOW, NOW, "", b"", "DE")
    return new._replace(**fields)


def caps(*bounds: Cap, known: bool = True, **fields: Any) -> Caps:
    """Return caps of which nothing is used."""
    made = Caps(CapRules(caps=bounds, prices=PRICES, **fields), NOW)
    for meter in made.meters():
        meter.known = known
    return made


def stored(of: Caps, *drafts: Draft, now: int = NOW) -> list[Overloaded | None]:
    """Take room for messages, and store those that have it; what each was refused by."""
    with of.charge(TENANT, now) as charge:
        refused = [charge.hold(each)[1] for each in drafts]
        charge.settle([True] * refused.count(None))
    return refused


def used(of: Caps) -> list[tuple[int, int]]:
    """Return what each meter has used, and holds."""
    return [(meter.used, meter.held) for meter in of.meters()]


def test_a_cap_of_messages_is_exact() -> None:
    """As many as it says, and no more, however they come; the refusal says which cap, and until when."""
    of = caps(Cap(tenant=TENANT, messages_per_day=3))
    assert stored(of, draft(), draft()) == [None, None]
    first, second = stored(of, draft(), draft())
    assert first is None
    assert isinstance(second, RateLimited)
    assert (second.reason, second.limit) == ("MESSAGE_CAP", "messages_per_day")
    assert second.retry_after_s == 14 * 3600
    assert used(of) == [(3, 0)]


def test_concurrent_calls_cannot_exceed() -> None:
    """What one call holds while it is being stored is used for another one."""
    of = caps(Cap(tenant=TENANT, messages_per_day=3))
    with of.charge(TENANT, NOW) as one, of.charge(TENANT, NOW) as other:
        assert [one.hold(draft())[1], one.hold(draft())[1], other.hold(draft())[1]] == [None] * 3
        assert other.hold(draft())[1] is not None
        one.settle([True, False])  # the second was a replay
        assert other.hold(draft())[1] is None
    assert used(of) == [(1, 0)]  # the other one was never stored


def test_a_month_ends_later() -> None:
    """A month goes to its last day, and a leap year's February has 29."""
    of = caps(Cap(tenant=TENANT, messages_per_month=0))
    (refused,) = stored(of, draft())
    assert refused is not None
    assert refused.retry_after_s == 14 * 3600 + 3 * 86400
    assert period_of(DAY_NO, monthly=True) == Period(DAY_NO - 26, DAY_NO + 3)
    leap = (dt.date(2028, 2, 10) - dt.date(1970, 1, 1)).days
    assert period_of(leap, monthly=True) == Period(leap - 9, leap + 19)


def test_the_next_day_begins_with_nothing() -> None:
    """At midnight there is room again; what is stored then after it was held before counts in its own day."""
    of = caps(Cap(tenant=TENANT, messages_per_day=1))
    with of.charge(TENANT, NOW) as late:
        assert late.hold(draft())[1] is None
        assert stored(of, draft(), now=NOW + DAY) == [None]
        late.settle([True])
    assert used(of) == [(1, 0)]
    assert stored(of, draft(), now=NOW + DAY) != [None]


def test_scopes() -> None:
    """A cap of a category or a country counts those messages alone, and others are not refused by it."""
    of = caps(
        Cap(tenant=TENANT, category=3, messages_per_day=1),
        Cap(tenant=TENANT, country="FR", messages_per_day=1),
        Cap(tenant="other", messages_per_day=0),
    )
    promotion, french = draft(category=3), draft(country="FR")
    refused = stored(of, promotion, draft(), french, promotion, french, draft())
    assert [each is not None for each in refused] == [False, False, False, True, True, False]
    assert str(refused[3]).startswith("the cap of this tenant's messages of category PROMOTIONAL in a day")


def test_all_caps_or_none() -> None:
    """A message that one cap refuses takes nothing of the others."""
    of = caps(Cap(tenant=TENANT, messages_per_day=5), Cap(tenant=TENANT, country="DE", messages_per_day=0))
    assert stored(of, draft())[0] is not None
    assert used(of) == [(0, 0), (0, 0)]


def test_what_the_dearest_carrier_bills_is_reserved() -> None:
    """Each segment at the highest price; sealed content by what is assumed of it."""
    of = caps(Cap(tenant=TENANT, spend_per_day=1000), sealed_segments=4)
    with of.charge(TENANT, NOW) as charge:
        kept = [charge.hold(each)[0].reserved for each in (draft(segments=3), draft(country="FR"), draft(segments=0))]
        assert kept == [90, 10, 120]
        charge.settle([True] * 3)
    assert used(of) == [(220, 0)]


def test_nothing_is_reserved_without_a_cap_of_spending() -> None:
    """Who has no such cap pays no look-up."""
    of = caps(Cap(tenant=TENANT, messages_per_day=10))
    with of.charge(TENANT, NOW) as charge:
        assert charge.hold(draft())[0].reserved == 0
    with of.charge("another", NOW) as charge:
        same = draft()
        assert charge.hold(same)[0] is same
        charge.settle([True])


def test_spending_comes_back() -> None:
    """What cost less than was reserved, or nothing, makes room; what cost more takes it."""
    of = caps(Cap(tenant=TENANT, messages_per_day=10, spend_per_day=60))
    assert stored(of, draft(), draft()) == [None, None]
    assert isinstance(stored(of, draft())[0], RateLimited)
    of.correct([Correction(TENANT, DAY_NO, 2, "DE", 0, -20), Correction(TENANT, DAY_NO, 2, "DE", 1, -30)])
    assert used(of) == [(1, 0), (10, 0)]
    assert stored(of, draft()) == [None]
    of.correct([Correction(TENANT, DAY_NO, 2, "DE", 0, 5), Correction("other", DAY_NO, 2, "DE", 9, -900)])
    assert used(of) == [(2, 0), (45, 0)]


def test_corrections_of_other_days() -> None:
    """Yesterday's message does not change today's cap, and does the month's."""
    of = caps(Cap(tenant=TENANT, messages_per_day=5, messages_per_month=5))
    stored(of, draft())
    of.correct([Correction(TENANT, DAY_NO - 1, 2, "DE", 1, 0)])
    assert used(of) == [(1, 0), (0, 0)]


def test_what_a_rate_refuses_is_dropped() -> None:
    """The last message that was held is given back alone."""
    of = caps(Cap(tenant=TENANT, messages_per_day=5))
    with of.charge(TENANT, NOW) as charge:
        charge.hold(draft())
        charge.hold(draft())
        charge.drop()
        assert used(of) == [(0, 1)]
        charge.settle([True])
    assert used(of) == [(1, 0)]


def test_unknown_usage_refuses() -> None:
    """Until it is known what was used nobody knows whether there is room: it is refused, to come back soon."""
    of = caps(Cap(tenant=TENANT, messages_per_day=5), known=False)
    (refused,) = stored(of, draft())
    assert refused is not None
    assert (refused.reason, refused.retry_after_s) == ("USAGE_UNKNOWN", 1.0)


def test_a_changed_limit_keeps_what_was_used() -> None:
    """Raising a cap makes room for the difference; another one begins unknown; one that is gone holds nothing."""
    of = caps(Cap(tenant=TENANT, messages_per_day=1))
    stored(of, draft())
    of.use(CapRules(caps=[Cap(tenant=TENANT, messages_per_day=2, messages_per_month=9)]), NOW)
    assert [(meter.name, meter.used, meter.known) for meter in of.meters()] == [
        ("messages_per_day", 1, True),
        ("messages_per_month", 0, False),
    ]
    of.use(CapRules(), NOW)
    assert stored(of, draft()) == [None]


@pytest.mark.parametrize(
    ("shared", "moved", "expected"), [(False, False, 7), (False, True, 3), (True, False, 7), (True, True, 8)]
)
def test_what_the_store_says(shared: bool, moved: bool, expected: int) -> None:
    """Alone, a node believes itself while things move; beside others it takes the store's sum, and what it added since
    it asked."""
    meter = Meter(Cap(tenant=TENANT), "messages_per_day", 10, DAY_NO)
    meter.known, meter.used = True, 2
    meter.delta = 0
    if moved:
        meter.add(1)
    meter.counted(7, shared=shared)
    assert meter.used == expected


def test_amounts_are_shown_exactly() -> None:
    """Two digits at least, and no digit lost."""
    shown = [amount_text(each) for each in (0, 1, 12_500_000, -300_000, 10**15)]
    assert shown == ["0.00", "0.000001", "12.50", "-0.30", "1000000000.00"]
