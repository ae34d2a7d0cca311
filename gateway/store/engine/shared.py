"""The coroutines of the contract for nodes that share a database (`gateway.store.nodes.SharedStore`), and no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.states import Category
from gateway.store.engine.binds import ClaimSlots, FreeSlots, claim_slots, free_slots
from gateway.store.engine.calls import Calls
from gateway.store.engine.claiming import release
from gateway.store.engine.closing import Recover, recover
from gateway.store.engine.receiving import Rejoin, rejoin
from gateway.store.engine.writer import Kind
from gateway.store.nodes import Alone, Membership, Recovered, Released, Slots

_TAKE_OVER = Kind(0, "take_over", recover)
_REJOIN = Kind(6, "rejoin", rejoin)
_RELEASE = Kind(27, "release", release)
_CLAIM_SLOTS = Kind(28, "claim_slots", claim_slots)
_FREE_SLOTS = Kind(29, "free_slots", free_slots)


class SharedCalls(Calls):
    """What nodes leave to each other."""

    membership: Membership = Alone()

    async def take_over(self, now: int, resend: frozenset[Category]) -> Recovered:
        """Move on what nodes that are gone had in their hands."""
        found: Recovered = await self._write(_TAKE_OVER, [Recover(now, resend, elsewhere=True)], single=True)
        return found

    async def rejoin(self, since: int, limit: int) -> int:
        """Match receipts that were kept while another node learned their carrier id; returns how many were there."""
        found: int = await self._write(_REJOIN, [Rejoin(since, limit)], single=True)
        return found

    async def release(self, batch: Sequence[Released]) -> int:
        """Give claimed messages back to their waiting queue; returns how many."""
        moved: list[int] = await self._write(_RELEASE, batch)
        return sum(moved)

    async def claim_slots(self, carrier: str, total: int) -> Slots:
        """Take what is free of this node's share of a carrier's binds."""
        call = ClaimSlots(carrier, total, self.membership.number)
        slots: Slots = await self._write(_CLAIM_SLOTS, [call], single=True)
        return slots

    async def free_slots(self, carrier: str, numbers: Sequence[int], *, leave: bool = False) -> None:
        """Let binds go."""
        await self._write(_FREE_SLOTS, [FreeSlots(carrier, tuple(numbers), leave)], single=True)
