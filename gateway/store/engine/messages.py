"""The coroutines of the contract for messages: handed to the writer's thread, or to the readers'; no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.audit.records import Record
from gateway.states import Category
from gateway.store.contract import (
    Accepted,
    AuditCommit,
    EventRow,
    Idempotency,
    InboundVerdict,
    ListFilter,
    MessageRow,
    NewInboundPart,
    NewMessage,
    Sending,
    Settlement,
    Waiting,
    waiting_queue,
)
from gateway.store.engine import auditing, reading
from gateway.store.engine.accepting import accept, find_replays
from gateway.store.engine.auditing import audit_only
from gateway.store.engine.calls import Calls
from gateway.store.engine.claiming import Claim, claim, sending
from gateway.store.engine.closing import Cancel, Due, Recover, cancel, close_due, purge, recover
from gateway.store.engine.counting import Sizes
from gateway.store.engine.inbound import inbound
from gateway.store.engine.settling import settle
from gateway.store.engine.writer import Kind
from gateway.store.nodes import Carriers, Recovered

# In the order of a message's life: so they run within one transaction.
_RECOVER = Kind(0, "recover", recover)
_ACCEPT = Kind(1, "accept", accept)
_CANCEL = Kind(2, "cancel", cancel)
_CLAIM = Kind(3, "claim", claim)
_SENDING = Kind(4, "sending", sending)
_SETTLE = Kind(5, "settle", settle)
_INBOUND = Kind(7, "inbound", inbound)
_CLOSE_DUE = Kind(8, "close_due", close_due)
_PURGE = Kind(9, "purge", purge)
_AUDIT = Kind(10, "audit", audit_only)


class MessageCalls(Calls):
    """Messages, their events and their audit: written and looked up."""

    _sizes: Sizes

    async def accept(self, batch: Sequence[NewMessage], audit: Sequence[Record] = ()) -> list[Accepted]:
        """Store messages with their idempotency records and first events; an answer for each, in order."""
        answers: list[Accepted] = await self._write(_ACCEPT, batch, new=True, audit=audit)
        return answers

    async def replays(self, batch: Sequence[Idempotency], now: int) -> list[Accepted | None]:
        """Return the answers to messages whose keys others hold, None for a free key; stores nothing."""
        answers: list[Accepted | None] = await self._read(lambda look: find_replays(look, batch, now))
        return answers

    async def claim(self, category: Category, limit: int, now: int, carriers: Carriers = None) -> list[Waiting]:
        """Move up to `limit` messages whose time has come from their waiting queue to CLAIMED: first those whose
        validity ends first."""
        claimed: list[Waiting] = await self._write(_CLAIM, [Claim(category, limit, now, carriers)], single=True)
        return claimed

    async def next_due(self, category: Category, carriers: Carriers = None) -> int | None:
        """Return the earliest `due_at` that waits in the category's queue, None when nothing waits there."""
        due_at: int | None
        due_at = await self._read(lambda look: reading.read_next_due(look, waiting_queue(category), carriers))
        return due_at

    async def sending(self, batch: Sequence[Sending]) -> list[bool]:
        """Commit messages to carrier links. False for one that was cancelled or closed meanwhile: do not send it."""
        moved: list[bool] = await self._write(_SENDING, batch)
        return moved

    async def settle(self, batch: Sequence[Settlement]) -> list[int]:
        """Record outcomes, and match kept receipts to the new carrier ids; the state of each message afterwards."""
        states: list[int] = await self._write(_SETTLE, batch)
        return states

    async def inbound(self, batch: Sequence[NewInboundPart]) -> list[InboundVerdict]:
        """Store parts of inbound messages; the part that completes one writes its event.

        Raises ValueError for a part outside of 1 to `total`: such a group would never be complete, or too early.
        """
        if not all(1 <= part.part <= part.total for part in batch):
            raise ValueError("an inbound part has a number outside of 1 to its total")
        verdicts: list[InboundVerdict] = await self._write(_INBOUND, batch)
        return verdicts

    async def cancel(
        self, tenant: str, message_id: bytes, now: int, by: str = "", audit: Sequence[Record] = ()
    ) -> tuple[bool, MessageRow | None]:
        """Cancel a message that has not been SENT: (True, row), or (False, row as it stands); row None: no such id."""
        batch = [Cancel(tenant, message_id, now, by)]
        answer: tuple[bool, MessageRow | None] = await self._write(_CANCEL, batch, single=True, new=True, audit=audit)
        return answer

    async def close_due(self, now: int, limit: int) -> int:
        """End messages whose time is over: waiting beyond expires_at, or awaiting beyond due_at; returns how many."""
        ended: int = await self._write(_CLOSE_DUE, [Due(now, limit)], single=True)
        return ended

    async def recover(self, now: int, resend: frozenset[Category]) -> Recovered:
        """Once after `open`, before any claim: put back what was in memory, doubt what was on its way."""
        found: Recovered = await self._write(_RECOVER, [Recover(now, resend)], single=True)
        return found

    async def purge(self, now: int, limit: int) -> int:
        """Delete expired idempotency records, incomplete inbound groups, old fingerprints and unmatched receipts."""
        deleted: int = await self._write(_PURGE, [Due(now, limit)], single=True)
        return deleted

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit audit records that belong to no change: denials, reads, what the node does."""
        # Not `new`: a call that is refused since the queue is full is on record, and that record needs a place.
        await self._write(_AUDIT, batch, record=True)

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Return up to `limit` commits of the audit above `after_seq`, in order; fewer when they are large."""
        commits: list[AuditCommit] = await self._read(lambda look: auditing.read_commits(look, after_seq, limit))
        return commits

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit of the audit, the seq of the newest)."""
        bounds: tuple[int, int] = await self._read(auditing.read_bounds)
        return bounds

    async def audit_before(self, at: int) -> int:
        """Return the seq before the first commit of the audit that was made at `at` or later."""
        seq: int = await self._read(lambda look: auditing.read_before(look, at))
        return seq

    async def get_message(self, tenant: str, message_id: bytes) -> MessageRow | None:
        """Return one message of the tenant."""
        row: MessageRow | None = await self._read(lambda look: reading.read_message(look, tenant, message_id))
        return row

    async def list_messages(self, tenant: str, where: ListFilter, before: bytes | None, limit: int) -> list[MessageRow]:
        """Return messages of the tenant with ids below `before`, newest first."""
        rows: list[MessageRow]
        rows = await self._read(lambda look: reading.read_messages(look, tenant, where, before, limit))
        return rows

    async def list_reach(self, tenant: str, before: bytes | None, rows: int) -> bytes | None:
        """Return the id of the message of the tenant that is `rows` places below `before`: what a look at so many
        reaches. None when there are not so many."""
        reached: bytes | None = await self._read(lambda look: reading.read_reach(look, tenant, before, rows))
        return reached

    async def events(self, tenant: str, after: int, limit: int) -> list[EventRow]:
        """Return the tenant's events with `seq` above `after`, in order."""
        rows: list[EventRow] = await self._read(lambda look: reading.read_events(look, tenant, after, limit))
        return rows

    async def event_bounds(self, tenant: str) -> tuple[int, int]:
        """Return (the seq before the oldest event kept, the seq of the newest event committed)."""
        bounds: tuple[int, int] = await self._read(lambda look: reading.read_bounds(look, tenant))
        return bounds

    async def counts(self) -> dict[str, int]:
        """Return counters for people: `queue.<NAME>` sizes, `oldest_due_at.<NAME>`, and every counted cause."""
        return await self._sizes.counts()
