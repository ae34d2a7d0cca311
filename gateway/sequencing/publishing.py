"""Where a checkpoint goes once it is in the database: to the witnesses, then to the archives and into the folder.

It is a task of its own, and takes the newest: the log grows on while a witness is slow. What fails here holds up
neither the audit nor the log: it is told by an alert, and caught up with the next checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from gateway.errors import GatewayError
from gateway.sequencing.archiving import Archived, Delivery
from gateway.sequencing.files import STEP, LogFiles, tiles_between
from gateway.sequencing.tiles import fetch
from gateway.sequencing.witnesses import WitnessedStore, Witnesses
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import Note, parse
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_NOT_ARCHIVED, AUDIT_NOT_WITNESSED

log = logging.getLogger(__name__)

FOLDER = "folder"  # its name among the archives
_RETRY_S = 5.0  # until witnesses are asked again about a checkpoint that nothing newer follows
_STEPS = 16  # of the folder at one checkpoint: a quarter of a million leaves

Keep = Callable[[Checkpoint, Note], Awaitable[None]]


async def keep_nothing(checkpoint: Checkpoint, note: Note) -> None:
    """Keep no cosigned checkpoint."""


class Publication:
    """Of one sequencer. `run` is its task; it belongs to the event loop."""

    def __init__(
        self,
        store: WitnessedStore,
        files: LogFiles,
        failures: Counter[str],
        *,
        witnesses: Witnesses | None = None,
        deliveries: Sequence[Delivery] = (),
        now: Callable[[], int],
        alerts: AlertSink = NOBODY,
    ) -> None:
        """`failures`: counts what did not get somewhere, by its name. `now`: microseconds since the Unix epoch."""
        self._store, self._files, self._failures = store, files, failures
        self._witnesses = witnesses or Witnesses(store=store)
        self._deliveries = deliveries
        self._now, self._alerts = now, alerts
        self.keep: Keep = keep_nothing  # what others have signed is put beside the log's own signature
        self._newest: tuple[Checkpoint, Note] | None = None
        self._uncosigned: tuple[Checkpoint, Note] | None = None  # lacks witnesses
        self._there = asyncio.Event()
        self._written: int | None = None  # leaves whose tiles are in the folder; None: it has not been looked

    def publish(self, checkpoint: Checkpoint, note: Note) -> None:
        """Take a checkpoint that is in the database; one before it that has not gone out yet does not."""
        self._newest = (checkpoint, note)
        self._there.set()

    async def run(self) -> None:
        """Publish, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for delivery in self._deliveries:
                tasks.create_task(delivery.run())
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S if self._uncosigned else None):
                        await self._there.wait()
                await self.flush()

    async def finish(self) -> None:
        """Publish what waits: the last thing before the store closes."""
        await self.flush()
        await asyncio.gather(*(delivery.finish() for delivery in self._deliveries))

    async def flush(self) -> None:
        """Publish the newest checkpoint, if it has not been; one that lacks witnesses is shown to them again."""
        newest, self._newest = self._newest, None
        self._there.clear()
        again, self._uncosigned = self._uncosigned, None
        if (chosen := newest or again) is None:
            return
        checkpoint, note = chosen
        note, number, why = await self._witnesses.cosigned(checkpoint, note)
        for delivery in self._deliveries if newest is not None else ():
            delivery.offer(Archived(self._now(), checkpoint, note.encode()))
        if number < self._witnesses.required:
            self._uncosigned = chosen
            self._alerts.raise_alert(AUDIT_NOT_WITNESSED, why=why)
            return
        self._alerts.resolve(AUDIT_NOT_WITNESSED)
        if number:
            await self.keep(checkpoint, note)
        await self._to_folder(checkpoint, note)

    async def _to_folder(self, checkpoint: Checkpoint, note: Note) -> None:
        try:
            if self._written is None or self._written > checkpoint.size:
                self._written = await asyncio.to_thread(self._found, checkpoint)
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

    def _found(self, newest: Checkpoint) -> int:
        """Return how far the folder goes, by its checkpoint. One that shows another log, or more than there is of this
        one, is emptied and written from the beginning."""
        octets = self._files.read_checkpoint()
        if octets is not None and self._files.has_tiles:
            try:
                found = parse_text(parse(octets).text)
            except TlogError:
                found = None
            if found is not None and found.origin == newest.origin and found.size <= newest.size:
                return found.size
        self._files.clear()
        return 0
