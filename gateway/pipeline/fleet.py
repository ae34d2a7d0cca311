"""The carriers of a node while it runs: which links each has, and what operators hold back.

What an operator wants is made durable first, with its record, and then done; after a restart it is done again. Changes
come one after the other, and go on to their end when whoever asked for them goes away. A link is ended in order:
it gets nothing more, what it has written is answered or put in doubt as at any lost connection, and it unbinds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from carrier.contract import Link, LinkStats
from carrier.profile import CarrierProfile
from gateway.audit.records import Record
from gateway.errors import GatewayError, NotFound, WrongState
from gateway.pipeline.capture import Capture
from gateway.pipeline.pipeline import LinkStatus, Pipeline
from gateway.store.nodes import News, SlotStore
from gateway.store.operating import CarrierHold, OperatingStore

log = logging.getLogger(__name__)

# From a profile to what makes its links by number: they share one pace.
LinkMaker = Callable[[CarrierProfile], Callable[[int], Link]]


class CarrierStatus(NamedTuple):
    """One carrier as an operator sees it."""

    profile: CarrierProfile
    hold: CarrierHold | None
    links: tuple[tuple[LinkStatus, LinkStats], ...]
    breaker: str
    waiting: int  # messages in memory whose way leads here at present
    oldest_due_at: int | None  # of these


_LET_GO_S = 1.0  # for answers to what was written before the lease ran out


@dataclass(slots=True, kw_only=True)
class _Carrier:
    profile: CarrierProfile
    make: Callable[[int], Link]
    by_number: dict[int, Link]  # of the binds that are this node's
    hold: CarrierHold | None = None
    short: bool = False  # of binds that others are to let go: they have been told

    @property
    def links(self) -> list[Link]:
        """The links, in the order of their numbers."""
        return [self.by_number[number] for number in sorted(self.by_number)]

    @property
    def drained(self) -> bool:
        """Whether an operator wants no link."""
        return self.hold is not None and self.hold.drained


class FleetStore(OperatingStore, SlotStore, Protocol):
    """The part of the store that is needed here."""


def _no_pace(carrier: str, part: float) -> None:
    del carrier, part


class Fleet:
    """The carriers. Belongs to one event loop."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        store: FleetStore,
        maker: LinkMaker,
        profiles: Sequence[CarrierProfile],
        grace_s: float,
        learn: Callable[[Sequence[CarrierProfile]], object] = list,
        tell: Callable[[News], object] = lambda _: None,
        pace: Callable[[str, float], object] = _no_pace,
    ) -> None:
        """`grace_s`: how long the links that are ended may wait for answers. `learn` is told of the profiles that
        `replace` brings, before any link goes by them; `tell` tells the other nodes what an operator has changed.
        `pace` is told which part of a carrier's rate is this node's: that of its binds."""
        self._pipeline = pipeline
        self._store = store
        self.make = maker
        self._learn = learn
        self._tell = tell
        self._pace = pace
        self._grace_s = grace_s
        self._carriers = {profile.name: self._built(profile) for profile in profiles}
        self._left: dict[str, list[int]] = {}  # binds of carriers that are gone, to be let go
        self._tapped: set[str] = set()
        self._lease_over = False
        self._term = 0  # of leases: how many have been over
        self._lock = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()

    def _built(self, profile: CarrierProfile) -> _Carrier:
        return _Carrier(profile=profile, make=self.make(profile), by_number={})

    async def prepare(self) -> list[Link]:
        """Take up what operators hold back; return the links to begin with. Raises what the store raises."""
        for hold in await self._store.carrier_holds():
            carrier = self._carriers.get(hold.carrier)
            self._pipeline.switches.close(hold.carrier)
            if carrier is not None:
                carrier.hold = hold
        for carrier in self._carriers.values():
            await self._bind(carrier)
        return self._links()

    async def share(self) -> None:
        """Take this node's share of the binds, and let go of what is more than that. Raises what the store raises."""
        await self._change(self._share())

    async def let_go(self) -> None:
        """End all links: the lease is over, so their binds may be others' by now. `share` brings back what is not,
        after `lease_holds`. Waits for no other change: each may be waiting for a database that is away. What they
        claimed before does not count any more."""
        self._lease_over = True
        self._term += 1
        for carrier in self._carriers.values():
            carrier.by_number.clear()
        await self._pipeline.withdraw_all(_LET_GO_S)

    def lease_holds(self) -> None:
        """Links may be made again, of binds that are claimed from now on."""
        self._lease_over = False

    async def _share(self) -> None:
        before = self._links()
        try:
            await self._settle()
        finally:  # those that were made before the store failed are this node's, too
            if self._links() != before:
                self._serve()

    async def _settle(self) -> None:
        """Let go of the binds of carriers that are gone, and have those of the others."""
        for name, numbers in list(self._left.items()):
            await self._store.free_slots(name, numbers, leave=True)
            del self._left[name]
        for carrier in self._carriers.values():
            await self._bind(carrier)

    def _serve(self) -> None:
        if not self._lease_over:
            self._pipeline.serve(self._links())

    async def _bind(self, carrier: _Carrier) -> None:
        """Have a link for each bind of a carrier that is this node's share, none of one that is drained."""
        name, total, term = carrier.profile.name, carrier.profile.binds, self._term
        if carrier.drained or self._lease_over:
            return
        slots = await self._store.claim_slots(name, total)
        if self._term != term:
            return
        lost = [number for number in carrier.by_number if number not in slots.held]
        await self._end(carrier, lost)
        if slots.surplus:
            await self._store.free_slots(name, slots.surplus)
        if slots.surplus or slots.short > carrier.short:
            self._tell(News.PEERS)
        if self._term != term:
            return
        carrier.short = slots.short
        for number in slots.held:
            if number not in carrier.by_number:
                carrier.by_number[number] = carrier.make(number)
        self._pace(name, len(slots.held) / total)

    async def _end(self, carrier: _Carrier, numbers: Sequence[int]) -> None:
        """End links in order, and forget them."""
        ended = [carrier.by_number[number] for number in numbers]
        if ended:
            await self._pipeline.withdraw(ended, self._grace_s)
        for number in numbers:
            carrier.by_number.pop(number, None)  # they may have been let go meanwhile

    async def finished(self) -> None:
        """Return when no change is under way."""
        await asyncio.gather(*self._changes, return_exceptions=True)

    def status(self) -> list[CarrierStatus]:
        """Return the carriers, in the order of the configuration."""
        links, waiting = {link.name: link for link in self._pipeline.status()}, self._pipeline.waiting()
        return [
            CarrierStatus(
                carrier.profile,
                carrier.hold,
                tuple((links[link.name], link.stats()) for link in carrier.links if link.name in links),
                self._pipeline.router.breakers.state(name).value,
                *waiting.get(name, (0, None)),
            )
            for name, carrier in self._carriers.items()
        ]

    @contextlib.contextmanager
    def tapped(self, name: str, index: int | None, capture: Capture) -> Iterator[None]:
        """Copy the PDUs of a carrier, or of one of its links, into `capture` for as long as this lasts.

        A link that is made meanwhile is not among them. Raises NotFound, and WrongState when somebody does so already.
        """
        carrier = self._find(name)
        if name in self._tapped:
            raise WrongState(f"the carrier {name} is being traced already: wait, or end that", reason="TRACE_RUNNING")
        links = _chosen(carrier, index)
        self._tapped.add(name)
        try:
            for number, link in enumerate(links):
                link.tap(capture.sink(number))
            yield
        finally:
            self._tapped.discard(name)
            for link in links:
                link.tap(None)

    async def pause(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        """Give a carrier nothing new; its links stay up. Raises NotFound, and what the store raises."""
        await self._change(self._pause(hold, audit))

    async def drain(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        """Give a carrier nothing new, and end its links when they have their answers. Raises like `pause`."""
        await self._change(self._pause(hold, audit))

    async def resume(self, name: str, audit: Sequence[Record]) -> None:
        """End a pause or a drain. Raises like `pause`."""
        await self._change(self._resume(name, audit))

    async def refresh(self) -> None:
        """Do what operators have wanted at another node. Raises what the store raises."""
        await self._change(self._refresh())

    async def rebind(self, name: str, index: int | None, audit: Sequence[Record]) -> None:
        """End one link of a carrier, or one after the other, and bind anew. Raises like `pause`, and WrongState."""
        await self._change(self._rebind(name, index, audit))

    async def replace(self, profiles: Sequence[CarrierProfile]) -> list[str]:
        """Have these carriers from now on, in this order; says what was done. Links of carriers that are not changed
        in what a link goes by stay as they are; those of the others end in order. Raises what the store raises."""
        told: list[str] = []
        await self._change(self._replace(profiles, told))
        return told

    async def _replace(self, profiles: Sequence[CarrierProfile], told: list[str]) -> None:
        holds = {hold.carrier: hold for hold in await self._store.carrier_holds()}
        self._learn(profiles)
        before, self._carriers = self._carriers, {}
        stay = [profile.name for profile in profiles if profile.name in before]
        if stay != [name for name in before if name in stay]:
            told.append("carriers: in another order")
        ended: list[Link] = []
        for profile in profiles:
            known = before.get(profile.name)
            if known is not None and known.profile != profile and known.profile.binds_like(profile):
                told.append(f"carrier {profile.name}: changed")
                known.profile = profile  # what makes its links stays: they share one pace
            if known is None or known.profile != profile:
                told.append(f"carrier {profile.name}: {'added' if known is None else 'changed, bound anew'}")
                ended += [] if known is None else known.links
                known = self._built(profile)
                known.hold = holds.get(profile.name)
            self._carriers[profile.name] = known
        gone = before.keys() - self._carriers.keys()
        for name in gone:
            told.append(f"carrier {name}: removed")
            ended += before[name].links
        await self._pipeline.withdraw(ended, self._grace_s)
        self._left |= {name: list(before[name].by_number) for name in gone}
        for name in self._carriers:
            self._left.pop(name, None)  # it is there again before its binds were let go
        try:
            await self._settle()
        except GatewayError as error:
            log.warning("binds_not_settled", extra={"why": str(error)})
            self._pipeline.sharing.hear(News.PEERS)  # `share` is tried until the store can
            raise
        finally:
            self._serve()

    async def _pause(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        carrier = self._find(hold.carrier)
        await self._store.hold_carrier(hold, audit)
        self._tell(News.HOLDS)
        await self._hold(carrier, hold)

    async def _resume(self, name: str, audit: Sequence[Record]) -> None:
        carrier = self._find(name)
        await self._store.free_carrier(name, audit)
        self._tell(News.HOLDS)
        await self._hold(carrier, None)

    async def _refresh(self) -> None:
        holds = {hold.carrier: hold for hold in await self._store.carrier_holds()}
        for carrier in self._carriers.values():
            hold = holds.get(carrier.profile.name)
            if hold != carrier.hold:
                await self._hold(carrier, hold)

    async def _hold(self, carrier: _Carrier, hold: CarrierHold | None) -> None:
        """Do what the hold of a carrier says, or its end."""
        name, carrier.hold = carrier.profile.name, hold
        if hold is None:
            self._pipeline.switches.open(name)
        else:
            self._pipeline.switches.close(name)
        if carrier.drained:
            numbers = list(carrier.by_number)
            await self._end(carrier, numbers)
            await self._store.free_slots(name, numbers, leave=True)
        else:
            await self._bind(carrier)  # it may have been drained
            self._serve()

    async def _rebind(self, name: str, index: int | None, audit: Sequence[Record]) -> None:
        carrier = self._find(name)
        _chosen(carrier, index)
        await self._store.audit(audit)
        for number in sorted(carrier.by_number) if index is None else (index,):
            link = carrier.by_number.get(number)
            if link is not None:
                await self._pipeline.withdraw([link], self._grace_s)
            if number in carrier.by_number:  # else it was let go, and is bound anew with the next lease
                carrier.by_number[number] = carrier.make(number)
                self._serve()

    def _links(self) -> list[Link]:
        return [link for carrier in self._carriers.values() for link in carrier.links]

    def _find(self, name: str) -> _Carrier:
        carrier = self._carriers.get(name)
        if carrier is None:
            known = ", ".join(self._carriers) or "none"
            raise NotFound(f"there is no such carrier in the configuration; known: {known}", reason="CARRIER_UNKNOWN")
        return carrier

    async def _change(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` after what is under way, to its end, whoever goes away meanwhile."""

        async def alone() -> None:
            async with self._lock:
                await work

        task = asyncio.get_running_loop().create_task(alone())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)


def _chosen(carrier: _Carrier, index: int | None) -> list[Link]:
    """Return all links of a carrier, or the one of that number. Raises WrongState for a drained one, NotFound."""
    name, binds = carrier.profile.name, carrier.profile.binds
    if carrier.drained:
        raise WrongState(f"the carrier {name} is drained, and has no bind: resume it", reason="CARRIER_DRAINED")
    if index is not None and index >= binds:
        raise NotFound(f"the carrier {name} has {binds} binds, numbered from 0", reason="BIND_UNKNOWN")
    if not carrier.by_number or (index is not None and index not in carrier.by_number):
        raise WrongState(f"other nodes have this bind of the carrier {name}: ask there", reason="BIND_ELSEWHERE")
    return carrier.links if index is None else [carrier.by_number[index]]
