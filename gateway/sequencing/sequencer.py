"""The sequencer: one task that takes the commits of the audit into the log, in their order, and signs what came of it.

A turn, about twice a second: keep the lease, append what has been committed, and, when it is time, sign a checkpoint,
keep it in the database, and publish it. Everything but publishing is in the database, under the epoch of the lease. So
a crash at any point leaves a log that whoever comes next goes on with: what was appended and not signed is signed then,
what was signed and not published is published then. After any failure nothing is believed that is in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import GatewayError
from gateway.sequencing.errors import LogBroken, LogNotOurs
from gateway.sequencing.growth import HINTS, Growth, StoredCommit
from gateway.sequencing.notary import Notary
from gateway.sequencing.pruning import PrunedStore, Pruner
from gateway.sequencing.scrubbing import ScrubProgress
from gateway.sequencing.tiles import TileStore, fetch
from gateway.store.sequencing import NO_EPOCH, LogAppend, LogHead, LogPublish, LogTile
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import Note
from gateway.tlog.tiles import ENTRIES, WIDTH, Tile, edge_of, split_bundle
from gateway.tlog.tree import edge_from
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_LOG_BEHIND, AUDIT_LOG_BROKEN

log = logging.getLogger(__name__)

_PAGE = 1_000  # commits
_PAGES = 16  # of one append: up to 4 MiB of records, or one commit a page that is larger
_STEPS = 4  # appends of one turn: after them it is looked at the lease and the clock
_PRUNE_S = 600.0
_SECOND = 1_000_000
DATABASE = "the database"


class LogStore(TileStore, PrunedStore, Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit_read(self, after_seq: int, limit: int) -> Sequence[StoredCommit]:
        """Return commits above `after_seq`, in order."""

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit, the seq of the newest)."""

    async def log_lease(self, holder: str, epoch: int, ttl: int) -> LogHead | None:
        """Take the lease, or keep it."""

    async def log_release(self, epoch: int) -> None:
        """Give it back."""

    async def log_append(self, step: LogAppend) -> bool:
        """Append leaves."""

    async def log_publish(self, step: LogPublish) -> bool:
        """Keep a checkpoint."""

    async def log_cosigned(self, step: LogPublish) -> bool:
        """Keep one that is cosigned."""


class Publisher(Protocol):
    """Where checkpoints go."""

    def publish(self, checkpoint: Checkpoint, note: Note) -> None:
        """Take a checkpoint that is in the database, to show it to the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When what is done. Seconds."""

    checkpoint_s: float
    renewal_s: float
    lease_s: float


@dataclass(slots=True)
class Progress:
    """How far the log is, for those who look. `holds`: whether this node is the sequencer."""

    holds: bool = False
    broken: bool = False
    size: int = 0
    behind: int = 0  # commits that are not in the log, when it was last looked
    checkpoint_size: int = 0
    checkpoint_at: int = 0  # microseconds since the Unix epoch; 0 before the first
    failures: Counter[str] = field(default_factory=Counter)  # of bringing checkpoints somewhere, by archive
    scrub: ScrubProgress = field(default_factory=ScrubProgress)

    @property
    def signed_here(self) -> int:
        """Commits under the newest signature, on the node that appends and goes on doing so; else 0."""
        return self.checkpoint_size if self.holds and not self.broken else 0


class Sequencer:
    """Of one node. `run` is its task; it belongs to the event loop."""

    def __init__(
        self,
        store: LogStore,
        notary: Notary,
        publisher: Publisher,
        *,
        holder: str,
        pace: Pace,
        progress: Progress,
        now: Callable[[], int],
        pruner: Pruner | None = None,
        alerts: AlertSink = NOBODY,
    ) -> None:
        """`holder`: the node's name in the lease. `progress`: where it is said how far the log is. `now`:
        microseconds since the Unix epoch."""
        self._now, self._pruner = now, pruner
        self._store, self._notary, self._publisher = store, notary, publisher
        self._holder, self._pace, self._alerts = holder, pace, alerts
        self._epoch = NO_EPOCH
        self._growth: Growth | None = None
        self._lease_until = self._sign_at = self._renew_at = self._prune_at = 0.0  # on the loop's clock
        self.progress = progress

    async def run(self) -> None:
        """Take turns until cancelled; a log that is broken is left alone."""
        while not self.progress.broken:
            await self.turn()
            await asyncio.sleep(self._pace.checkpoint_s / 2)

    async def turn(self) -> None:
        """Do what is due. What fails is told, and tried again at the next turn from what the database says."""
        try:
            if await self._leased():
                await self._append()
                await self._checkpoint()
                await self._prune()
        except LogBroken as error:
            self.stop(str(error))
        except LogNotOurs as error:
            self._forget()
            log.warning("audit_log_taken_over", extra={"why": str(error)})
        except GatewayError as error:
            self._forget()
            log.error("audit_log_not_written", extra={"why": str(error)})
            self._alerts.raise_alert(AUDIT_LOG_BEHIND, why=str(error))
        else:
            self._alerts.resolve(AUDIT_LOG_BEHIND)

    def stop(self, why: str) -> None:
        """Leave the log alone from here on: it contradicts what was signed."""
        self._forget()
        self.progress.broken = True
        log.critical("audit_log_broken", extra={"why": why})
        self._alerts.raise_alert(AUDIT_LOG_BROKEN, why=why)

    async def keep_cosigned(self, checkpoint: Checkpoint, note: Note) -> None:
        """Keep a checkpoint with what others have signed to it beside the newest, for receipts."""
        if self._epoch == NO_EPOCH:
            return
        try:
            await self._store.log_cosigned(LogPublish(self._epoch, checkpoint.size, note.encode()))
        except GatewayError as error:
            log.warning("cosigned_checkpoint_not_kept", extra={"why": str(error)})

    async def finish(self) -> None:
        """Take up and sign what is there, and give the lease back: the last thing before the store closes."""
        self._forget()  # a turn may have been cut off: what is in memory is not believed
        self._sign_at = 0.0
        if not self.progress.broken:
            await self.turn()
        if self._epoch != NO_EPOCH:
            epoch = self._epoch
            self._forget()
            try:
                await self._store.log_release(epoch)
            except GatewayError as error:
                log.warning("audit_log_lease_kept", extra={"why": str(error)})

    def _forget(self) -> None:
        self._epoch, self._growth, self._lease_until = NO_EPOCH, None, 0.0
        self.progress.holds = False

    async def _leased(self) -> bool:
        """Take the lease or keep it; False while another node is the sequencer."""
        now = asyncio.get_running_loop().time()
        if now < self._lease_until - self._pace.lease_s * 2 / 3:
            return True
        if self._epoch == NO_EPOCH and now < self._lease_until:  # another has it: no use to ask at every turn
            return False
        head = await self._store.log_lease(self._holder, self._epoch, round(self._pace.lease_s * _SECOND))
        if head is None:
            held, self._epoch = self._epoch != NO_EPOCH, NO_EPOCH
            if held:
                raise LogNotOurs("another node has taken the lease of the log over")
            self._lease_until = now + self._pace.lease_s / 3
            return False
        self._lease_until = now + self._pace.lease_s
        if self._epoch == NO_EPOCH:
            self._epoch = head.epoch
            await self._take_up(head)
        return True

    async def _take_up(self, head: LogHead) -> None:
        """Load the edge of the log, and what was signed last."""
        signed = self._notary.remember(head.checkpoint, DATABASE) if head.checkpoint else None
        self.progress.checkpoint_size = 0 if signed is None else signed.size
        number, width = divmod(head.size, WIDTH)
        last = [Tile(level, number, width) for level in (ENTRIES, HINTS)] if width else []
        tiles = await fetch(self._store, [*edge_of(head.size), *last])
        try:
            tail, hints = ([*map(tuple, (split_bundle(tile, tiles[tile]) for tile in last))]) or ((), ())
            self._growth = Growth(edge=edge_from(head.size, tiles), tail=tail, hints=hints)
        except TlogError as error:
            raise LogBroken(f"the log cannot be taken up: {error}") from error
        self.progress.holds, self.progress.size = True, head.size
        self._renew_at = 0.0  # what was signed may not have been published
        log.info("audit_log_taken_up", extra={"size": head.size, "epoch": head.epoch})

    async def _append(self) -> None:
        """Take what has been committed."""
        for _ in range(_STEPS):
            growth = self._held()
            grown, tiles = await self._grown(growth)
            if grown.size == growth.size:
                break
            step = LogAppend(self._epoch, growth.size, grown.size, tiles)
            if not await self._store.log_append(step):
                raise LogNotOurs(f"another has appended behind commit {growth.size}")
            self._growth, self.progress.size = grown, grown.size
        _, newest = await self._store.audit_bounds()
        self.progress.behind = max(0, newest - self.progress.size)

    async def _grown(self, growth: Growth) -> tuple[Growth, tuple[LogTile, ...]]:
        """Return the edge behind the next pages of the audit, and what changes: of each tile what it is at the end."""
        changed: dict[tuple[int, int], LogTile] = {}
        for _ in range(_PAGES):
            commits = await self._store.audit_read(growth.size, _PAGE)
            if not commits:
                break
            growth, tiles = await asyncio.to_thread(growth.take, commits)
            changed.update({(tile.level, tile.number): tile for tile in tiles})
        return growth, tuple(changed.values())

    async def _checkpoint(self) -> None:
        """Sign when it is time, and publish."""
        now = asyncio.get_running_loop().time()
        growth, last = self._held(), self._notary.last
        grown = last is None or growth.size > last.size
        if not growth.size or now < (self._sign_at if grown else self._renew_at):
            return
        tiles = await fetch(self._store, self._notary.needs(growth.size))
        note = await asyncio.to_thread(self._notary.sign, growth.size, growth.edge.root, tiles)
        checkpoint = Checkpoint(origin=self._notary.origin, size=growth.size, root=growth.edge.root)
        await self._keep(checkpoint, note)
        self._sign_at, self._renew_at = now + self._pace.checkpoint_s, now + self._pace.renewal_s
        self._signed(checkpoint)
        self._publisher.publish(checkpoint, note)

    async def _prune(self) -> None:
        """Delete what is old enough, now and then, of what has been signed."""
        now = asyncio.get_running_loop().time()
        if self._pruner is None or now < self._prune_at:
            return
        more = await self._pruner.step(self._epoch, self.progress.checkpoint_size)
        self._prune_at = now if more else now + _PRUNE_S

    async def _keep(self, checkpoint: Checkpoint, note: Note) -> None:
        if not await self._store.log_publish(LogPublish(self._epoch, checkpoint.size, note.encode())):
            raise LogNotOurs("another node is the sequencer: the checkpoint is not kept, and not published")

    def _held(self) -> Growth:
        if self._growth is None:
            raise LogNotOurs("the log is not held")
        return self._growth

    def _signed(self, checkpoint: Checkpoint) -> None:
        self.progress.checkpoint_size, self.progress.checkpoint_at = checkpoint.size, self._now()
