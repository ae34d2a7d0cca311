"""The carriers of a running pipeline: held back, bound anew, replaced, one change after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from carrier.contract import Link
from carrier.ids import IdForms
from carrier.profile import CarrierProfile, Secret
from carrier.text.profile import TextProfile
from gateway.audit.records import OperatorActed, Record
from gateway.errors import NotFound, StoreUnavailable, WrongState
from gateway.pipeline.capture import Capture
from gateway.pipeline.fleet import Fleet
from gateway.store.nodes import News, Slots
from gateway.store.operating import CarrierHold
from tests.gateway.audit.agreement import records_of
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.rig import START, Rig, running

OPERATOR = "spiffe://example.org/admin/ann"
ACTED = OperatorActed(START, "node-1", OPERATOR, "carrier paused", "acme", "", 0, False, 0, "why")


def profile(name: str, **fields: object) -> CarrierProfile:
    """Return the profile of a carrier with two binds."""
    made = CarrierProfile(name=name, host="h", port=1, system_id="s", password=Secret(b""), binds=2)
    return replace(made, **fields)  # type: ignore[arg-type]  # names are checked there


def hold(name: str = "acme", *, drained: bool = False) -> CarrierHold:
    """Return a hold."""
    return CarrierHold(name, drained, START, OPERATOR, "why")


class Ship:
    """A fleet on a rig, and the links that it has had made."""

    def __init__(self, rig: Rig, profiles: Sequence[CarrierProfile]) -> None:
        self.rig = rig
        self.made: list[FakeLink] = []
        self.learnt: list[list[str]] = []
        self.fleet = Fleet(
            pipeline=rig.pipeline,
            store=rig.store,
            maker=self._maker,
            profiles=profiles,
            grace_s=1.0,
            learn=self._learn,
            tell=rig.pipeline.sharing.tell,
        )

    def _maker(self, made_for: CarrierProfile) -> Callable[[int], Link]:
        def make(index: int) -> Link:
            link = FakeLink(self.rig.pipeline, carrier=made_for.name, index=index)
            self.made.append(link)
            return link

        return make

    def _learn(self, profiles: Sequence[CarrierProfile]) -> None:
        self.learnt.append([each.name for each in profiles])

    @property
    def serving(self) -> list[str]:
        """The links that the pipeline serves, in order."""
        return [link.name for link in self.rig.pipeline.status()]


@asynccontextmanager
async def sailing(folder: Path, *names: str) -> AsyncIterator[Ship]:
    """A fleet whose links the pipeline serves."""
    async with running(folder) as rig:
        await rig.until(lambda: len(rig.pipeline.status()) == 1)
        await rig.pipeline.withdraw([rig.link], 1.0)  # the rig's own
        ship = Ship(rig, [profile(name) for name in names])
        rig.pipeline.serve(await ship.fleet.prepare())
        yield ship


async def test_only_the_changed_carrier_is_touched(tmp_path: Path) -> None:
    """Added, changed, removed and put into another order: links of the others are the same objects throughout."""
    async with sailing(tmp_path, "acme", "beta") as ship:
        first = list(ship.made)
        assert ship.serving == ["acme/0", "acme/1", "beta/0", "beta/1"]
        told = await ship.fleet.replace([profile("acme"), profile("beta"), profile("new")])
        assert (told, ship.serving[4:]) == (["carrier new: added"], ["new/0", "new/1"])
        told = await ship.fleet.replace([profile("acme", window=7), profile("beta"), profile("new")])
        assert told == ["carrier acme: changed, bound anew"]
        assert len(ship.made) == 8
        told = await ship.fleet.replace([profile("new"), profile("beta")])
        assert told == ["carriers: in another order", "carrier acme: removed"]
        assert ship.serving == ["new/0", "new/1", "beta/0", "beta/1"]
        told = await ship.fleet.replace([profile("beta"), profile("new")])
        assert (told, ship.serving[0]) == (["carriers: in another order"], "beta/0")
        assert len(ship.made) == 8
        assert all(link.state.value == "bound" for link in first if link.carrier == "beta")
        assert ship.learnt[-1] == ["beta", "new"]
        assert await ship.fleet.replace([profile("beta"), profile("new")]) == []


async def test_what_no_link_goes_by_is_taken_over_without_binding_anew(tmp_path: Path) -> None:
    """How texts and receipts are written changes with the links that there are; later ones share their pace."""
    async with sailing(tmp_path, "acme") as ship:
        changed = profile("acme", text=TextProfile(latin1=True), ids=IdForms(ignore_case=True))
        assert await ship.fleet.replace([changed]) == ["carrier acme: changed"]
        assert (len(ship.made), ship.learnt) == (2, [["acme"]])
        assert [status.profile for status in ship.fleet.status()] == [changed]
        assert all(link.state.value == "bound" for link in ship.made)
        told = await ship.fleet.replace([replace(changed, response_timeout_s=9.0)])
        assert (told, len(ship.made)) == (["carrier acme: changed, bound anew"], 4)


async def test_what_is_held_is_recorded_before_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold that cannot be stored is not in force; one that is, is on record with what came with it."""
    async with sailing(tmp_path, "acme") as ship:

        async def full(held: CarrierHold, audit: Sequence[Record] = ()) -> None:
            raise StoreUnavailable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(ship.rig.store, "hold_carrier", full)
            with pytest.raises(StoreUnavailable):
                await ship.fleet.drain(hold(drained=True), [ACTED])
        assert not ship.rig.pipeline.switches.closed
        assert ship.serving == ["acme/0", "acme/1"]
        await ship.fleet.pause(hold(), [ACTED])
        assert ship.rig.pipeline.switches.closed == {"acme"}
        assert (await records_of(ship.rig.store))[-1] == ACTED
        await ship.fleet.resume("acme", [])
        assert not ship.rig.pipeline.switches.closed


async def test_whoever_goes_away_stops_nothing(tmp_path: Path) -> None:
    """A drain whose caller is gone goes on to its end; the next change waits for it."""
    async with sailing(tmp_path, "acme") as ship:
        task = asyncio.create_task(ship.fleet.drain(hold(drained=True), []))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ship.fleet.pause(hold(), [])
        assert ship.serving == ["acme/0", "acme/1"]
        assert len(ship.made) == 4
        await ship.fleet.finished()


async def test_a_store_that_fails_in_a_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When binds could not be let go, that is tried again without another replacement, and the new is bound then."""
    async with sailing(tmp_path, "acme", "beta") as ship:
        ship.rig.pipeline.sharing.react(News.PEERS, ship.fleet.share)
        freed: list[tuple[str, tuple[int, ...], bool]] = []
        failures = iter(range(2))

        async def free(carrier: str, numbers: Sequence[int], *, leave: bool = False) -> None:
            if next(failures, None) is not None:
                raise StoreUnavailable("not now")
            freed.append((carrier, tuple(numbers), leave))

        monkeypatch.setattr(ship.rig.store, "free_slots", free)
        with pytest.raises(StoreUnavailable):
            await ship.fleet.replace([profile("beta", window=7), profile("new")])
        assert (ship.serving, freed) == ([], [])
        await ship.rig.until(lambda: len(ship.serving) == 4)
        assert ship.serving == ["beta/0", "beta/1", "new/0", "new/1"]
        assert freed == [("acme", (0, 1), True)]
        await ship.fleet.share()
        assert len(freed) == 1


async def test_a_carrier_that_is_back_keeps_its_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binds that could not be let go are not let go once their carrier is configured again."""
    async with sailing(tmp_path, "acme", "beta") as ship:
        names: list[str] = []

        async def free(carrier: str, numbers: Sequence[int], *, leave: bool = False) -> None:
            names.append(carrier)
            raise StoreUnavailable("not now")

        monkeypatch.setattr(ship.rig.store, "free_slots", free)
        with pytest.raises(StoreUnavailable):
            await ship.fleet.replace([profile("beta")])
        await ship.fleet.replace([profile("beta"), profile("acme")])
        assert (ship.serving, names) == (["beta/0", "beta/1", "acme/0", "acme/1"], ["acme"])


async def test_what_there_is_not(tmp_path: Path) -> None:
    """Unknown carriers and binds, and a drained carrier, are told, and nothing is changed or recorded."""
    async with sailing(tmp_path, "acme") as ship:
        before = await records_of(ship.rig.store)
        with pytest.raises(NotFound, match="known: acme"):
            await ship.fleet.pause(hold("nobody"), [ACTED])
        with pytest.raises(NotFound, match="2 binds, numbered from 0"):
            await ship.fleet.rebind("acme", 2, [ACTED])
        assert await records_of(ship.rig.store) == before
        await ship.fleet.drain(hold(drained=True), [])
        with pytest.raises(WrongState, match="drained"):
            await ship.fleet.rebind("acme", None, [ACTED])
        with pytest.raises(WrongState, match="drained"), ship.fleet.tapped("acme", None, Capture(10_000)):
            pass


async def test_taps_end_with_their_block(tmp_path: Path) -> None:
    """Every link of the carrier, or one of them, is copied, by one at a time, and by none afterwards."""
    async with sailing(tmp_path, "acme", "beta") as ship:
        with ship.fleet.tapped("acme", 1, Capture(10_000)):
            assert [link.name for link in ship.made if link.sink is not None] == ["acme/1"]
            with pytest.raises(WrongState, match="traced already"), ship.fleet.tapped("acme", 0, Capture(10_000)):
                pass
            with ship.fleet.tapped("beta", None, Capture(10_000)):
                assert sum(link.sink is not None for link in ship.made) == 3
        assert all(link.sink is None for link in ship.made)


async def test_a_share_of_the_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has the binds that are its share: it ends what is more, lets that go, and takes what comes to it. When its
    lease is over it ends all."""
    async with sailing(tmp_path, "acme") as there:
        fleet, store = there.fleet, there.rig.store
        freed: list[tuple[str, tuple[int, ...]]] = []
        shares = [Slots((1,), (0,)), Slots((0, 1), ())]

        async def claim(carrier: str, total: int) -> Slots:
            assert total == 2
            return shares[0] if carrier == "acme" else Slots((0, 1), ())

        async def free(carrier: str, numbers: Sequence[int], *, leave: bool = False) -> None:
            assert not leave
            freed.append((carrier, tuple(numbers)))

        monkeypatch.setattr(store, "claim_slots", claim)
        monkeypatch.setattr(store, "free_slots", free)
        await fleet.share()
        names = [link.name for link in there.rig.pipeline.status() if link.name.startswith("acme/")]
        assert names == ["acme/1"]
        assert freed == [("acme", (0,))]
        with pytest.raises(WrongState, match="other nodes have this bind") as elsewhere:
            await fleet.rebind("acme", 0, ())
        assert elsewhere.value.reason == "BIND_ELSEWHERE"
        shares.pop(0)
        await fleet.share()
        names = [link.name for link in there.rig.pipeline.status() if link.name.startswith("acme/")]
        assert names == ["acme/0", "acme/1"]
        await fleet.let_go()
        assert there.rig.pipeline.status() == ()
        await fleet.share()
        assert there.rig.pipeline.status() == (), "not before the lease holds"
        fleet.lease_holds()
        await fleet.share()
        assert len([link for link in there.rig.pipeline.status() if link.name.startswith("acme/")]) == 2


async def test_who_has_less_than_its_share_tells_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose share others still have tells them when that begins, not each time that it looks; who lets go tells
    each time."""
    async with sailing(tmp_path, "acme") as there:
        told: list[News] = []
        shares = [Slots((), (), short=True), Slots((0,), (), short=True), Slots((0,), (1,)), Slots((), (), short=True)]
        monkeypatch.setattr(there.fleet, "_tell", told.append)
        for share, count in zip(shares, (1, 1, 2, 3), strict=True):

            async def claim(carrier: str, total: int, share: Slots = share) -> Slots:
                return share

            monkeypatch.setattr(there.rig.store, "claim_slots", claim)
            await there.fleet.share()
            assert told == [News.PEERS] * count
