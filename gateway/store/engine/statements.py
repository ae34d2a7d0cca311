"""The port between the steps of a message and a database: which statements an engine brings, in its own dialect.

What a statement takes and gives is said by where it is used; an engine's own text stands beside the name. Bindings are
positional. `db` is an engine's connection, which nobody but the engine looks into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Value: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Value, ...]


class Write(Protocol):
    """An INSERT, UPDATE or DELETE over many rows of bindings; nothing happens for no rows."""

    def run(self, db: Any, rows: Sequence[Row]) -> None:
        """Execute it for all rows. An error may come as late as the commit."""

    def count(self, db: Any, rows: Sequence[Row]) -> int:
        """Execute it for all rows; returns how many rows of the database changed."""


class Select(Protocol):
    """A SELECT with many rows in its answer. Columns are typed where they are unpacked."""

    def rows(self, db: Any, bindings: Sequence[Value]) -> list[Any]:
        """Return the rows as tuples."""


class Lookup(Protocol):
    """A SELECT over many rows of bindings."""

    def find(self, db: Any, rows: Sequence[Row]) -> list[Any]:
        """Return the rows found, in the order of `rows`; their first column is the index into `rows`."""


class Plain(Protocol):
    """A statement with one row of bindings, and few rows in its answer."""

    def fetch(self, db: Any, bindings: Sequence[Value] = ()) -> list[Any]:
        """Execute it; returns the rows of its answer."""

    def change(self, db: Any, bindings: Sequence[Value] = ()) -> int:
        """Execute it; returns how many rows of the database changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesSql:
    """Interned names, of tenants or of carriers."""

    insert: Plain  # → no
    all: Plain  # → name, no


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionSql:
    """What every transaction loads and writes."""

    tenants: NamesSql
    carriers: NamesSql
    kept: Plain  # → carrier_no, unmatched receipts
    held: Plain  # → tenant_no, inbound parts that wait
    count: Write  # name, number


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptingSql:
    """New messages and their keys."""

    messages: Write
    bodies: Write
    traces: Write
    keys: Write  # counts those that were free
    live_holders: Lookup  # key_hash, at → n, message_id, content_hash, state, segments


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditingSql:
    """The audit, read."""

    sizes: Select  # after, limit → seq, octets
    commits: Select  # after, last → AuditCommit
    bounds: Plain  # → oldest, newest
    first: Plain  # seq → seq and time of the first commit that is not below it


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitingSql:
    """Messages that wait for a receipt."""

    messages: Select
    names: Plain  # tenant_no, carrier_no → tenant, carrier
    tenant: Plain  # name → no


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimingSql:
    """From the queues into memory, and from there to a link."""

    soonest: Select  # queue, now, how many to look at, limit: those whose validity ends first
    due: Select  # queue, now, limit: those that have been due for the longest
    take: Write
    send: Write
    gone: Lookup  # tenant_no, id → n of those that may not go
    release: Write  # tenant_no, id, ways: from memory back into the queue


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingSql:
    """Ends of messages that no carrier brings."""

    cancel: Plain  # tenant_no, id, now
    waiting_over: Select  # now, limit → tenant_no, id, carrier_no, state, category
    claimed_over: Select
    awaiting_over: Select
    expire: Write
    in_doubt: Select  # → tenant_no, id, category, expires_at, carrier_no
    doubt: Write
    reclaim: Plain
    purge_expired: tuple[Plain, ...]  # before, limit: what has a time of its own
    purge_receipts: tuple[Plain, ...]  # before, limit: receipts, by when they came


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUseSql:
    """By which keys messages were sealed."""

    page: Select  # queue, due_at, tenant_no, id, limit → due_at, tenant_no, id, key of the envelope, of the content


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingSql:
    """What operators hold back."""

    hold_carrier: Plain
    free_carrier: Plain
    carriers: Plain
    number_carriers: Plain
    hold_messages: Plain
    free_messages: Plain
    messages: Plain
    number_messages: Plain  # that name no owner
    number_owners: Plain  # that name one
    page: Select  # a Place, limit
    owned_page: Select  # the same with owners
    park: Write
    unpark: Write


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSql:
    """Parts of messages from handsets."""

    see: Plain  # fingerprint, seen_until, at: changes nothing when it is known
    seen_older: Plain
    held_older: Plain
    drop_stale: Plain
    hold: Plain  # changes nothing when it is there
    held_parts: Plain
    move: Plain  # tenant_no, group_hash, id
    release: Plain
    store: Plain
    oldest_group: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingSql:
    """Receipts that match nothing."""

    keep: Write  # counts those that are new
    refuse: Plain  # → how often it has come
    oldest: Plain  # limit: deletes them → carrier_no
    kept: Lookup
    forget: Write
    unmatched: Select


@dataclass(frozen=True, slots=True, kw_only=True)
class NotingSql:
    """Receipts that should not have come."""

    note: Write
    last: Plain  # oddity → no
    drop: Plain  # oddity, up to no
    noted: Select


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgingSql:
    """What operators withdraw."""

    purge: Write


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSql:
    """Look-ups."""

    one: Plain  # tenant, id → MessageRow
    list: Select  # tenant, before, limit, states as bits, the least id
    list_recipient: Select  # and a recipient's hash
    reach: Plain  # tenant, before, how many to pass over → id
    events: Select  # tenant, after, limit
    inbound_parts: Select  # tenant, after, last → seq, payload
    bounds: Plain  # tenant → oldest, newest
    next_due: Plain  # queue → due_at
    head: Plain  # queue, limit → number up to it, the earliest due_at
    slice_end: Plain  # queue, due_at, tenant_no, id, how many to pass over → due_at, tenant_no, id
    slice_rest: Plain  # queue, due_at, tenant_no, id, limit → number behind that place, up to it
    backlog: Select  # queue, messages to look at, limit → tenant, number, due_at, number of all looked at
    in_memory: Plain  # → whether SENDING, number, due_at
    unmatched: Plain  # → number
    counters: Plain  # → name, value


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivingSql:
    """Receipts that lead to a message. `find` and `older` give n, place, message_id, part_states, facts: see there."""

    find: Lookup
    older: Lookup
    asked: Lookup
    traces: Lookup
    end: Write
    parts: Write


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencingSql:
    """The transparency log over the audit."""

    lease: Plain  # holder, epoch, microseconds → LogHead
    release: Plain  # epoch
    advance: Plain  # new size, epoch, size
    put: Write  # LogTile
    publish: Plain  # note, size, epoch
    cosigned: Plain  # the same
    head: Plain  # → LogHead
    tiles: Lookup  # level, number → n, LogTile
    allow_prune: Plain  # seq, epoch
    prune: Plain  # seq


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainingSql:
    """What is let go of."""

    marks: Select  # → tenant_no, categories, stage, up_to
    mark: Plain  # tenant_no, categories, stage → up_to
    set_mark: Plain  # and up_to
    first: Plain  # tenant_no, after, before → the least id between
    page: Select  # and limit → id, category, queue, done_at, expires_at
    left: Select  # now, limit → tenant_no, stage, id, category (NULL: gone), queue, done_at, expires_at
    leave: Write  # tenant_no, stage, id, due_at
    drop_left: Write
    shred_content: Write  # tenant_no, id
    shred_envelope: Write  # and the content
    delete_body: Write
    delete_message: Write
    events: Select  # tenant_no, limit → seq, at: the oldest, without the newest of all
    delete_events: Plain  # tenant_no, up to seq
    delete_inbound: Plain  # tenant_no, before id, limit
    refs: Select  # carrier_no, carrier_id, limit → the same, whether the message is there
    delete_refs: Write  # carrier_no, carrier_id: unless their message is there
    delete_older_refs: Write
    refs_of: Lookup  # tenant_no, id → n, carrier_no, carrier_ids: of those that have any


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasingSql:
    """What is kept of one person, and keys that are to be destroyed."""

    sealed: Lookup  # tenant_no, id → n, id, queue, envelope, content, carrier_no, carrier_ids
    parts: Select  # tenant_no, id, part, limit → tenant_no, id, part, payload
    parts_of: Select  # the same of one tenant_no, which stands before limit
    held: Select  # → tenant_no, group_hash, part, payload
    kept: Select  # → the key of a kept receipt, at, network_error
    noted: Select  # → at, carrier_no, carrier_id, message_id, stat, network_error
    retire: Write  # key_id, tenant_no, since: the first stays
    retiring: Select  # → the same and the oldest message sealed anew under it, or b""
    drop_retiring: Write
    drop_resealing: Write
    note_resealing: Write  # key_id, oldest
    erase_body: Write  # tenant_no, id
    erase_message: Write
    erase_refs: Write  # carrier_no, carrier_id, tenant_no, message_id
    erase_older_refs: Write
    erase_parts: Write  # tenant_no, id, part
    erase_held: Write  # tenant_no, group_hash, part
    erase_kept: Write
    erase_noted: Write  # message_id
    page_end: Plain  # tenant_no, after, before, limit - 1 → id
    under: Select  # tenant_no, after, up to, key_id → id, queue, expires_at, envelope, content
    reseal: Write  # tenant_no, id, old envelope, old content, new envelope, new content
    reseal_parts: Write  # tenant_no, id, part, old, new


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexingSql:
    """Versions of the index key, and which data keys are needed."""

    note: Write  # version, since: the first stays
    since: Plain  # version → since
    all: Select  # → version, since
    first: Plain  # at least → the least recipient_hash of all, NULL for none
    count: Plain  # from, to, limit → number, those without an envelope
    keys: Plain  # from, to → a row when there is one
    page: Select  # tenant_no, hash, id, to, limit → id, recipient_hash, envelope: behind the one named, in any order
    rehash: Write  # tenant_no, id, old, new
    oldest_part: Plain  # tenant_no → id
    left: Select  # tenant_no, stage, limit → envelope, content


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlingSql:
    """What became of attempts."""

    unusual: Lookup
    settle: Write
    submitted: Write  # the usual one: tenant_no, id, due_at, at, carrier_no, carrier_ids, part_states
    new_refs: Write  # counts those that are new
    newest_refs: Write
    holders: Lookup
    older_ref: Plain
    drop_older_refs: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSql:
    """What tenants use."""

    add: Write  # to the row of its key
    facts: Lookup  # tenant_no, id → n, Facts
    sums: Select  # first and last day, tenant, a flag for each field of By, limit
    delete: Plain  # tenant_no, before day, limit


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSql:
    """What only nodes that share a database ask for."""

    in_doubt: Select  # as of ClosingSql, of nodes that are gone
    reclaim: Plain
    ways: NamesSql
    next_due: Plain  # queue, ways → due_at
    wish: Plain  # carrier
    unwish: Plain
    wishers: Plain  # carrier → registrations in force
    held_slots: Plain  # carrier → numbers
    take_slot: Plain  # carrier, number: changes nothing when another node has it
    free_slot: Plain
    missed: Select  # since, limit → carrier_no, carrier_id: of receipts that were kept, and need not be


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """All that an engine brings."""

    transaction: TransactionSql
    accepting: AcceptingSql
    auditing: AuditingSql
    awaiting: AwaitingSql
    claiming: ClaimingSql
    closing: ClosingSql
    holding: HoldingSql
    inbound: InboundSql
    keeping: KeepingSql
    noting: NotingSql
    purging: PurgingSql
    reading: ReadingSql
    receiving: ReceivingSql
    sequencing: SequencingSql
    retaining: RetainingSql
    erasing: ErasingSql
    indexing: IndexingSql
    settling: SettlingSql
    usage: UsageSql
    key_use: KeyUseSql
    sharing: SharingSql | None = None  # None: the database is one node's
