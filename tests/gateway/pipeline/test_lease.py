"""When the lease is over all links end, whatever else waits for the database, and come back with a new claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from carrier.contract import LinkState
from gateway.errors import StoreUnavailable
from gateway.pipeline import lease
from gateway.pipeline.lease import LeaseWatch
from gateway.pipeline.sharing import Sharing
from gateway.store.nodes import Alone, News, Slots
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.test_fleet import Ship, hold, profile, sailing


class Membership(Alone):
    """A node that sees no other, whose lease the test lets run out."""

    holds = True

    def may_write(self) -> bool:
        """As the test says."""
        return self.holds


class Away:
    """`claim_slots` of a store whose commits are in doubt until the test says otherwise."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answers: asyncio.Future[Slots] = asyncio.get_running_loop().create_future()
        self.calls = 0

    async def claim(self, carrier: str, total: int) -> Slots:
        """Answer when the database does."""
        del carrier, total
        self.calls += 1
        self.asked.set()
        return await self.answers

    def come_back(self, slots: Slots) -> None:
        """Answer what is asked and what will be."""
        self.answers.set_result(slots)


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def let_go(self) -> None:
        """Note it."""
        self.told.append("let go")

    def lease_holds(self) -> None:
        """Note it."""
        self.told.append("holds")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have leases looked at often, and be over soon."""
    monkeypatch.setattr(lease, "_EVERY_S", 0.01)
    monkeypatch.setattr(lease, "_OVER_S", 0.05)


def ended(ship: Ship) -> bool:
    """Say whether every link that was made has been stopped, and none is served."""
    return not ship.serving and all(link.state is LinkState.BACKOFF for link in ship.made)


async def test_links_end_while_all_else_waits_for_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """A claim of binds and a hand-over that are never answered hold up the queue of news, the fleet and the handing:
    the links of a node end all the same, though it sees no other. With the database they are bound anew, once."""
    async with sailing(tmp_path, "acme") as ship:
        sharing, store, away, member = ship.rig.pipeline.sharing, ship.rig.store, Away(), Membership()
        for news in (News.PEERS, News.BACK):
            sharing.react(news, ship.fleet.share)
        ship.rig.pipeline.lease.attach(ship.fleet)
        monkeypatch.setattr(store, "claim_slots", away.claim)
        monkeypatch.setattr(ship.rig.pipeline.handing, "_notice_carriers", asyncio.Event().wait)
        monkeypatch.setattr(store, "membership", member)
        sharing.hear(News.PEERS)
        await away.asked.wait()
        operator = asyncio.create_task(ship.fleet.pause(hold(), ()))
        assert ship.serving == ["acme/0", "acme/1"]
        member.holds = False
        await ship.rig.until(lambda: ended(ship))
        assert not operator.done()
        away.come_back(Slots((0, 1), ()))
        await operator
        assert (len(ship.made), away.calls) == (2, 1), "what was claimed under that lease counts no more"
        member.holds = True
        await ship.rig.until(lambda: len(ship.serving) == 2)
        assert (ship.serving, len(ship.made), away.calls) == (["acme/0", "acme/1"], 4, 2)


async def test_what_was_claimed_before_makes_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that is answered after the lease was over and is held again makes no link, and lets no bind go whose link
    may still be ending; the next one does."""
    async with sailing(tmp_path, "acme") as ship:
        away, freed = Away(), list[Sequence[int]]()

        async def free(carrier: str, numbers: Sequence[int]) -> None:
            del carrier
            freed.append(numbers)

        monkeypatch.setattr(ship.rig.store, "free_slots", free)
        monkeypatch.setattr(ship.rig.store, "claim_slots", away.claim)
        sharing = asyncio.create_task(ship.fleet.share())
        await away.asked.wait()
        await ship.fleet.let_go()
        ship.fleet.lease_holds()
        away.come_back(Slots((0,), (1,)))
        await sharing
        assert ended(ship)
        assert (len(ship.made), freed) == (2, [])
        await ship.fleet.share()
        assert (ship.serving, len(ship.made), freed) == (["acme/0"], 3, [(1,)])


async def test_what_was_shared_before_makes_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that is under way when the lease is over, and goes on when another one holds, makes no link of the binds
    that were this node's then; the next one makes those that are its own now."""
    async with sailing(tmp_path, "acme") as ship:
        freeing, freed = asyncio.Event(), asyncio.Event()
        shares = [Slots((0, 1), ()), Slots((1,), (0,))]

        async def claim(carrier: str, total: int) -> Slots:
            del carrier, total
            return shares.pop()

        async def free(carrier: str, numbers: Sequence[int]) -> None:
            del carrier, numbers
            freeing.set()
            await freed.wait()

        monkeypatch.setattr(ship.rig.store, "free_slots", free)
        monkeypatch.setattr(ship.rig.store, "claim_slots", claim)
        sharing = asyncio.create_task(ship.fleet.share())
        await freeing.wait()
        await ship.fleet.let_go()
        ship.fleet.lease_holds()
        freed.set()
        await sharing
        assert (ship.serving, len(ship.made)) == ([], 2)
        await ship.fleet.share()
        assert (ship.serving, len(ship.made)) == (["acme/0", "acme/1"], 4)


async def test_binds_of_a_share_that_failed_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away between the claims of two carriers: the links of the first are served all the same, and
    can be ended."""
    async with sailing(tmp_path, "acme", "beta") as ship:
        await ship.fleet.let_go()
        ship.fleet.lease_holds()

        async def claim(carrier: str, total: int) -> Slots:
            if carrier == "beta":
                raise StoreUnavailable("the database is away")
            return Slots(tuple(range(total)), ())

        with monkeypatch.context() as patch:
            patch.setattr(ship.rig.store, "claim_slots", claim)
            with pytest.raises(StoreUnavailable):
                await ship.fleet.share()
            assert ship.serving == ["acme/0", "acme/1"]
            with pytest.raises(StoreUnavailable):
                await ship.fleet.replace([profile("acme"), profile("new"), profile("beta")])
            assert ship.serving == ["acme/0", "acme/1", "new/0", "new/1"]
        await ship.fleet.share()
        assert ship.serving == [f"{name}/{number}" for name in ("acme", "new", "beta") for number in (0, 1)]
        await ship.fleet.let_go()
        assert ended(ship)


async def test_a_node_that_was_fenced_begins_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """A node that finds itself fenced may have its next lease at once, so that it was never seen without one: the links
    of the one before end all the same, before any is made by the new one."""
    async with sailing(tmp_path, "acme") as ship:
        sharing, found = ship.rig.pipeline.sharing, list[bool]()

        async def claim(carrier: str, total: int) -> Slots:
            del carrier
            found.append(ended(ship))
            return Slots(tuple(range(total)), ())

        monkeypatch.setattr(ship.rig.store, "claim_slots", claim)
        sharing.react(News.BACK, ship.fleet.share)
        ship.rig.pipeline.lease.attach(ship.fleet)
        sharing.hear(News.LOST)
        sharing.hear(News.BACK)
        await ship.rig.until(lambda: len(ship.made) == 4 and len(ship.serving) == 2)
        assert found == [True]
        assert [link.state for link in ship.made] == [LinkState.BACKOFF] * 2 + [LinkState.BOUND] * 2


async def test_a_node_with_a_database_of_its_own_has_no_lease(tmp_path: Path, quick: None) -> None:
    """Its links are never ended, however often it is looked."""
    async with sailing(tmp_path, "acme") as ship:
        assert isinstance(ship.rig.store.membership, Alone)
        watch, owner = LeaseWatch(ship.rig.pipeline.sharing, clock=iter(range(0, 100_000, 1000)).__next__), Owner()
        watch.attach(owner)
        for _ in range(50):
            await watch.look()
        assert (owner.told, ship.serving) == ([], ["acme/0", "acme/1"])


class Slow:
    """Links that run until they are cut off, and stop when their carrier has answered."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stopping, self.answered = asyncio.Event(), asyncio.Event()
        self.cut: list[str] = []

        async def run(link: FakeLink) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.cut.append(link.name)

        async def stop(link: FakeLink, grace_s: float) -> None:
            del grace_s
            self.stopping.set()
            await self.answered.wait()
            link.lose()

        patch.setattr(FakeLink, "run", run)
        patch.setattr(FakeLink, "stop", stop)


@asynccontextmanager
async def slow(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Ship, Slow]]:
    """A fleet with slow links."""
    async with sailing(folder) as ship:
        links = Slow(patch)
        await ship.fleet.replace([profile("acme")])
        assert ship.serving == ["acme/0", "acme/1"]
        try:
            yield ship, links
        finally:
            links.answered.set()


@pytest.mark.parametrize("wanted", ["rebind", "drain"])
async def test_links_that_are_ending_end_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """Links whose answers an operator's wish waits for are cut off, too, and are not made again by that."""
    monkeypatch.setattr("gateway.pipeline.pipeline._CUT_S", 0.05)
    monkeypatch.setattr("gateway.pipeline.fleet._LET_GO_S", 0.05)
    async with slow(tmp_path, monkeypatch) as (ship, links):
        fleet = ship.fleet
        wish = fleet.rebind("acme", None, ()) if wanted == "rebind" else fleet.drain(hold(drained=True), ())
        operator = asyncio.create_task(wish)
        await links.stopping.wait()
        async with asyncio.timeout(10):
            await fleet.let_go()
        assert (ship.serving, sorted(links.cut)) == ([], ["acme/0", "acme/1"])
        links.answered.set()
        await operator
        assert (ship.serving, len(ship.made)) == ([], 2)


async def test_links_are_shown_until_they_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator wants meanwhile neither hides a link that is still ending nor makes another."""
    async with slow(tmp_path, monkeypatch) as (ship, links):
        ending = asyncio.create_task(ship.fleet.let_go())
        await links.stopping.wait()
        await ship.fleet.resume("acme", ())
        assert (ship.serving, len(ship.made)) == (["acme/0", "acme/1"], 2)
        links.answered.set()
        await ending
        assert (ship.serving, len(ship.made)) == ([], 2)


async def test_a_lease_that_is_over() -> None:
    """Links end, once, when the node has not been allowed to write for a moment, whether it sees others or not; they
    may be made again before that is news."""
    member, owner, now = Membership(), Owner(), [100.0]
    sharing = _Sharing(member, owner.told)
    watch = LeaseWatch(sharing, clock=lambda: now[0])
    watch.attach(owner)

    async def look(holds: bool, at: float) -> Sequence[str]:
        member.holds, now[0] = holds, at
        await watch.look()
        return owner.told

    assert await look(False, 100.0) == []
    assert await look(False, 100.9) == []
    assert await look(True, 100.95) == []
    assert await look(False, 101.5) == []
    assert await look(False, 102.5) == ["let go"]
    assert await look(False, 200.0) == ["let go"]
    assert await look(True, 200.2) == ["let go", "holds", "BACK"]
    assert await look(True, 201.0) == ["let go", "holds", "BACK"]
    owner.told.clear()
    sharing.lose()
    assert await look(True, 201.1) == ["let go"]
    sharing.lose()
    assert await look(False, 201.2) == ["let go"]
    assert await look(True, 201.3) == ["let go", "holds", "BACK"]
    assert await look(False, 202.0) == ["let go", "holds", "BACK"]


class _Sharing(Sharing):
    """Notes what it hears."""

    lose: Callable[[], None]

    def __init__(self, member: Membership, told: list[str]) -> None:
        self._member, self._told = member, told

    def may_write(self) -> bool:
        """As the membership says."""
        return self._member.may_write()

    def react_at_once(self, news: News, reaction: Callable[[], None]) -> None:
        """Keep it: the test calls it."""
        assert news is News.LOST
        self.lose = reaction

    def hear(self, news: News) -> None:
        """Note it."""
        self._told.append(news.name)
