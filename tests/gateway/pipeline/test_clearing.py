"""A backlog for a carrier that is away does not keep messages for another one in the database."""

from __future__ import annotations

import asyncio
from pathlib import Path

from carrier.contract import LinkState, Outcome
from gateway.routing.routes import Match, Route, Target
from gateway.states import Category, State
from gateway.store.contract import Queue
from tests.gateway.pipeline.rig import SECOND, Rig
from tests.gateway.pipeline.test_handing import ids_of, send
from tests.gateway.pipeline.test_routes import running

ROUTES = [
    Route(name="a", match=Match(prefixes=frozenset({"+4915"})), targets=(Target(carrier="acme"),)),
    Route(name="b", match=Match(prefixes=frozenset({"+49152"})), targets=(Target(carrier="other"),)),
]
TO_OTHER = "+4915212345678"


async def put_away(rig: Rig) -> int:
    """Return how many messages have been put away."""
    return (await rig.store.counts()).get(f"queue.{Queue.HELD_PROMOTIONAL.name}", 0)


async def test_what_waits_behind_a_backlog_gets_through(tmp_path: Path) -> None:
    """Memory for a hundred, five hundred for a carrier that is away: ten behind them go by the other one, and all of
    its own by the first when it is back."""
    async with running(tmp_path, ROUTES, memory=100, window=500) as (rig, other):
        rig.link.state = LinkState.BACKOFF
        waiting = await rig.send(500, Category.PROMOTIONAL)
        quick = await rig.send(10, Category.PROMOTIONAL, recipient=TO_OTHER)
        await rig.until(lambda: len(other.held) == 10)
        other.finish(10)
        for answer in quick:
            await rig.reach(answer.id, State.SUBMITTED)
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 500)
        assert {submission.key.message.id for submission in rig.link.held} == {answer.id for answer in waiting}  # type: ignore[attr-defined]  # an Attempt
        assert await put_away(rig) == 0


async def test_no_carrier_at_all(tmp_path: Path) -> None:
    """Where both are away nothing is put away: it is in nobody's way. It is once the other one is back."""
    async with running(tmp_path, ROUTES, memory=100) as (rig, other):
        rig.link.state = other.state = LinkState.BACKOFF
        await rig.send(300, Category.PROMOTIONAL)
        for _ in range(10):
            rig.pipeline.offered()
            await asyncio.sleep(0)
        assert (rig.pipeline.lanes.sizes()["PROMOTIONAL"], await put_away(rig)) == (100, 0)
        other.come_back()
        async with asyncio.timeout(20):
            while await put_away(rig) < 250:
                await asyncio.sleep(0.005)


async def test_what_fits_stays_in_memory(tmp_path: Path) -> None:
    """A lane with nothing behind it keeps its messages for a moment where they go from at once."""
    async with running(tmp_path, ROUTES, memory=1000) as (rig, other):
        rig.link.state = LinkState.BACKOFF
        await rig.send(200, Category.PROMOTIONAL)
        await rig.send(10, Category.PROMOTIONAL, recipient=TO_OTHER)
        await rig.until(lambda: len(other.held) == 10)
        assert (rig.pipeline.lanes.sizes()["PROMOTIONAL"], await put_away(rig)) == (200, 0)


async def test_what_has_waited_for_long_is_put_away(tmp_path: Path) -> None:
    """After five seconds what waits for a carrier that is away is in the database, also what comes then and though
    memory has room; another carrier's goes on, and it comes back in the order of its end."""
    async with running(tmp_path, ROUTES, memory=1000) as (rig, other):
        rig.link.state = LinkState.BACKOFF
        slow, quick = await send(rig, 9000, 900)
        rig.pipeline.offered()
        await asyncio.sleep(0)
        rig.now += 4 * SECOND
        await rig.send(1, recipient=TO_OTHER)
        await rig.until(lambda: len(other.held) == 1)
        assert rig.pipeline.lanes.sizes()["TRANSACTIONAL"] == 2
        rig.now += 2 * SECOND
        (quicker,) = await send(rig, 600)
        async with asyncio.timeout(20):
            while (await rig.store.counts()).get(f"queue.{Queue.HELD_TRANSACTIONAL.name}", 0) < 3:
                await asyncio.sleep(0.005)
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 3)
        assert ids_of(rig.link.held) == [quicker, quick, slow]


async def test_what_waits_for_one_of_two_stays(tmp_path: Path) -> None:
    """Long messages of which a carrier has taken parts wait for it in memory, though they fill it: another carrier can
    take them when their patience is over, and does."""
    patience = {int(Category.PROMOTIONAL): 5 * SECOND}
    async with running(tmp_path, [], memory=100, window=1000, patience=patience) as (rig, other):
        await rig.send(100, Category.PROMOTIONAL, text="x" * 400)
        await rig.until(lambda: len(rig.link.held) == 300)
        submissions = rig.link.held
        rig.link.held = submissions[::3]
        rig.link.finish(100)
        rig.link.state = LinkState.BACKOFF
        rig.link.held = [submission for at, submission in enumerate(submissions) if at % 3]
        rig.link.finish(200, outcome=Outcome.NOT_WRITTEN)
        await rig.until(lambda: rig.pipeline.lanes.sizes()["PROMOTIONAL"] == 100)
        rig.pipeline.lanes[Category.PROMOTIONAL].note_waiting(rig.now, rig.now)
        rig.pipeline.offered()
        rig.now += 6 * SECOND
        await rig.until(lambda: len(other.held) == 300)
        assert await put_away(rig) == 0


async def test_changed_routes_bring_it_back(tmp_path: Path) -> None:
    """What has been put away goes by the new routes, which have a way for it."""
    async with running(tmp_path, ROUTES, memory=100, window=500) as (rig, other):
        rig.link.state = LinkState.BACKOFF
        await rig.send(300, Category.PROMOTIONAL)
        async with asyncio.timeout(20):
            while await put_away(rig) < 250:
                await asyncio.sleep(0.005)
        rig.pipeline.use(rig.routing._replace(routes=[Route(name="any", targets=(Target(carrier="other"),))]))
        await rig.until(lambda: len(other.held) == 300)


async def test_a_restart_brings_it_back(tmp_path: Path) -> None:
    """A node that starts anew takes up what an earlier one had put away."""
    async with running(tmp_path, ROUTES, memory=100) as (rig, _):
        rig.link.state = LinkState.BACKOFF
        await rig.send(300, Category.PROMOTIONAL)
        async with asyncio.timeout(20):
            while await put_away(rig) < 250:
                await asyncio.sleep(0.005)
    async with running(tmp_path, ROUTES, memory=100, window=500) as (rig, _):
        await rig.until(lambda: len(rig.link.held) == 300)
