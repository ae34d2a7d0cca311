"""Two pipelines on one database: what one cannot send the other does, and what operators want holds at both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from carrier.contract import LinkState
from gateway.api.hub import EventHub, share_events
from gateway.pipeline import handing
from gateway.pipeline.outcomes import Attempt
from gateway.pipeline.queues import Queues
from gateway.states import Category, State
from gateway.store.contract import Store
from gateway.store.nodes import News
from gateway.store.operating import MessageHold, Selection
from gateway.store.postgres import PostgresStore
from gateway.store.postgres.leases import Terms
from tests.gateway.pipeline.rig import START, Rig, at_work
from tests.gateway.pipeline.test_fleet import Ship, hold, profile
from tests.gateway.sealing.boxes import sealing_box
from tests.postgres.server import shared

WAIT_S = 30.0
TERMS = Terms(lease_s=20.0, margin_s=1.0, renew_s=0.1)
OPERATOR = "spiffe://example.org/admin/ann"


async def until(true: Callable[[], Any], what: str) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)
    raise AssertionError(what)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Rig, Rig]]:
    """Give two nodes that know each other; the first one's only link is down."""
    target, box = shared().emptied(), sealing_box(tmp_path)
    async with AsyncExitStack() as stack:
        rigs: list[Rig] = []
        for name in ("a", "b"):
            store = PostgresStore(target, node=name, terms=TERMS)
            await store.open()
            stack.push_async_callback(store.close)
            rigs.append(Rig(store, tmp_path, box=box))  # type: ignore[arg-type]  # another engine, the same contract
        a, b = rigs
        a.link.state = LinkState.BACKOFF
        for rig in rigs:
            await stack.enter_async_context(at_work(rig, [rig.link]))
        await until(lambda: not a.pipeline.sharing.alone and not b.pipeline.sharing.alone, "they know each other")
        yield a, b


async def test_what_one_cannot_send(two: tuple[Rig, Rig]) -> None:
    """A message that comes to a node without a link is sent by the other, which hears of it."""
    a, b = two
    (accepted,) = await a.send()
    await until(lambda: b.link.held, "the other node sends it")
    assert not a.link.held
    row = await b.store.get_message("demo", accepted.id)
    assert row is not None
    assert row.state == State.SENDING


async def test_what_came_before_the_link_went(two: tuple[Rig, Rig]) -> None:
    """What a node has in memory when its links cannot be used any more is given back, and sent by the other."""
    a, b = two
    a.link.state = LinkState.BOUND
    await a.send(40)
    await until(lambda: len(a.link.held) == 20 and len(a.pipeline.lanes) == 20, "the link is full")
    a.link.state = LinkState.BACKOFF
    await until(lambda: _later(a) or len(b.link.held) == 20, "the other node sends the rest")


async def test_a_node_holds_what_its_links_can_take(two: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that gets all the traffic keeps some seconds of work for its links, by category; the other one's are not
    idle meanwhile. Both go on until everything is sent, and nothing is sent twice."""
    monkeypatch.setattr(handing, "_LEAST", 30)
    a, b = two
    for rig in two:
        rig.link.rate = 1.0
        rig.link.state = LinkState.BOUND
    await a.send(200)
    await until(lambda: len(b.link.held) == 20, "the other one's link is full")
    await until(lambda: _in_memory(a) <= 60 and _in_memory(b) <= 60, "neither has much more than enough")
    await a.send(category=Category.TRANSACTIONAL)
    assert len(a.pipeline.lanes[Category.TRANSACTIONAL]) == 1, "another category is kept"
    by_a, by_b = list[bytes](), list[bytes]()

    def all_sent() -> bool:
        for sent, rig in ((by_a, a), (by_b, b)):
            sent += [each.key.message.id for each in rig.link.held if isinstance(each.key, Attempt)]
            rig.link.finish(len(rig.link.held))
        return len(by_a) + len(by_b) >= 201

    await until(all_sent, "everything is sent")
    assert len({*by_a, *by_b}) == len(by_a) + len(by_b) == 201
    assert min(len(by_a), len(by_b)) > 50


def _in_memory(rig: Rig) -> int:
    return len(rig.pipeline.lanes) + len(rig.link.held)


def _later(rig: Rig) -> bool:
    rig.now += 100_000
    return False


async def test_a_hold_reaches_the_other_node(two: tuple[Rig, Rig]) -> None:
    """What is paused at one node waits at the other, and goes on there when it is resumed."""
    a, b = two
    queues = {name: Queues(rig.store, rig.pipeline) for name, rig in (("a", a), ("b", b))}
    for name, rig in (("a", a), ("b", b)):
        await queues[name].prepare()
        rig.pipeline.sharing.react(News.HOLDS, queues[name].refresh)
    hold = MessageHold(Selection(tenant="demo"), "", START, OPERATOR, "why")
    await queues["a"].pause(hold, ())
    await until(lambda: b.pipeline.holds.any, "the other node hears of it")
    await b.send()
    await until(lambda: _held(b.store), "it is put away")
    assert not b.link.held
    await queues["a"].resume(Selection(tenant="demo"), ())
    await until(lambda: b.link.held, "it goes on")


async def _sailing(rig: Rig) -> Ship:
    """Give a node a fleet of one carrier with two binds, as a whole node has it."""
    await rig.pipeline.withdraw([rig.link], 1.0)
    ship = Ship(rig, [profile("acme")])
    for news in (News.PEERS, News.BACK):
        rig.pipeline.sharing.react(news, ship.fleet.share)
    rig.pipeline.sharing.react(News.HOLDS, ship.fleet.refresh)
    rig.pipeline.serve(await ship.fleet.prepare())
    return ship


async def test_a_carrier_hold_reaches_the_other_node(two: tuple[Rig, Rig]) -> None:
    """A carrier that is paused at one node gets nothing from the other; one that is drained has a bind at none.
    Whichever node is told to resume, both go on, each with its share of the binds."""
    a, b = [await _sailing(rig) for rig in two]
    await until(lambda: len(a.serving) == len(b.serving) == 1, "each has its share")
    await a.fleet.pause(hold(), ())
    await until(lambda: _paused(b), "the other node hears of it")
    (accepted,) = await b.rig.send()
    await b.fleet.resume("acme", ())
    await until(lambda: any(link.held for link in (*a.made, *b.made)), "it goes on")
    assert not _paused(b)
    assert await b.rig.state(accepted.id) is State.SENDING
    await until(lambda: not _paused(a), "the first one hears of that")
    await b.fleet.drain(hold(drained=True), ())
    await until(lambda: not a.serving and not b.serving, "no node has a link")
    await a.fleet.resume("acme", ())
    await until(lambda: len(a.serving) == len(b.serving) == 1, "each has its share again")
    assert sorted(a.serving + b.serving) == ["acme/0", "acme/1"]


def _paused(ship: Ship) -> bool:
    (status,) = ship.fleet.status()
    return status.hold is not None


async def _held(store: Store) -> int:
    return (await store.counts()).get("queue.HELD_OTP", 0)


async def test_events_wake_the_other_nodes_watches(two: tuple[Rig, Rig]) -> None:
    """A commit by one node wakes a watch at the other, of that tenant."""
    a, b = two
    hub = EventHub()
    share_events(a.store, EventHub())
    share_events(b.store, hub)
    with hub.watch("demo") as watch:
        await until(lambda: _woken(a, watch), "the watch is woken")


async def _woken(a: Rig, watch: Any) -> bool:
    watch.arm()
    await a.send()
    return bool(await watch.wait(2.0))
