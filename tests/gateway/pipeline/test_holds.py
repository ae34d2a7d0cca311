"""Messages that operators hold back: they are put away when their turn comes, and come back when nothing holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.ids import made_at
from gateway.pipeline.holds import Holds
from gateway.records import IndexKeys
from gateway.states import Category, State
from gateway.store.operating import Selection
from tests.gateway.pipeline.rig import CALLER, Rig, running


async def held(rig: Rig) -> int:
    """Return how many messages are put away."""
    counts = await rig.store.counts()
    return sum(count for name, count in counts.items() if name.startswith("queue.HELD_"))


async def until_held(rig: Rig, number: int) -> None:
    """Wait until so many are put away; at most 10 s."""
    import asyncio

    async with asyncio.timeout(10):
        while await held(rig) != number:
            await asyncio.sleep(0.005)


async def test_held_and_let_go(tmp_path: Path) -> None:
    """Held messages do not reach the link, and do not stand in the way of others; let go, they are sent."""
    async with running(tmp_path) as rig:
        rig.pipeline.hold([Selection(category=int(Category.TRANSACTIONAL))])
        waits = await rig.send(30, Category.TRANSACTIONAL)
        (goes,) = await rig.send(1, Category.PROMOTIONAL)
        await rig.reach(goes.id, State.SENDING)
        await until_held(rig, 30)
        assert len(rig.link.held) == 1
        assert {await rig.state(each.id) for each in waits} == {State.ACCEPTED}
        rig.link.finish(1)
        rig.pipeline.hold([])
        await rig.until(lambda: len(rig.link.held) == 16)  # of 20 slots a fifth is kept for OTP
        await until_held(rig, 0)


async def test_what_waited_before_the_hold(tmp_path: Path) -> None:
    """A hold meets what is in memory already, and what waits in the store."""
    async with running(tmp_path, memory=10) as rig:
        rig.switches.close("acme")
        await rig.send(25)
        rig.pipeline.hold([Selection(tenant="demo")])
        rig.switches.open("acme")
        rig.pipeline.offered()
        await until_held(rig, 25)
        assert not rig.link.held


async def test_a_hold_on_one_recipient(tmp_path: Path) -> None:
    """A recipient is held by its hash, under the key that is in use or an older one."""
    keys = IndexKeys(b"n" * 32, [bytes(32)])
    async with running(tmp_path, keys=keys) as rig:
        rig.pipeline.hold([Selection(recipient_hashes=keys.recipient_hashes("+4915112345678"))])
        await rig.send(3)
        await until_held(rig, 3)
        rig.pipeline.hold([Selection(recipient_hashes=keys.recipient_hashes("+4915100000000"))])
        await rig.until(lambda: len(rig.link.held) == 3)


async def test_a_hold_on_what_an_owner_had_sent(tmp_path: Path) -> None:
    """It meets what waits of the owner, and not what the same owner sends after the moment that it reaches to."""
    async with running(tmp_path) as rig:
        (first,) = await rig.send(1)
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        until = made_at(first.id)
        rig.pipeline.hold([Selection(owner=CALLER.spiffe_id, accepted_until=until + 3_600_000_000)])
        await rig.send(3)
        await until_held(rig, 3)
        rig.pipeline.hold(
            [Selection(owner=CALLER.spiffe_id, accepted_until=until), Selection(owner="spiffe://a/other")]
        )
        await rig.until(lambda: len(rig.link.held) == 3)


async def test_a_start_brings_back_what_nothing_holds(tmp_path: Path) -> None:
    """What was put away when the hold ended without its messages (a crash between the two) comes back by a start."""
    async with running(tmp_path) as rig:
        rig.pipeline.hold([Selection(tenant="demo")])
        await rig.send(5)
        await until_held(rig, 5)
    async with running(tmp_path) as rig:
        await rig.until(lambda: len(rig.link.held) == 5)


async def test_a_store_that_fails_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost and nothing is sent while messages cannot be put away."""
    async with running(tmp_path) as rig:
        park, failures = rig.store.park, [StoreUnavailable("the disk is full")]

        async def failing(batch: Sequence[tuple[str, bytes]]) -> int:
            if failures:
                raise failures.pop()
            return await park(batch)

        monkeypatch.setattr(rig.store, "park", failing)
        rig.pipeline.hold([Selection(tenant="demo")])
        await rig.send(5)
        await until_held(rig, 5)
        assert not failures
        assert not rig.link.held


def test_nothing_is_held() -> None:
    """Without a selection nobody is asked."""
    holds = Holds()
    seen = [holds.any]
    for selections in ([Selection(tenant="demo")], []):
        holds.use(selections)
        seen.append(holds.any)
    assert seen == [False, True, False]
