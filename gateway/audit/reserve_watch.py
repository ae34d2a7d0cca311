"""Looks at the room of the audit about once a second, and says what follows: alerts, and whether the node is ready."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway.audit.reserve import Reserve, Room
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_DISK_LOW

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_MIB = 1 << 20
DENIALS, ACCEPTING = "denials", "accepting"  # what is not done any more


def free_on(folder: Path) -> int:
    """Return the octets that are free on the disk of a folder. Raises OSError."""
    return shutil.disk_usage(folder).free


class Gauge(Protocol):
    """What tells how much room there is."""

    async def look(self) -> tuple[Room, str]:
        """Return how much there is, and why."""


class DiskGauge:
    """Of a disk of this machine."""

    def __init__(self, reserve: Reserve, measure: Callable[[], int]) -> None:
        """`measure` gives octets, in a thread."""
        self._reserve, self._measure = reserve, measure

    async def look(self) -> tuple[Room, str]:
        """Measure. A disk that cannot be asked is taken for one without room: it fails closed."""
        try:
            free = await asyncio.to_thread(self._measure)
            why = f"{free / _MIB:.0f} MiB are free"
        except OSError as error:
            free, why = 0, f"the disk cannot be asked: {error.strerror}"
        return self._reserve.judge(free), why


class ReserveWatch:
    """Of one node."""

    def __init__(
        self,
        reserve: Reserve,
        gauge: Gauge,
        serve: Callable[[bool], None],
        alerts: AlertSink = NOBODY,
        *,
        look_s: float = _LOOK_S,
    ) -> None:
        """`serve` is told whether the node may be called."""
        self._reserve, self._gauge, self._serve, self._alerts = reserve, gauge, serve, alerts
        self._look_s = look_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look once."""
        before, (room, why) = self._reserve.room, await self._gauge.look()
        self._reserve.take(room)
        if room is not before:
            log.warning("audit_room", extra={"room": room.name, "why": why})
            self._serve(room is not Room.SPENT)
        for what, bound in ((DENIALS, Room.RESERVED), (ACCEPTING, Room.SPENT)):
            if room >= bound:
                self._alerts.raise_alert(AUDIT_DISK_LOW, what, why=why)
            else:
                self._alerts.resolve(AUDIT_DISK_LOW, what)
