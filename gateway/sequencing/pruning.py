"""Deletes the records of old commits, when a period is configured: their entries, leaves and proofs stay.

Only what a signed checkpoint covers goes, and never the newest some thousand commits, which a start looks at. A step is
small; it is said on record how far it has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.sequencing.growth import StoredCommit
from gateway.store.sequencing import LogPrune

STEP = 500  # commits
NEWEST = 4_096  # commits that stay, however old


class PrunedStore(Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit_read(self, after_seq: int, limit: int) -> Sequence[StoredCommit]:
        """Return commits above `after_seq`, in order."""

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit, the seq of the newest)."""

    async def log_prune(self, step: LogPrune) -> bool:
        """Delete records of commits."""


Tell = Callable[[int, int], None]  # the first commit that was deleted, and the last


class Pruner:
    """Of one sequencer. `keep`, and what `now` gives: microseconds."""

    def __init__(self, store: PrunedStore, keep: int, now: Callable[[], int], tell: Tell) -> None:
        self._store, self._keep, self._now, self._tell = store, keep, now, tell

    async def step(self, epoch: int, signed: int) -> bool:
        """Delete up to `STEP` commits that are old enough, and among the first `signed`; whether there may be more."""
        before_oldest, newest = await self._store.audit_bounds()
        last = min(signed, newest - NEWEST, before_oldest + STEP)
        last = await self._old_until(before_oldest, last, self._now() - self._keep)
        if last <= before_oldest or not await self._store.log_prune(LogPrune(epoch, last)):
            return False
        self._tell(before_oldest + 1, last)
        return last == before_oldest + STEP

    async def _old_until(self, before: int, last: int, limit: int) -> int:
        """Return the last commit behind `before`, up to `last`, that was made before the time `limit`."""
        low, high = before, last
        while low < high:
            middle = (low + high + 1) // 2
            found = await self._store.audit_read(middle - 1, 1)
            if found and found[0].at < limit:
                low = middle
            else:
                high = middle - 1
        return low
