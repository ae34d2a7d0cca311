"""The contract: usage is what the events say, once each, and what carriers bill."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

import pytest

from gateway.errors import Overloaded
from gateway.states import State
from gateway.store.contract import Queue, Store
from gateway.store.operating import Place, Purge, Selection
from gateway.store.usage import DAY, MAX_ROWS, NUMBERS, Bill, By, Usage, UsageFilter
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import (
    HOUR,
    NOW,
    OTP,
    SECOND,
    TENANT,
    TRANSACTIONAL,
    again,
    all_events,
    in_doubt,
    key,
    message,
    receipt,
    rejected,
    sending,
    submitted,
)
from tests.gateway.store.test_contract_holds import PURGED
from tests.gateway.store.usage_agreement import EACH, EVER, told_by_events, told_by_usage

ALL = By()
PRICE = 7_000  # a part


async def sums(store: Store, **by: bool) -> list[Usage]:
    """Return what has ever been used."""
    return list(await store.usage(EVER, By(**by)))


def numbers(row: Usage) -> dict[str, int]:
    """Return what a row has that is not nothing."""
    return {name: value for name in NUMBERS if (value := getattr(row, name))}


async def total(store: Store) -> dict[str, int]:
    """Return the sum of everything."""
    rows = await sums(store)
    return numbers(rows[0]) if rows else {}


def priced(new: Any, price: int = PRICE) -> Bill:
    """Return the bill of an attempt."""
    return Bill(new.category, new.country, new.reserved, price)


async def agrees(store: Store) -> None:
    """Hold the usage against the events."""
    assert told_by_usage(await store.usage(EVER, EACH)) == told_by_events({TENANT: await all_events(store)})


async def test_the_usual_way(store: Store) -> None:
    """Accepted, submitted, delivered: each once, where and when it was."""
    news = [message(segments=3, category=OTP), message(country="FR")]
    await store.accept(news)
    await store.sending([sending(new) for new in news])
    await store.settle([submitted(news[0], "a\nb\nc", bill=priced(news[0])), submitted(news[1], "d")])
    await store.receipts([receipt(part) for part in "abc"] + [receipt("d", "U")])
    day = NOW // DAY
    rows = await sums(store, tenant=True, day=True, category=True, carrier=True, country=True)
    assert [(*row[:6], numbers(row)) for row in rows] == [
        (TENANT, day, OTP, "DE", "", "", {"accepted": 1, "accepted_segments": 3, "committed": 3 * PRICE}),
        (
            *(TENANT, day, OTP, "DE", "acme-sms", ""),
            {
                "submitted": 1,
                "submitted_segments": 3,
                "delivered": 1,
                "delivered_segments": 3,
                "spent": 3 * PRICE,
            },
        ),
        (TENANT, day, TRANSACTIONAL, "FR", "", "", {"accepted": 1, "accepted_segments": 1}),
        (
            *(TENANT, day, TRANSACTIONAL, "FR", "acme-sms", ""),
            {"submitted": 1, "submitted_segments": 1, "failed": 1, "failed_segments": 1},
        ),
    ]
    await agrees(store)


async def test_old_days_go(store: Store) -> None:
    """Rows of days that were over go, the oldest first and so many at a time; other tenants' and later ones stay."""
    day = NOW // DAY
    news = [message(country=country, accepted_at=(day - back) * DAY) for back in (2, 1, 0) for country in ("DE", "FR")]
    await store.accept([*news, message(tenant="other", accepted_at=(day - 2) * DAY)])
    assert await store.retain_usage(TENANT, (day - 1) * DAY - 1, 10) == 0  # that day was not over yet
    assert await store.retain_usage(TENANT, day * DAY, 3) == 3
    kept = [
        (row.tenant, row.day, row.country, row.accepted)
        for row in await sums(store, tenant=True, day=True, country=True)
    ]
    mine = [(TENANT, day - 1, "FR"), (TENANT, day, "DE"), (TENANT, day, "FR"), ("other", day - 2, "DE")]
    assert kept == sorted((*key, 1) for key in mine)
    assert await store.retain_usage(TENANT, day * DAY, 3) == 1
    assert await store.retain_usage(TENANT, day * DAY, 3) == 0
    assert await store.retain_usage("nobody", day * DAY, 3) == 0
    assert (await store.counts())["retention.usage"] == 4


async def test_replays_are_not_used(store: Store) -> None:
    """A key that is known adds nothing, in the same batch or later."""
    first = message(idempotency=key("k"), reserved=500)
    replay = first._replace(id=message().id)
    await store.accept([first, replay])
    await store.accept([replay._replace(id=message().id)])
    assert await total(store) == {"accepted": 1, "accepted_segments": 1, "committed": 500}


async def test_what_was_reserved_becomes_what_it_cost(store: Store) -> None:
    """A reservation holds while a message waits and is tried again, and ends when a carrier has taken it."""
    new = message(segments=2, reserved=50_000)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([again(new, bill=priced(new), part_states="--")])
    assert (await total(store))["committed"] == 50_000
    (claimed,) = await store.claim(TRANSACTIONAL, 1, NOW + 4 * SECOND)
    assert claimed.reserved == 50_000
    await store.sending([sending(new)])
    await store.settle([submitted(new, "a\nb", bill=priced(claimed))])
    found = await total(store)
    assert (found["committed"], found["spent"]) == (2 * PRICE, 2 * PRICE)


async def test_parts_are_billed_once(store: Store) -> None:
    """A part that the carrier took counts at once, and not again when the others follow."""
    new = message(segments=3, reserved=50_000)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([again(new, bill=priced(new), carrier_ids="a\n\n", part_states="S--")])
    assert numbers((await sums(store, carrier=True))[1]) == {"submitted_segments": 1, "spent": PRICE}
    (claimed,) = await store.claim(TRANSACTIONAL, 1, NOW + 4 * SECOND)
    await store.sending([sending(new)])
    await store.settle([submitted(new, "a\nb\nc", bill=priced(claimed))])
    found = await total(store)
    assert (found["submitted"], found["submitted_segments"], found["committed"]) == (1, 3, 3 * PRICE)


async def test_a_second_copy_is_billed_again(store: Store) -> None:
    """Two carriers that took the same message both bill it, each at its price; what was reserved is freed once."""
    new = message(reserved=50_000)
    await store.accept([new])
    await store.sending([sending(new, carrier="one")])
    await store.settle([submitted(new, "a", carrier="one", bill=priced(new, 10))])
    await store.settle([in_doubt(new, carrier="one", bill=None)])
    (claimed,) = await store.claim(TRANSACTIONAL, 1, NOW + 4 * SECOND)
    assert claimed.reserved == 0
    await store.sending([sending(new, carrier="two")])
    await store.settle([submitted(new, "a", carrier="two", bill=priced(claimed, 20))])
    rows = await sums(store, carrier=True)
    assert [(row.carrier, row.submitted, row.spent) for row in rows] == [("", 0, 0), ("one", 1, 10), ("two", 1, 20)]
    assert (await total(store))["committed"] == 30
    await agrees(store)


async def test_a_receipt_that_came_first(store: Store) -> None:
    """A message that its receipt ends at once is both submitted and delivered."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    await store.receipts([receipt("a")])
    assert await store.settle([submitted(new, "a")]) == [State.DELIVERED]
    found = await total(store)
    assert (found["submitted"], found["delivered"]) == (1, 1)
    await agrees(store)


@pytest.mark.parametrize("end", ["rejected", "unsendable", "cancelled", "expired", "purged"])
async def test_what_no_carrier_took_is_free(store: Store, end: str) -> None:
    """A message that ends before a carrier had it has failed, frees what was reserved, and counts no more."""
    new = message(segments=2, reserved=900)
    await store.accept([new])
    if end == "rejected":
        await store.sending([sending(new)])
        await store.settle([rejected(new, part_states="--")])
    elif end == "unsendable":
        await store.settle([rejected(new, part_states="", bill=None)])
    elif end == "cancelled":
        await store.cancel(TENANT, new.id, NOW + SECOND)
    elif end == "expired":
        await store.close_due(NOW + 2 * HOUR, 10)
    else:
        place = Place(Queue.CLAIMED, -1, -1, b"")
        await store.purge_messages(Purge(Selection(tenant=TENANT), place, 10, PURGED))
    assert await total(store) == {
        "accepted": 1,
        "accepted_segments": 2,
        "failed": 1,
        "failed_segments": 2,
        "released": 1,
    }
    await agrees(store)


async def test_doubt_keeps_what_was_reserved(store: Store) -> None:
    """A message that may have left, and ends without anybody knowing, has failed and may have cost its price."""
    new = message(reserved=900)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new)])
    await store.close_due(NOW + 2 * HOUR, 10)
    found = await total(store)
    assert found == {"accepted": 1, "accepted_segments": 1, "failed": 1, "failed_segments": 1, "committed": 900}


async def test_content_that_was_sealed(store: Store) -> None:
    """Segments that nobody knew when the message was accepted count when a carrier has them, and at its end."""
    new = message(segments=0)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([submitted(new, "a\nb")])
    await store.receipts([receipt("a"), receipt("b")])
    assert await total(store) == {
        "accepted": 1,
        "submitted": 1,
        "submitted_segments": 2,
        "delivered": 1,
        "delivered_segments": 2,
    }


async def test_restarts_count_nothing_again(engine: Engine) -> None:
    """What is in doubt after a restart and sent again is submitted once, as its event says."""
    store = engine()
    await store.open()
    news = [message(reserved=10) for _ in range(3)]
    await store.accept(news)
    await store.sending([sending(new) for new in news])
    await store.settle([submitted(news[0], "a", bill=priced(news[0], 1))])
    await store.close()
    store = engine()
    await store.open()
    await store.recover(NOW + SECOND, frozenset({TRANSACTIONAL}))
    claimed = await store.claim(TRANSACTIONAL, 10, NOW + 2 * SECOND)
    await store.sending([sending(new) for new in claimed])
    await store.settle([submitted(new, f"b{n}", bill=priced(new, 1)) for n, new in enumerate(claimed)])
    found = await total(store)
    assert (found["accepted"], found["submitted"], found["spent"], found["committed"]) == (3, 3, 3, 3)
    await agrees(store)
    await store.close()


async def test_days_and_tenants(store: Store) -> None:
    """Days are those of UTC, both ends of a range are in it, and a tenant's is its own."""
    start = (NOW // DAY) * DAY
    batch = [(start - 1, TENANT), (start, TENANT), (start + DAY - 1, TENANT), (start + DAY, TENANT), (start, "other")]
    await store.accept([message(accepted_at=at, tenant=tenant) for at, tenant in batch])
    day = NOW // DAY
    (row,) = await store.usage(UsageFilter(day, day, TENANT), ALL)
    assert (row.tenant, row.day, row.accepted) == ("", -1, 2)
    rows = await store.usage(UsageFilter(day - 1, day), By(tenant=True, day=True))
    assert [(row.tenant, row.day, row.accepted) for row in rows] == [
        (TENANT, day - 1, 1),
        (TENANT, day, 2),
        ("other", day, 1),
    ]
    assert not await store.usage(UsageFilter(day, day, "nobody"), ALL)


async def test_answers_are_bounded(store: Store) -> None:
    """More rows than anybody reads are refused, and not cut."""
    per_day = [first + second for first in ascii_uppercase for second in ascii_uppercase]
    for later in range(MAX_ROWS // len(per_day) + 1):
        await store.accept([message(accepted_at=NOW + later * DAY, country=country) for country in per_day])
    with pytest.raises(Overloaded) as refused:
        await store.usage(EVER, By(day=True, country=True))
    assert refused.value.reason == "TOO_MANY_ROWS"
    assert len(await store.usage(EVER, By(country=True))) == len(per_day)
