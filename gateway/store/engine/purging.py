"""Cancelling what waits of a selection, and counting it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.states import Category, State
from gateway.store.contract import Queue, waiting_queue
from gateway.store.engine.database import Look
from gateway.store.engine.holding import covered, page
from gateway.store.engine.statements import Row
from gateway.store.engine.tally import count_ends
from gateway.store.engine.transaction import Transaction, read_names
from gateway.store.operating import Place, Purge, Purged, Selection

_PURGED = ("PURGED", "withdrawn by those who operate the gateway")


def purge_messages(tx: Transaction, batch: Sequence[Purge]) -> list[Purged]:
    """Do steps of purges."""
    return [_purge(tx, step) for step in batch]


def _purge(tx: Transaction, step: Purge) -> Purged:
    rows, following = _page(tx, step)
    chosen = list(_covered(rows, step.selection, tx.tenants.names, tx.carriers.names))
    accepted = [row for row in chosen if row[5] == State.ACCEPTED]
    now, by = step.record.at, step.record.by
    changes: list[Row] = [(tenant_no, message_id, now, *_PURGED) for tenant_no, message_id, *_ in accepted]
    if accepted:
        tx.records.add([step.record._replace(number=len(accepted))])
    tx.sql.purging.purge.run(tx.db, changes)
    for tenant_no, message_id, _, category, carrier_no, before, *_ in accepted:
        tx.ended.append((tx.carriers.names[carrier_no], category, int(State.CANCELLED), -1))
        why = (*_PURGED, None, "", None)
        tx.event(tenant_no, message_id, now, before, int(State.CANCELLED), carrier_no, why, by)
    count_ends(tx, [(row[0], row[1], now, row[4], row[5], int(State.CANCELLED)) for row in accepted])
    return Purged(len(accepted), len(chosen) - len(accepted), following)


def count_purge(look: Look, step: Purge) -> Purged:
    """Return what a step would do."""
    rows, following = _page(look, step)
    tenants, carriers = (read_names(look, sql) for sql in (look.sql.transaction.tenants, look.sql.transaction.carriers))
    chosen = list(_covered(rows, step.selection, tenants, carriers))
    accepted = sum(row[5] == State.ACCEPTED for row in chosen)
    return Purged(accepted, len(chosen) - accepted, following)


def _page(look: Look, step: Purge) -> tuple[list[Any], Place | None]:
    selection = step.selection
    return page(look, _queues(selection), step.after, step.limit, owned=bool(selection.owner))


def _queues(selection: Selection) -> list[int]:
    """Return where messages of a selection may wait: in memory last, since the others may come there meanwhile."""
    categories = [selection.category] if selection.category else list(Category)
    held = [int(category) for category in categories]
    return [*held, *[waiting_queue(category) for category in categories], int(Queue.CLAIMED)]


def _covered(
    rows: Sequence[Any], selection: Selection, tenants: dict[int, str], carriers: dict[int, str]
) -> Iterator[Any]:
    for row in rows:
        sending = row[5] == State.SENDING  # it is in the queue of those in memory, and has left
        if not sending and covered(row, selection, tenants, carriers):
            yield row
