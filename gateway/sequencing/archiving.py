"""Brings checkpoints to where they are kept, one task for each archive: in order, again and again until it is done.

What waits is bounded: beyond the bound the oldest go, since a later checkpoint proves all that an earlier one does. A
failure is told by an alert, and holds up nothing but its own archive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from typing import NamedTuple, Protocol

from gateway.sequencing.errors import NotArchived
from gateway.tlog.checkpoints import Checkpoint
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_NOT_ARCHIVED

log = logging.getLogger(__name__)

_KEPT = 1_000  # checkpoints that wait
_BACKOFF_S = (0.5, 30.0)
_LAST_S = 3.0  # at the end of the node


class Archived(NamedTuple):
    """A checkpoint on its way. `at`: microseconds since the Unix epoch, when it was published; `note`: its octets."""

    at: int
    checkpoint: Checkpoint
    note: bytes


class Archive(Protocol):
    """A place where checkpoints are kept."""

    async def put(self, one: Archived) -> None:
        """Return when it is there. Raises NotArchived; it takes no longer than its own deadline."""

    async def close(self) -> None:
        """Free what is held. Raises nothing."""


class Delivery:
    """To one archive. `run` is its task; it belongs to the event loop."""

    def __init__(
        self,
        name: str,
        archive: Archive,
        failures: Counter[str],
        *,
        alerts: AlertSink = NOBODY,
        backoff_s: tuple[float, float] = _BACKOFF_S,
    ) -> None:
        """`failures`: counts attempts that failed, by name. `backoff_s`: the first pause after one, and the longest."""
        self.name = name
        self._archive, self._failures, self._alerts = archive, failures, alerts
        self._backoff_s = backoff_s
        self._waiting: deque[Archived] = deque(maxlen=_KEPT)
        self._there = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many checkpoints have not got there."""
        return len(self._waiting)

    def offer(self, one: Archived) -> None:
        """Take a checkpoint, newer than those before."""
        self._waiting.append(one)
        self._there.set()

    async def run(self) -> None:
        """Bring what waits, until cancelled."""
        pause_s, longest_s = self._backoff_s
        while True:
            await self._there.wait()
            if await self._bring():
                pause_s = self._backoff_s[0]
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, longest_s)

    async def finish(self) -> None:
        """Try once more with what waits, for a moment, and end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                while self._waiting and await self._bring():
                    pass
        await self._archive.close()

    async def _bring(self) -> bool:
        """Bring the oldest; False when it did not get there."""
        one = self._waiting[0]
        try:
            await self._archive.put(one)
        except NotArchived as error:
            self._failures[self.name] += 1
            log.error("checkpoint_not_archived", extra={"archive": self.name, "why": str(error)})
            self._alerts.raise_alert(AUDIT_NOT_ARCHIVED, self.name, why=str(error))
            return False
        if self._waiting and self._waiting[0] is one:  # else the bound has dropped it meanwhile
            self._waiting.popleft()
        if not self._waiting:
            self._there.clear()
            self._alerts.resolve(AUDIT_NOT_ARCHIVED, self.name)
        return True
