"""Taking messages into memory, and committing them to a carrier link."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from gateway.states import Category
from gateway.store.contract import Sending, Waiting, waiting_queue
from gateway.store.sqlite.bulk import Lookup, Row, Select, Write
from gateway.store.sqlite.transaction import Transaction


class Claim(NamedTuple):
    """One call of `claim`."""

    category: Category
    limit: int
    now: int


# Rows past their validity stay for close_due.
DUE = Select(
    "tenant_no :id category sender :envelope :content segments due_at expires_at attempts state part_states"
    " carrier_ids carrier_no owner country :trace reason_code :recipient_hash",
    "SELECT m.tenant_no, m.id, m.category, b.sender, b.envelope, b.content, m.segments, m.due_at, m.expires_at,"
    " m.attempts, m.state, m.part_states, m.carrier_ids, m.carrier_no, b.owner, b.country,"
    " m.trace, m.reason_code, m.recipient_hash FROM message AS m"
    " INDEXED BY message_queue CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " WHERE m.queue = ? AND m.due_at <= ? AND m.expires_at > ? ORDER BY m.due_at LIMIT ?",
)
TAKE = Write(
    "WITH v (tenant_no, id) AS (VALUES {values}) UPDATE message SET queue = 20 FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?)",
)
# Parts answered by another carrier say nothing about this attempt.
SEND = Write(
    "WITH v (tenant_no, id, carrier_no, at, sender) AS (VALUES {values}) UPDATE message SET state = 2,"
    " sending_at = v.at, attempts = attempts + 1, carrier_no = v.carrier_no,"
    " part_states = iif(message.carrier_no = v.carrier_no, part_states, ''),"
    " carrier_ids = iif(message.carrier_no = v.carrier_no, carrier_ids, ''), told_sender = nullif(v.sender, '') FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?)",
)
# Finds those that may not go: not there, not claimed, or in another state than ACCEPTED and UNKNOWN.
_GONE = Lookup(
    "n",
    "n, tenant_no, id",
    "SELECT v.n FROM v LEFT JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " WHERE m.queue IS NOT 20 OR m.state NOT IN (1, 9)",
    "({n},?,?)",
)

Keyed = TypeVar("Keyed", bound=tuple[object, ...])


def runs_of_distinct(batch: Sequence[Keyed]) -> Iterator[Sequence[Keyed]]:
    """Cut a batch so that no run names a message (its first two fields) twice: usually it is one run."""
    if len({item[1] for item in batch}) == len(batch):
        yield batch
        return
    run: list[Keyed] = []
    seen: set[object] = set()
    for item in batch:
        key = item[:2]
        if key in seen:
            yield run
            run, seen = [], set()
        seen.add(key)
        run.append(item)
    yield run


def claim(tx: Transaction, batch: Sequence[Claim]) -> list[list[Waiting]]:
    """Move what is due from the waiting queues to CLAIMED."""
    return [_claim(tx, *call) for call in batch]


def _claim(tx: Transaction, category: Category, limit: int, now: int) -> list[Waiting]:
    rows = DUE.rows(tx.db, (waiting_queue(category), now, now, limit))
    TAKE.run(tx.db, [row[:2] for row in rows])
    tenants, carriers = tx.tenants.names, tx.carriers.names
    return [Waiting._make((tenants[row[0]], *row[1:-6], carriers[row[-6]], *row[-5:])) for row in rows]


def sending(tx: Transaction, batch: Sequence[Sending]) -> list[bool]:
    """Commit claimed messages to carrier links."""
    moved: list[bool] = []
    for run in runs_of_distinct(batch):
        moved += _send(tx, run)
    return moved


def _send(tx: Transaction, batch: Sequence[Sending]) -> list[bool]:
    known = tx.tenants.known
    gone = {n for (n,) in _GONE.find(tx.db, [(known(tenant), message_id) for tenant, message_id, *_ in batch])}
    rows: list[Row] = []
    together: dict[tuple[int, str, str, str, str, str], list[bytes]] = {}
    for number, (tenant, message_id, carrier, at, policy, route, sender) in enumerate(batch):
        if number not in gone:
            rows.append((known(tenant), message_id, tx.carriers.number(tx.db, carrier), at, sender))
            together.setdefault((at, tenant, carrier, policy, route, sender), []).append(message_id)
    SEND.run(tx.db, rows)
    for (at, tenant, carrier, policy, route, sender), message_ids in together.items():
        tx.records.sending(at, tenant, carrier, policy, message_ids, route=route, sender=sender)
    return [number not in gone for number in range(len(batch))] if gone else [True] * len(batch)
