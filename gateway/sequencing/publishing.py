"""Where a checkpoint goes once it is in the database: the folder of files.

What fails here holds up neither the audit nor the log: it is told by an alert, and caught up with the next checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from gateway.errors import GatewayError
from gateway.sequencing.files import STEP, LogFiles, tiles_between
from gateway.sequencing.tiles import TileStore, fetch
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import Note, parse
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_NOT_ARCHIVED

log = logging.getLogger(__name__)

FOLDER = "folder"  # its name among the archives
_STEPS = 16  # of the folder at one checkpoint: a quarter of a million leaves


class Publication:
    """Of one sequencer. It belongs to the event loop."""

    def __init__(
        self, store: TileStore, files: LogFiles, failures: Counter[str], *, alerts: AlertSink = NOBODY
    ) -> None:
        """`failures`: counts what did not get somewhere, by its name."""
        self._failures = failures
        self._store, self._files, self._alerts = store, files, alerts
        self._written: int | None = None  # leaves whose tiles are in the folder; None: it has not been looked

    async def publish(self, checkpoint: Checkpoint, note: Note) -> Note:
        """Show a checkpoint to the world. Raises nothing that concerns the log."""
        await self._to_folder(checkpoint, note)
        return note

    async def _to_folder(self, checkpoint: Checkpoint, note: Note) -> None:
        try:
            if self._written is None or self._written > checkpoint.size:
                self._written = await asyncio.to_thread(self._found)
            for _ in range(_STEPS):
                if self._written >= checkpoint.size:
                    await asyncio.to_thread(self._files.write_checkpoint, note.encode())
                    break
                step = min(checkpoint.size, (self._written // STEP + 1) * STEP)
                tiles = await fetch(self._store, tiles_between(self._written, step))
                await asyncio.to_thread(self._files.write_tiles, tiles)
                self._written = step
        except GatewayError as error:
            self._written = None
            self._failures[FOLDER] += 1
            log.error("audit_log_files_not_written", extra={"why": str(error)})
            self._alerts.raise_alert(AUDIT_NOT_ARCHIVED, FOLDER, why=str(error))
        else:
            self._alerts.resolve(AUDIT_NOT_ARCHIVED, FOLDER)

    def _found(self) -> int:
        """Return how far the folder goes, by its checkpoint; 0 for one that is to be written from the beginning."""
        octets = self._files.read_checkpoint()
        if octets is None or not (self._files.folder / "tile").is_dir():
            return 0
        try:
            return parse_text(parse(octets).text).size
        except TlogError:
            return 0
