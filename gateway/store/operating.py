"""The part of the store's contract that serves operators: what is held back, what is purged, and why.

A hold outlives the process: what an operator has stopped stays stopped until an operator lets it go on. See
`gateway.store.contract` for what holds of every call: one transaction, on disk when it returns, recorded with it.

A message that is held is in a queue of its own (HELD_*), which nothing claims; it expires there like any that waits. It
gets there from CLAIMED by `park`, and back into its waiting queue by `unpark`. Scans go through the queues a bounded
number of rows at a time: `Place` says where the next one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.audit.records import OperatorActed, Record
from gateway.ids import made_at

MAX_HOLDS = 1_000  # of carriers
MAX_MESSAGE_HOLDS = 100  # that name no owner: each message is compared with each of them
MAX_OWNER_HOLDS = 1_000
BACKLOG_LOOK = 200_000


class CarrierHold(NamedTuple):
    """A carrier that gets nothing. `drained`: its links are ended too."""

    carrier: str
    drained: bool
    at: int
    by: str  # SPIFFE ID
    reason: str  # in the operator's words


class Selection(NamedTuple):
    """Messages by what they have in common; what is empty selects all. `carrier` is that of the last attempt,
    `recipient_hashes` are those of one recipient under each hash key in use, and `owner` is the SPIFFE ID of who sent
    them. `accepted_until` leaves out those accepted later: what was held or withdrawn when an identity was revoked does
    not meet what the same identity sends afterwards."""

    tenant: str = ""
    category: int = 0
    carrier: str = ""
    recipient_hashes: tuple[bytes, ...] = ()
    owner: str = ""
    accepted_until: int = 0  # 0: whenever

    @property
    def name(self) -> Selection:
        """What it is known by: there is one hold of each name, however far it reaches."""
        return self._replace(accepted_until=0)

    def covers(
        self, tenant: str, category: int, carrier: str, recipient_hash: bytes, owner: str = "", message_id: bytes = b""
    ) -> bool:
        """Say whether a message is one of them; one without an id is a new one."""
        return (
            (not self.tenant or tenant == self.tenant)
            and (not self.category or category == self.category)
            and (not self.carrier or carrier == self.carrier)
            and (not self.recipient_hashes or recipient_hash in self.recipient_hashes)
            and (not self.owner or owner == self.owner)
            and (not self.accepted_until or (bool(message_id) and made_at(message_id) <= self.accepted_until))
        )


class MessageHold(NamedTuple):
    """Messages that are not sent. `shown` is the masked recipient, for people."""

    selection: Selection  # without a carrier
    shown: str
    at: int
    by: str  # SPIFFE ID
    reason: str  # in the operator's words


class Place(NamedTuple):
    """Where a scan of the queues goes on: behind this row."""

    queue: int
    due_at: int
    tenant: int
    id: bytes


class Purged(NamedTuple):
    """What one step of a purge did, or would do. `doubtful`: messages of the selection that may have left, and stay."""

    cancelled: int
    doubtful: int
    after: Place | None  # where the next step begins; None: this was the last one


class Purge(NamedTuple):
    """One step of a purge: at most `limit` rows are looked at. `record` says who wants it, when and why; it is written
    with the number of messages that the step has cancelled, unless that is none."""

    selection: Selection
    after: Place | None
    limit: int
    record: OperatorActed


class Unparked(NamedTuple):
    """What one step of `unpark` did."""

    moved: int
    after: Place | None


class Backlog(NamedTuple):
    """How many messages of a tenant are in a queue, by its name, and since when the oldest of them is due."""

    queue: str
    tenant: str
    messages: int
    oldest_due_at: int
    at_least: bool  # the queue is longer than was looked at: there may be more


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

    async def hold_messages(self, hold: MessageHold, audit: Sequence[Record] = ()) -> None:
        """Hold messages back; it replaces what was said of a selection of that name before. Raises Overloaded
        (TOO_MANY_HOLDS) beyond `MAX_MESSAGE_HOLDS`, or `MAX_OWNER_HOLDS` of those that name an owner."""

    async def free_messages(self, selection: Selection, audit: Sequence[Record] = ()) -> bool:
        """Let messages go on; False when nothing held a selection of just this name."""

    async def message_holds(self) -> list[MessageHold]:
        """Return all holds of messages, the oldest first."""

    async def backlog(self, limit: int) -> list[Backlog]:
        """Return who has most open messages in which queue, at most `limit`; of each queue the first `BACKLOG_LOOK`
        messages are looked at, those that are due first."""

    async def park(self, batch: Sequence[tuple[str, bytes]]) -> int:
        """Move claimed messages (tenant, id) to the held queue of their category; those that are not claimed any more
        are left alone. Returns how many were moved."""

    async def unpark(self, holds: Sequence[Selection], after: Place | None, limit: int) -> Unparked:
        """Move held messages that none of `holds` covers back into their waiting queue, of at most `limit` rows."""

    async def purge_messages(self, step: Purge, audit: Sequence[Record] = ()) -> Purged:
        """Cancel messages of a selection that have not left: ACCEPTED, wherever they wait (reason PURGED). `audit` is
        committed with it."""

    async def count_purge(self, step: Purge) -> Purged:
        """Return what `purge_messages` would do, and change nothing."""
