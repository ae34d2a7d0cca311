"""The part of the store's contract that serves operators: what is held back, and why.

A hold outlives the process: what an operator has stopped stays stopped until an operator lets it go on. See
`gateway.store.contract` for what holds of every call: one transaction, on disk when it returns, recorded with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.audit.records import Record

MAX_HOLDS = 1_000


class CarrierHold(NamedTuple):
    """A carrier that gets nothing. `drained`: its links are ended too."""

    carrier: str
    drained: bool
    at: int
    by: str  # SPIFFE ID
    reason: str  # in the operator's words


class OperatingStore(Protocol):
    """What `Store` does for operators."""

    async def hold_carrier(self, hold: CarrierHold, audit: Sequence[Record] = ()) -> None:
        """Hold a carrier back; it replaces what was said of that carrier before. Raises Overloaded
        (TOO_MANY_HOLDS) beyond `MAX_HOLDS`."""

    async def free_carrier(self, carrier: str, audit: Sequence[Record] = ()) -> bool:
        """Let a carrier go on; False when nothing held it."""

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit audit records that belong to no change: denials, reads, what the node does."""

    async def carrier_holds(self) -> list[CarrierHold]:
        """Return all holds of carriers, by name."""
