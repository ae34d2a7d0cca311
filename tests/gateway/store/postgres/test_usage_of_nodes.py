"""Several nodes add to the usage of the same tenants at the same time: nothing is lost, nobody waits in a circle."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack

from gateway.store.postgres import PostgresStore, Target
from gateway.store.usage import Bill, By
from tests.gateway.store.samples import message, sending, submitted
from tests.gateway.store.usage_agreement import EACH, EVER, told_by_events, told_by_usage
from tests.postgres.server import shared

TENANTS, COUNTRIES, CARRIERS = ("acme", "shop", "bank"), ("DE", "FR", "IT", "AT"), ("one", "two")
ROUNDS, BATCH = 10, 12


async def traffic(store: PostgresStore, node: int) -> None:
    """Accept and submit messages of all tenants, in an order of this node's own."""
    chance = random.Random(node)  # noqa: S311 -- the order is to be the same in each run
    for number in range(ROUNDS):
        news = [
            message(tenant=chance.choice(TENANTS), country=chance.choice(COUNTRIES), reserved=100) for _ in range(BATCH)
        ]
        await store.accept(news)
        carrier = chance.choice(CARRIERS)
        assert all(await store.sending([sending(new, carrier=carrier) for new in news]))
        bills = [Bill(new.category, new.country, new.reserved, 7) for new in news]
        await store.settle(
            [
                submitted(new, f"{node}-{number}-{n}", carrier=carrier, bill=bill)
                for n, (new, bill) in enumerate(zip(news, bills, strict=True))
            ]
        )


def deadlocks() -> int:
    """Return how often the server has ended a transaction of a circle, once every session has told what it counted."""
    with shared().connect("postgres") as db:
        for _ in range(500):
            sessions = db.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchall()
            if len(sessions) == 1:
                break
            time.sleep(0.01)
        (counted,) = db.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()  # type: ignore[misc]  # a row is there
    return int(str(counted))


async def test_sums_are_exact(target: Target) -> None:
    """What three nodes have counted together is what the events say, and what each message cost. None of them has met
    another one in a circle, though each meets the names of tenants in an order of its own."""
    before = deadlocks()
    await _count_together(target)
    assert deadlocks() == before


async def _count_together(target: Target) -> None:
    async with AsyncExitStack() as stack:
        stores = [PostgresStore(target, node=f"node-{number}") for number in range(3)]
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        async with asyncio.timeout(60):
            await asyncio.gather(*[traffic(store, number) for number, store in enumerate(stores)])
        events = {tenant: await stores[0].events(tenant, 0, 10_000) for tenant in TENANTS}
        assert told_by_usage(await stores[1].usage(EVER, EACH)) == told_by_events(events)
        (total,) = await stores[2].usage(EVER, By())
        messages = 3 * ROUNDS * BATCH
        assert (total.accepted, total.submitted) == (messages, messages)
        assert (total.spent, total.committed) == (7 * messages, 7 * messages)
