"""The operators' part of `SqliteStore`: the coroutines of `gateway.store.operating.OperatingStore`, and no SQL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from gateway.audit.records import Record
from gateway.store.operating import CarrierHold
from gateway.store.sqlite import holding
from gateway.store.sqlite.writer import Kind

_HOLD_CARRIER = Kind(20, "hold_carrier", holding.hold_carriers)
_FREE_CARRIER = Kind(21, "free_carrier", holding.free_carriers)


class OperatingCalls:
    """Mixed into the engine, which says how its threads are reached."""

    @abstractmethod
    async def _write(
        self,
        kind: Kind,
        batch: Sequence[Any],
        *,
        single: bool = False,
        new: bool = False,
        audit: Sequence[Record] = (),
    ) -> Any:
        """Hand a batch to the writer and wait for its commit."""

    @abstractmethod
    async def _read(self, query: Any) -> Any:
        """Look something up in the reader's thread."""

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
