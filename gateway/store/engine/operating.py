"""The operators' part of an engine: the coroutines of `gateway.store.operating.OperatingStore`, and no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.audit.records import Record
from gateway.store.engine import holding, purging
from gateway.store.engine.calls import Calls
from gateway.store.engine.reading import read_backlog
from gateway.store.engine.writer import Kind
from gateway.store.operating import Backlog, CarrierHold, MessageHold, Place, Purge, Purged, Selection, Unparked

_HOLD_CARRIER = Kind(20, "hold_carrier", holding.hold_carriers)
_FREE_CARRIER = Kind(21, "free_carrier", holding.free_carriers)
_HOLD_MESSAGES = Kind(22, "hold_messages", holding.hold_messages)
_FREE_MESSAGES = Kind(23, "free_messages", holding.free_messages)
_PARK = Kind(24, "park", holding.park)
_UNPARK = Kind(25, "unpark", holding.unpark)
_PURGE_MESSAGES = Kind(26, "purge_messages", purging.purge_messages)


class OperatingCalls(Calls):
    """What operators hold, free and withdraw."""

    async def hold_carrier(self, hold: CarrierHold, audit: Sequence[Record] = ()) -> None:
        """Hold a carrier back; it replaces what was said of that carrier before."""
        await self._write(_HOLD_CARRIER, [hold], single=True, audit=audit)

    async def free_carrier(self, carrier: str, audit: Sequence[Record] = ()) -> bool:
        """Let a carrier go on; False when nothing held it."""
        freed: bool = await self._write(_FREE_CARRIER, [carrier], single=True, audit=audit)
        return freed

    async def carrier_holds(self) -> list[CarrierHold]:
        """Return all holds of carriers, by name."""
        holds: list[CarrierHold] = await self._read(holding.read_carrier_holds)
        return holds

    async def hold_messages(self, hold: MessageHold, audit: Sequence[Record] = ()) -> None:
        """Hold messages back; it replaces what was said of that selection before."""
        await self._write(_HOLD_MESSAGES, [hold], single=True, audit=audit)

    async def free_messages(self, selection: Selection, audit: Sequence[Record] = ()) -> bool:
        """Let messages go on; False when nothing held just this selection."""
        freed: bool = await self._write(_FREE_MESSAGES, [selection], single=True, audit=audit)
        return freed

    async def message_holds(self) -> list[MessageHold]:
        """Return all holds of messages, the oldest first."""
        holds: list[MessageHold] = await self._read(holding.read_message_holds)
        return holds

    async def backlog(self, limit: int) -> list[Backlog]:
        """Return who has most open messages in which queue, at most `limit`."""
        rows: list[Backlog] = await self._read(lambda look: read_backlog(look, limit))
        return rows

    async def park(self, batch: Sequence[tuple[str, bytes]]) -> int:
        """Move claimed messages (tenant, id) to the held queue of their category; returns how many were moved."""
        moved: list[int] = await self._write(_PARK, batch)
        return sum(moved)

    async def unpark(self, holds: Sequence[Selection], after: Place | None, limit: int) -> Unparked:
        """Move held messages that none of `holds` covers back into their waiting queue, of at most `limit` rows."""
        call = holding.Unpark(tuple(holds), after, limit)
        unparked: Unparked = await self._write(_UNPARK, [call], single=True)
        return unparked

    async def purge_messages(self, step: Purge, audit: Sequence[Record] = ()) -> Purged:
        """Cancel messages of a selection that have not left, of at most `step.limit` rows."""
        purged: Purged = await self._write(_PURGE_MESSAGES, [step], single=True, audit=audit)
        return purged

    async def count_purge(self, step: Purge) -> Purged:
        """Return what `purge_messages` would do, and change nothing."""
        purged: Purged = await self._read(lambda look: purging.count_purge(look, step))
        return purged
