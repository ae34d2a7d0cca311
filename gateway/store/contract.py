"""What every store engine does, in the records that cross its border.

The store owns durability and the atomic steps of a message: each coroutine below is one transaction, and returns after
that transaction is on disk. It must not know gRPC, SMPP, keys or texts: payloads are opaque blobs here.

Times are integers: microseconds since the Unix epoch, UTC (`*_at`). Hot records are NamedTuples, in the order of the
columns: a frozen dataclass costs three times as much to build, once per message and step.

Queues. Every open message is in exactly one queue (`Queue`), with a time at which something is due there:

    HELD_*      held back by an operator (`gateway.store.operating`)
    WAITING_*   not claimed; `due_at` is when it may be sent (a queue for each category)
    CLAIMED     in the memory of the node; after a restart nobody has it, and `recover` puts it back
    SENDING     committed to a carrier link; `recover` treats it as in doubt
    AWAITING    nothing to do until a receipt, or until `due_at`, when `close_due` ends it

A final message is in no queue.

Audit. Every change that is made here is recorded in the same transaction (`gateway.audit.records`); what a commit
records is one `AuditCommit`. A record that cannot be written makes the whole call fail.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.audit.records import Record
from gateway.states import Category
from gateway.store.erasure import ErasureStore
from gateway.store.history import HistoryStore
from gateway.store.indexing import IndexStore
from gateway.store.key_use import KeyUseStore
from gateway.store.nodes import Carriers, Recovered, SharedStore
from gateway.store.operating import OperatingStore
from gateway.store.receipts import ReceiptStore
from gateway.store.retention import RetentionStore
from gateway.store.sequencing import SequencingStore
from gateway.store.upkeep import UpkeepStore
from gateway.store.usage import Bill, Correction, UsageStore


class Queue(enum.IntEnum):
    """Where an open message waits; stored."""

    HELD_OTP = 1
    HELD_TRANSACTIONAL = 2
    HELD_PROMOTIONAL = 3
    WAITING_OTP = 11
    WAITING_TRANSACTIONAL = 12
    WAITING_PROMOTIONAL = 13
    CLAIMED = 20
    SENDING = 30
    AWAITING = 40


def waiting_queue(category: int) -> int:
    """Return the queue in which messages of `category` wait unclaimed."""
    return 10 + category


class NewMessage(NamedTuple):
    """A message to store, ACCEPTED. `envelope` and `content` are sealed payloads, opaque here."""

    tenant: str
    id: bytes
    owner: str  # the caller's SPIFFE ID
    category: int
    sender: str
    masked_recipient: str
    recipient_hash: bytes  # keyed, 16 bytes
    envelope: bytes  # recipient, client reference, labels
    content: bytes
    encoding: int  # smsgw.v1.Encoding; 0 for sealed content
    segments: int  # 0: not known yet (sealed content)
    accepted_at: int
    due_at: int  # not before this time
    expires_at: int
    claimed: bool  # True: the accepting node keeps it in memory (CLAIMED); False: it waits in the store
    idempotency: Idempotency | None
    country: str  # of the recipient: ISO 3166-1 alpha-2, "ZZ" for none that is known
    commitment: bytes  # to what the message is, for the audit: 32 octets (gateway.commitments)
    trace: bytes = b""  # of a message that is traced: the context its later spans belong to (gateway.telemetry.context)
    reserved: int = 0  # of its tenant's money, until a carrier takes it (gateway.store.usage)
    ways: str = ""  # where nodes share the database: the carriers that can send it, see `gateway.store.nodes.ways_of`


class Idempotency(NamedTuple):
    """The keyed hashes of (tenant, SPIFFE ID, key) and of the content, 32 bytes each; kept until `expires_at`.

    `older` has the same two under each older hash key that is still in use: a live record under one of them counts as
    this key's own, and nothing is written under them.
    """

    key_hash: bytes
    content_hash: bytes
    expires_at: int
    older: tuple[tuple[bytes, bytes], ...] = ()


class Verdict(enum.Enum):
    """What `accept` did with a message."""

    STORED = 1
    REPLAYED = 2  # the key is known with the same content: `id`, `state` and `segments` are those of that message
    CONFLICT = 3  # the key is known with other content


class Accepted(NamedTuple):
    """The answer to one NewMessage."""

    verdict: Verdict
    id: bytes
    state: int
    segments: int


class Waiting(NamedTuple):
    """A message in the hands of the dispatcher: all that is needed to send it."""

    tenant: str
    id: bytes
    category: int
    sender: str
    envelope: bytes
    content: bytes
    segments: int
    due_at: int
    expires_at: int
    attempts: int
    state: int  # ACCEPTED, or UNKNOWN when it is a resend
    part_states: str  # "" or one PartState for each part: parts already answered are not sent again
    carrier_ids: str  # "" or one carrier id a part, joined by "\n", empty for a part not answered
    carrier: str  # the carrier of the last attempt, "" before the first
    owner: str  # the SPIFFE ID of the caller that sent it: policies ask about the route again, see gateway.policy
    country: str
    trace: bytes = b""
    reason: str = ""  # the reason code of its last settlement
    recipient_hash: bytes = b""  # keyed: whether its recipient is one that is held back
    reserved: int = 0  # for it, while it has never been submitted


class Sending(NamedTuple):
    """Commit a claimed message to a carrier link: ACCEPTED or UNKNOWN → SENDING, attempts + 1."""

    tenant: str
    id: bytes
    carrier: str
    at: int
    policy: str = ""  # that permits this route: for the audit, as the two below
    route: str = ""  # the configured route, "" where there is none
    sender: str = ""  # that the carrier is told instead of the message's own; "" for the same


class RouteDenial(NamedTuple):
    """Why a message may not go by a carrier: for the audit."""

    carrier: str
    reason: str
    policy: str


class Settlement(NamedTuple):
    """What became of a SENDING message, or of a claimed one that is not to be sent after all.

    `state` is SUBMITTED, REJECTED, UNKNOWN, EXPIRED or ACCEPTED (back to waiting: try again at `due_at`).
    """

    tenant: str
    id: bytes
    state: int
    at: int
    carrier: str
    carrier_ids: str  # as the carrier wrote them: see `Waiting`
    part_states: str
    queue: int | None  # where it goes: a waiting queue, AWAITING, or None for a final state
    due_at: int
    reason_code: str
    reason_text: str
    smpp_status: int | None
    cause: str  # counted under this name when not empty: "resend.link_lost", "retry.throttled", ...
    denied: RouteDenial | None = None  # it is not sent because of this
    refs: str = ""  # carrier_ids in the form in which receipts give them, one a part; "" when that is the same
    parts_rule: int = 0  # of the carrier (gateway.states.PartsRule): needed where receipts came before
    only_from: int = 0  # when the message is in this state, and else only `refs` count; 0: whenever it is legal
    bill: Bill | None = None  # of an attempt; None: no carrier was asked


class NewInboundPart(NamedTuple):
    """One deliver_sm from a handset. Parts with the same `group_hash` make one message."""

    tenant: str
    id: bytes  # the inbound id to use when this part completes the message
    carrier: str
    group_hash: bytes  # keyed hash of (carrier, sender, recipient, reference, total), 16 bytes; b"" for a single one
    part: int  # 1-based
    total: int
    payload: bytes  # `id`, then, sealed under it: sender, recipient, coding and octets of this part
    fingerprint: bytes  # keyed hash of the whole PDU, 16 bytes: a redelivered deliver_sm is recognised by it
    seen_until: int  # the fingerprint is remembered until then
    at: int
    expires_at: int  # an incomplete group is dropped after this
    older: tuple[tuple[bytes, bytes], ...] = ()  # group_hash and fingerprint under each older hash key still in use


class InboundVerdict(enum.Enum):
    """What `inbound` did with one."""

    COMPLETED = 1  # an event was written
    HELD = 2  # waits for its other parts
    DUPLICATE = 3  # seen before: nothing written


class MessageRow(NamedTuple):
    """A message as it stands, for GetMessage and ListMessages."""

    tenant: str
    id: bytes
    owner: str
    category: int
    state: int
    sender: str
    masked_recipient: str
    envelope: bytes
    encoding: int
    segments: int
    accepted_at: int
    due_at: int
    expires_at: int
    sending_at: int | None
    submitted_at: int | None
    done_at: int | None
    carrier: str
    attempts: int
    carrier_ids: str
    part_states: str
    reason_code: str
    reason_text: str
    smpp_status: int | None
    network_error: str
    operator_done_at: int | None  # what the receipt that ended it says of the time
    told_sender: str = ""  # the sender that the carrier was told at the last attempt
    content_kept: int = 1  # 0: its content was let go of (gateway.store.retention)


class EventRow(NamedTuple):
    """One event of a tenant's log. For a state change the message's own columns come with it; for an inbound message
    `parts` holds the sealed payloads of its parts in order."""

    seq: int
    at: int
    message_id: bytes  # the inbound id for an inbound message
    state: int  # 0 for an inbound message
    category: int
    masked_recipient: str
    envelope: bytes
    segments: int
    carrier: str
    reason_code: str
    reason_text: str
    smpp_status: int | None
    network_error: str
    operator_done_at: int | None
    parts: tuple[bytes, ...]


class AuditCommit(NamedTuple):
    """The audit of one commit of the store: the frames of its records, see `gateway.audit.codec`."""

    seq: int  # counts commits that have records, from 1, without a gap
    at: int  # when it was committed
    number: int  # of records
    records: bytes


class ListFilter(NamedTuple):
    """What `list_messages` returns; empty fields do not filter."""

    states: tuple[int, ...]
    recipient_hashes: tuple[bytes, ...]
    down_to: bytes = b""  # the least id


# Called in the event loop after each commit that wrote events, with the tenants concerned.
CommitListener = Callable[[frozenset[str]], None]


# A message that came to its end otherwise than by its settlement: carrier ("" for none), category, final state, and the
# microseconds since it was submitted when a receipt ended it, else -1. A plain tuple: there is one for each message.
Ended = tuple[str, int, int, int]


class TracedReceipt(NamedTuple):
    """A receipt that changed a message which is traced."""

    trace: bytes
    carrier: str
    part_state: str
    at: int
    state: int  # of the message afterwards


class Committed(NamedTuple):
    """What one transaction did, for telemetry. Durations in seconds."""

    rows: int  # that were handed over
    duration_s: float
    fsync_s: float  # the part of it that put it on disk
    ended: Sequence[Ended]
    receipts: Sequence[TracedReceipt]
    corrections: Sequence[Correction] = ()


# Called in the event loop after each commit, before the calls that it answers go on. It raises nothing.
CommitObserver = Callable[[Committed], None]


class Store(
    OperatingStore,
    ReceiptStore,
    SequencingStore,
    HistoryStore,
    UsageStore,
    RetentionStore,
    SharedStore,
    ErasureStore,
    KeyUseStore,
    IndexStore,
    UpkeepStore,
    Protocol,
):
    """One node's way to the database. All coroutines belong to the event loop that called `open`.

    Writes that arrive while a commit runs are committed together by the next one. The number of unfinished writes is
    bounded: beyond it they raise `Overloaded`. A database that cannot write makes them raise `StoreUnavailable`; after
    either, nothing of the call has been stored.
    """

    async def open(self) -> None:
        """Open the database, migrate it forward, start the writer. Raises StoreUnavailable or StoreCorrupt."""

    async def close(self) -> None:
        """Finish what has been handed over, then close. Idempotent."""

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` after each commit that wrote events."""

    def observe(self, observer: CommitObserver) -> None:
        """Tell `observer` of each commit."""

    async def accept(self, batch: Sequence[NewMessage], audit: Sequence[Record] = ()) -> list[Accepted]:
        """Store messages with their idempotency records and first events; an answer for each, in order.

        `audit`, here and in `cancel`: the decisions that allowed it, committed with it or not at all.
        """

    async def replays(self, batch: Sequence[Idempotency], now: int) -> list[Accepted | None]:
        """Return what `accept` would answer, at `now`, to messages whose keys others hold; None for a free key. It
        stores nothing, and sees what has been committed."""

    async def claim(self, category: Category, limit: int, now: int, carriers: Carriers = None) -> list[Waiting]:
        """Move up to `limit` messages whose time has come from their waiting queue to CLAIMED: first those whose
        validity ends first.
        With `carriers` only those that one of these can send, and those of which nobody knows."""

    async def next_due(self, category: Category, carriers: Carriers = None) -> int | None:
        """Return the earliest `due_at` that waits in the category's queue, of what `claim` would take with these
        carriers; None when nothing waits there."""

    async def sending(self, batch: Sequence[Sending]) -> list[bool]:
        """Commit messages to carrier links. False for one that was cancelled or closed meanwhile: do not send it."""

    async def settle(self, batch: Sequence[Settlement]) -> list[int]:
        """Record outcomes, and match kept receipts to the new carrier ids; the state of each message afterwards."""

    async def inbound(self, batch: Sequence[NewInboundPart]) -> list[InboundVerdict]:
        """Store parts of inbound messages; the part that completes one writes its event.

        The parts that wait are bounded, for each tenant and altogether: beyond a bound the tenant's incomplete message
        that would expire first is dropped (counted as "inbound.dropped").
        """

    async def cancel(
        self, tenant: str, message_id: bytes, now: int, by: str = "", audit: Sequence[Record] = ()
    ) -> tuple[bool, MessageRow | None]:
        """Cancel a message that has not been SENT: (True, row), or (False, row as it stands); row None: no such id.

        `by` is the SPIFFE ID of the caller that wants it.
        """

    async def close_due(self, now: int, limit: int) -> int:
        """End messages whose time is over: waiting beyond expires_at, or awaiting beyond due_at; returns how many."""

    async def recover(self, now: int, resend: frozenset[Category]) -> Recovered:
        """Once after `open`, before any claim, of what this node had and nobody else has: CLAIMED → waiting; SENDING →
        UNKNOWN, waiting to be sent again for the
        categories in `resend` (cause "resend.restart"), else AWAITING."""

    async def purge(self, now: int, limit: int) -> int:
        """Delete expired idempotency records, incomplete inbound groups and old fingerprints; returns how many."""

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Return up to `limit` commits of the audit above `after_seq`, in order; fewer when they are large, and at
        least one when there is any."""

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit of the audit, the seq of the newest)."""

    async def get_message(self, tenant: str, message_id: bytes) -> MessageRow | None:
        """Return one message of the tenant."""

    async def list_messages(self, tenant: str, where: ListFilter, before: bytes | None, limit: int) -> list[MessageRow]:
        """Return messages of the tenant with ids below `before`, newest first."""

    async def list_reach(self, tenant: str, before: bytes | None, rows: int) -> bytes | None:
        """Return the id of the message of the tenant that is `rows` places below `before`: what a look at so many
        reaches. None when there are not so many."""

    async def events(self, tenant: str, after: int, limit: int) -> list[EventRow]:
        """Return the tenant's events with `seq` above `after`, in order."""

    async def event_bounds(self, tenant: str) -> tuple[int, int]:
        """Return (the seq before the oldest event kept, the seq of the newest event committed)."""

    async def counts(self) -> dict[str, int]:
        """Return counters for people: `queue.<NAME>` sizes, `oldest_due_at.<NAME>`, `receipts.unmatched` that are kept,
        and every counted cause."""
