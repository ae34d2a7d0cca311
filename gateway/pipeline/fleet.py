"""The carriers of a node while it runs: which links each has, and what operators hold back.

What an operator wants is made durable first, with its record, and then done; after a restart it is done again. Changes
come one after the other, and go on to their end when whoever asked for them goes away. A link is ended in order:
it gets nothing more, what it has written is answered or put in doubt as at any lost connection, and it unbinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from carrier.contract import Link
from carrier.profile import CarrierProfile
from gateway.audit.records import Record
from gateway.errors import NotFound, WrongState
from gateway.pipeline.pipeline import LinkStatus, Pipeline
from gateway.store.operating import CarrierHold, OperatingStore

# From a profile to what makes its links by number: they share one pace.
LinkMaker = Callable[[CarrierProfile], Callable[[int], Link]]


class CarrierStatus(NamedTuple):
    """One carrier as an operator sees it."""

    profile: CarrierProfile
    hold: CarrierHold | None
    links: tuple[LinkStatus, ...]


@dataclass(slots=True, kw_only=True)
class _Carrier:
    profile: CarrierProfile
    make: Callable[[int], Link]
    links: list[Link]
    hold: CarrierHold | None = None

    def bind(self) -> None:
        """Have a link for each bind, unless it has them."""
        if not self.links:
            self.links = [self.make(index) for index in range(self.profile.binds)]


class Fleet:
    """The carriers. Belongs to one event loop."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        store: OperatingStore,
        maker: LinkMaker,
        profiles: Sequence[CarrierProfile],
        grace_s: float,
    ) -> None:
        """`grace_s`: how long the links that are ended may wait for answers."""
        self._pipeline = pipeline
        self._store = store
        self._maker = maker
        self._grace_s = grace_s
        self._carriers = {profile.name: self._built(profile) for profile in profiles}
        self._lock = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()

    def _built(self, profile: CarrierProfile) -> _Carrier:
        return _Carrier(profile=profile, make=self._maker(profile), links=[])

    async def prepare(self) -> list[Link]:
        """Take up what operators hold back; return the links to begin with. Raises what the store raises."""
        for hold in await self._store.carrier_holds():
            carrier = self._carriers.get(hold.carrier)
            self._pipeline.switches.close(hold.carrier)
            if carrier is not None:
                carrier.hold = hold
        for carrier in self._carriers.values():
            if carrier.hold is None or not carrier.hold.drained:
                carrier.bind()
        return self._links()

    async def finished(self) -> None:
        """Return when no change is under way."""
        await asyncio.gather(*self._changes, return_exceptions=True)

    def status(self) -> list[CarrierStatus]:
        """Return the carriers, in the order of the configuration."""
        links = {link.name: link for link in self._pipeline.status()}
        return [
            CarrierStatus(
                carrier.profile,
                carrier.hold,
                tuple(links[link.name] for link in carrier.links if link.name in links),
            )
            for carrier in self._carriers.values()
        ]

    async def pause(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        """Give a carrier nothing new; its links stay up. Raises NotFound, and what the store raises."""
        await self._change(self._pause(self._find(hold.carrier), hold, audit))

    async def drain(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        """Give a carrier nothing new, and end its links when they have their answers. Raises like `pause`."""
        await self._change(self._drain(self._find(hold.carrier), hold, audit))

    async def resume(self, name: str, audit: Sequence[Record]) -> None:
        """End a pause or a drain. Raises like `pause`."""
        await self._change(self._resume(self._find(name), name, audit))

    async def rebind(self, name: str, index: int | None, audit: Sequence[Record]) -> None:
        """End one link of a carrier, or one after the other, and bind anew. Raises like `pause`, and WrongState."""
        await self._change(self._rebind(self._find(name), index, audit))

    async def _pause(self, carrier: _Carrier, hold: CarrierHold, audit: Sequence[Record]) -> None:
        await self._store.hold_carrier(hold, audit)
        carrier.hold = hold
        self._pipeline.switches.close(hold.carrier)
        carrier.bind()  # it may have been drained
        self._pipeline.serve(self._links())

    async def _drain(self, carrier: _Carrier, hold: CarrierHold, audit: Sequence[Record]) -> None:
        await self._store.hold_carrier(hold, audit)
        carrier.hold = hold
        self._pipeline.switches.close(hold.carrier)
        await self._pipeline.withdraw(carrier.links, self._grace_s)
        carrier.links = []

    async def _resume(self, carrier: _Carrier, name: str, audit: Sequence[Record]) -> None:
        await self._store.free_carrier(name, audit)
        carrier.hold = None
        self._pipeline.switches.open(name)
        carrier.bind()
        self._pipeline.serve(self._links())

    async def _rebind(self, carrier: _Carrier, index: int | None, audit: Sequence[Record]) -> None:
        name, binds = carrier.profile.name, len(carrier.links)
        if not binds:
            raise WrongState(f"the carrier {name} is drained, and has no bind: resume it", reason="CARRIER_DRAINED")
        if index is not None and index >= binds:
            raise NotFound(f"the carrier {name} has {binds} binds, numbered from 0", reason="BIND_UNKNOWN")
        await self._store.audit(audit)
        for number in range(len(carrier.links)) if index is None else (index,):
            await self._pipeline.withdraw([carrier.links[number]], self._grace_s)
            carrier.links[number] = carrier.make(number)
            self._pipeline.serve(self._links())

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
