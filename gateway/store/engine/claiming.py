"""Taking messages into memory, and committing them to a carrier link."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from operator import itemgetter
from typing import NamedTuple, TypeVar

from gateway.states import Category
from gateway.store.contract import Sending, Waiting, waiting_queue
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction
from gateway.store.nodes import Carriers, Released


class Claim(NamedTuple):
    """One call of `claim`."""

    category: Category
    limit: int
    now: int
    carriers: Carriers = None


# Entries of the index that a claim looks at beside those that it wants: messages for later are among them.
_LOOK = 5_000
_BY_VALIDITY = itemgetter(8, 7, 0, 1)  # expires_at, due_at, tenant, id

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


def _claim(tx: Transaction, category: Category, limit: int, now: int, carriers: Carriers) -> list[Waiting]:
    taken: list[Waiting] = []
    for of in tx.sets(carriers):
        if len(taken) < limit:
            taken += _claim_of(tx, category, limit - len(taken), now, of)
    return taken


def _claim_of(tx: Transaction, category: Category, limit: int, now: int, of: tuple[int, ...]) -> list[Waiting]:
    sql, queue = tx.sql.claiming, waiting_queue(category)
    rows = sql.soonest.rows(tx.db, (queue, now, limit + _LOOK, limit, *of))
    rows.sort(key=_BY_VALIDITY)
    sql.take.run(tx.db, [row[:2] for row in rows])
    if len(rows) < limit:  # what is for later, and ends before what is due, can stand in the way of that
        more = sql.due.rows(tx.db, (queue, now, now, limit - len(rows), *of))
        sql.take.run(tx.db, [row[:2] for row in more])
        rows += more
    tenants, carriers = tx.tenants.names, tx.carriers.names
    return [Waiting._make((tenants[row[0]], *row[1:-7], carriers[row[-7]], *row[-6:])) for row in rows]


def sending(tx: Transaction, batch: Sequence[Sending]) -> list[bool]:
    """Commit claimed messages to carrier links."""
    moved: list[bool] = []
    for run in runs_of_distinct(batch):
        moved += _send(tx, run)
    return moved


def _send(tx: Transaction, batch: Sequence[Sending]) -> list[bool]:
    sql, known, number = tx.sql.claiming, tx.tenants.known, tx.carriers.number
    rows: list[Row] = [
        (known(tenant), message_id, number(tx.db, carrier), at, sender)
        for tenant, message_id, carrier, at, _, _, sender in batch
    ]
    gone = {n for (n,) in sql.gone.find(tx.db, [row[:2] for row in rows])}
    moved = [n not in gone for n in range(len(batch))] if gone else [True] * len(batch)
    if gone:
        rows, batch = list(compress(rows, moved)), list(compress(batch, moved))
    sql.send.run(tx.db, rows)
    _tell_sending(tx, batch)
    return moved


def _tell_sending(tx: Transaction, batch: Sequence[Sending]) -> None:
    """Tell the audit, together what goes the same way."""
    together: dict[tuple[int, str, str, str, str, str], list[bytes]] = {}
    for tenant, message_id, carrier, at, policy, route, sender in batch:
        together.setdefault((at, tenant, carrier, policy, route, sender), []).append(message_id)
    for (at, tenant, carrier, policy, route, sender), message_ids in together.items():
        tx.records.sending(at, tenant, carrier, policy, message_ids, route=route, sender=sender)


def release(tx: Transaction, batch: Sequence[Released]) -> list[int]:
    """Give claimed messages back; the first result is the number of all."""
    known = tx.tenants.known
    rows: list[Row] = [(known(tenant), message_id, tx.ways_no(ways)) for tenant, message_id, ways in batch]
    return [tx.sql.claiming.release.count(tx.db, rows), *[0] * (len(batch) - 1)]
