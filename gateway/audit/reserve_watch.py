"""Measures the room of the audit about once a second, and says what follows: alerts, and whether the node is ready."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

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


class ReserveWatch:
    """Of one node whose audit is on a disk of this machine."""

    def __init__(
        self,
        reserve: Reserve,
        measure: Callable[[], int],
        serve: Callable[[bool], None],
        alerts: AlertSink = NOBODY,
        *,
        look_s: float = _LOOK_S,
    ) -> None:
        """`measure` gives octets, in a thread; `serve` is told whether the node may be called."""
        self._reserve, self._measure, self._serve, self._alerts = reserve, measure, serve, alerts
        self._look_s = look_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look once. A disk that cannot be asked is taken for one without room: it fails closed."""
        try:
            free = await asyncio.to_thread(self._measure)
            why = f"{free / _MIB:.0f} MiB are free"
        except OSError as error:
            free, why = 0, f"the disk cannot be asked: {error.strerror}"
        before, room = self._reserve.room, self._reserve.look(free)
        if room is not before:
            log.warning("audit_room", extra={"room": room.name, "why": why})
            self._serve(room is not Room.SPENT)
        for what, bound in ((DENIALS, Room.RESERVED), (ACCEPTING, Room.SPENT)):
            if room >= bound:
                self._alerts.raise_alert(AUDIT_DISK_LOW, what, why=why)
            else:
                self._alerts.resolve(AUDIT_DISK_LOW, what)
