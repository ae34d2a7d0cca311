"""What a node does once for each new entry of the list: it records it, and deals with messages that wait, which are
kept, held back or withdrawn.

An entry says what is wanted, and `settled` remembers how far the node is, through restarts. An operator's call on this
node is on record before the entry exists; what comes from another node, or from the files, is recorded here. A hold
reaches to the moment of its making and no further, nor beyond the time by which every node has either known of the
revocation or refused everybody: what the identity sends once it has been let back in does not meet it.

To withdraw is to hold first, so that nothing leaves meanwhile, and then to purge until nothing is found. What may have
left already stays, and stays held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.audit.records import OperatorActed, Record
from gateway.errors import GatewayError
from gateway.revocation.entries import DenyList, Entry, Queued
from gateway.revocation.errors import DenyListError
from gateway.revocation.files import ListFiles
from gateway.revocation.recording import revocation_record
from gateway.store.operating import MessageHold, Purged, Selection

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_BETWEEN_S = 0.2
_MAX_ROUNDS = 50
_MAX_REASON_BYTES = 1_000  # of a record


class Messages(Protocol):
    """What is needed of `gateway.pipeline.queues.Queues`."""

    @property
    def holds(self) -> Sequence[MessageHold]:
        """What is held back."""

    async def pause(self, hold: MessageHold, audit: Sequence[Record]) -> None:
        """Hold messages back."""

    async def resume(self, selection: Selection, audit: Sequence[Record]) -> None:
        """Let messages go on."""

    async def purge(
        self, selection: Selection, record: OperatorActed, audit: Sequence[Record], *, dry_run: bool
    ) -> Purged:
        """Cancel what waits of a selection, or count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The node that this is done on. `reach`: microseconds after a revocation by which every node knows or refuses."""

    node: str
    now: Callable[[], int]
    reach: int
    record: Callable[[Record], None]  # puts one into the journal
    publisher: bool


class QueuedMessages:
    """Belongs to one event loop; `run` is its task."""

    def __init__(self, messages: Messages, files: ListFiles, site: Site) -> None:
        self._messages = messages
        self._files = files
        self._site = site
        self._deny = DenyList()
        self._work = asyncio.Event()

    def look(self, deny: DenyList) -> None:
        """A list is in force: deal with what is new in it."""
        self._deny = deny
        self._work.set()

    async def prepare(self) -> None:
        """Deal with what is new before the node sends anything. Raises GatewayError or DenyListError: it must not
        start."""
        await self._settle(self._deny)

    async def run(self) -> None:
        """Work until cancelled; what fails is tried again, and told once."""
        broken = ""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._settle(self._deny)
                broken = ""
            except (GatewayError, DenyListError) as error:
                if str(error) != broken:
                    broken = str(error)
                    log.error("queued_messages_not_settled", extra={"why": broken})
                self._work.set()
                await asyncio.sleep(_RETRY_S)

    async def _settle(self, deny: DenyList) -> None:
        settled = self._files.memory().settled
        new = sorted((entry for entry in deny.entries if entry.since > settled), key=lambda entry: entry.since)
        for entry in new:
            if entry.by == "" or not self._site.publisher:
                at, node = self._site.now(), self._site.node
                self._site.record(revocation_record(entry, at=at, node=node, by=entry.by))
            if entry.queued is not Queued.KEEP and entry.spiffe_id:
                await self._deal(entry)
        if deny.version > settled:
            await asyncio.to_thread(self._files.settle, deny.version)

    async def _deal(self, entry: Entry) -> None:
        """Hold, and withdraw if that is wanted. An old entry of which nothing waits leaves no hold behind."""
        site = self._site
        ends = entry.revoked_at + site.reach
        selection = Selection(owner=entry.spiffe_id, accepted_until=min(site.now(), ends))
        counted = await self._messages.purge(selection, self._record(entry, ""), (), dry_run=True)
        if site.now() > ends and not (counted.cancelled or counted.doubtful):
            return
        before = next((hold for hold in self._messages.holds if hold.selection.name == selection.name), None)
        if before is None or 0 < before.selection.accepted_until < selection.accepted_until:
            hold = MessageHold(selection, "", site.now(), entry.by, f"revoked ({entry.id}): {entry.reason}")
            await self._messages.pause(hold, [self._record(entry, "messages paused", counted)])
        log.warning("queued_messages_held", extra={"revocation": entry.id, "messages": counted.cancelled})
        if entry.queued is Queued.CANCEL:
            await self._withdraw(entry, selection, kept=before is not None)

    async def _withdraw(self, entry: Entry, selection: Selection, *, kept: bool) -> None:
        total, doubtful = 0, 0
        for round_ in range(_MAX_ROUNDS):
            record = self._record(entry, "messages purged")
            purged = await self._messages.purge(selection, record, (), dry_run=False)
            total, doubtful = total + purged.cancelled, purged.doubtful
            if round_ and not purged.cancelled:
                break
            await asyncio.sleep(_BETWEEN_S)  # what was on its way between two queues has arrived
        log.warning("queued_messages_withdrawn", extra={"revocation": entry.id, "messages": total, "stay": doubtful})
        if not (doubtful or kept):
            await self._messages.resume(selection, [self._record(entry, "messages resumed")])

    def _record(self, entry: Entry, what: str, counted: Purged | None = None) -> OperatorActed:
        why = f"revocation {entry.id} of {entry.spiffe_id}: {entry.reason}"
        return OperatorActed(
            at=self._site.now(),
            node=self._site.node,
            by=entry.by,
            what=what,
            carrier="",
            tenant="",
            category=0,
            by_recipient=False,
            number=counted.cancelled if counted is not None else 0,
            reason=why.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"),
        )
