"""Letting go of what is old enough: steps over a tenant's messages in the order of their ids.

A message's id says when it was accepted, and it ends later than that. So a step takes the next ids that are old enough
to have been kept for their time; what is not final yet, or not for long enough, is noted as left, and looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.store.engine.database import Look
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction, read_names
from gateway.store.retention import LOOK_AGAIN, YOUNGEST, Due, Keeps, RefPlace, Retained, Rule, Stage
from gateway.store.usage import DAY

_NO_ID = bytes(16)
_COUNTED = {
    Stage.CONTENT: "retention.content",
    Stage.ENVELOPE: "retention.envelope",
    Stage.MESSAGE: "retention.message",
}


class Retain(NamedTuple):
    """One call of `retain`."""

    rule: Rule
    now: int
    limit: int


class RetainLeft(NamedTuple):
    """One call of `retain_left`."""

    keeps: Keeps
    now: int
    limit: int


class RetainOld(NamedTuple):
    """One call of `retain_events`, `retain_inbound` or `retain_usage`."""

    tenant: str
    before: int
    limit: int


class RetainRefs(NamedTuple):
    """One call of `retain_refs`."""

    after: RefPlace | None
    limit: int


def first_id(at: int) -> bytes:
    """Return what is less than every id made at `at` (microseconds) or later, and greater than those before."""
    return max(0, at // 1000).to_bytes(6, "big") + bytes(10)


def _bound(rule: Rule, now: int) -> bytes:
    return first_id(now - max(rule.keep, YOUNGEST))


def retain(tx: Transaction, batch: Sequence[Retain]) -> list[Retained]:
    """Do steps of rules."""
    return [_retain(tx, *step) for step in batch]


def _retain(tx: Transaction, rule: Rule, now: int, limit: int) -> Retained:
    tenant_no = tx.tenants.known(rule.tenant)
    sql, key = tx.sql.retaining, (tenant_no, rule.categories, rule.stage)
    marks = sql.mark.fetch(tx.db, key)
    up_to = bytes(marks[0][0]) if marks else _NO_ID
    rows = sql.page.rows(tx.db, (tenant_no, up_to, _bound(rule, now), limit))
    if not rows:
        return Retained(0, 0)
    due: list[Row] = []
    left: list[Row] = []
    for message_id, category, queue, done_at, expires_at in rows:
        if not rule.categories >> category & 1:
            continue
        due_at = _due_at(rule.keep, queue, done_at, expires_at)
        if queue is None and due_at <= now:
            due.append((tenant_no, message_id))
        else:
            left.append((tenant_no, rule.stage, message_id, _again(due_at, now)))
    _remove(tx, rule.stage, due)
    sql.leave.run(tx.db, left)
    sql.set_mark.change(tx.db, (*key, rows[-1][0]))
    return Retained(len(rows), len(due))


def _due_at(keep: int, queue: int | None, done_at: int | None, expires_at: int) -> int:
    """Return when a message has been kept for its time; for an open one, the earliest that this can be."""
    return (expires_at if queue is not None or done_at is None else done_at) + keep


def _again(due_at: int, now: int) -> int:
    return min(due_at, now + LOOK_AGAIN)


def _remove(tx: Transaction, stage: int, due: list[Row]) -> None:
    if not due:
        return
    sql = tx.sql.retaining
    if stage == Stage.CONTENT:
        sql.shred_content.run(tx.db, due)
    elif stage == Stage.ENVELOPE:
        sql.shred_envelope.run(tx.db, due)
    else:
        # With the message: looking for those that lead nowhere (`retain_refs`) keeps no step with a busy node.
        refs: list[Row] = [
            (carrier_no, carrier_id)
            for _, carrier_no, carrier_ids in sql.refs_of.find(tx.db, due)
            for carrier_id in carrier_ids.split("\n")
            if carrier_id
        ]
        sql.delete_body.run(tx.db, due)
        sql.delete_message.run(tx.db, due)
        _drop_refs(tx, refs)
    tx.counted[_COUNTED[Stage(stage)]] += len(due)


def _drop_refs(tx: Transaction, refs: list[Row]) -> None:
    """Delete what these ids of carriers (carrier_no, carrier_id) lead to, where that is no message."""
    tx.sql.retaining.delete_refs.run(tx.db, refs)
    tx.sql.retaining.delete_older_refs.run(tx.db, refs)


def retain_left(tx: Transaction, batch: Sequence[RetainLeft]) -> list[Retained]:
    """Look again at what was left."""
    return [_retain_left(tx, *step) for step in batch]


def _retain_left(tx: Transaction, keeps: Keeps, now: int, limit: int) -> Retained:
    sql = tx.sql.retaining
    rows = sql.left.rows(tx.db, (now, limit))
    due: dict[int, list[Row]] = {}
    done: list[Row] = []
    again: list[Row] = []
    for tenant_no, stage, message_id, category, queue, done_at, expires_at in rows:
        key = (tenant_no, stage, message_id)
        if category is None:  # the message is gone
            done.append(key)
            continue
        keep = keeps.get((tx.tenants.names[tenant_no], category, stage))
        due_at = now + LOOK_AGAIN if keep is None else _due_at(keep, queue, done_at, expires_at)
        if queue is None and due_at <= now:
            due.setdefault(stage, []).append((tenant_no, message_id))
            done.append(key)
        else:  # one that is open beyond its validity waits for a receipt, or will be ended
            again.append((*key, _again(due_at, now) if due_at > now else now + LOOK_AGAIN))
    for stage, messages in due.items():
        _remove(tx, stage, messages)
    sql.drop_left.run(tx.db, done)
    sql.leave.run(tx.db, again)
    return Retained(len(rows), sum(map(len, due.values())))


def retain_events(tx: Transaction, batch: Sequence[RetainOld]) -> list[int]:
    """Delete old events."""
    return [_retain_events(tx, *step) for step in batch]


def _retain_events(tx: Transaction, tenant: str, before: int, limit: int) -> int:
    sql, tenant_no = tx.sql.retaining, tx.tenants.known(tenant)
    last = 0
    for seq, at in sql.events.rows(tx.db, (tenant_no, limit)):
        if at >= before:
            break
        last = seq
    deleted = sql.delete_events.change(tx.db, (tenant_no, last)) if last else 0
    if deleted:
        tx.counted["retention.event"] += deleted
    return deleted


def retain_inbound(tx: Transaction, batch: Sequence[RetainOld]) -> list[int]:
    """Delete old messages from handsets."""
    return [_retain_inbound(tx, *step) for step in batch]


def _retain_inbound(tx: Transaction, tenant: str, before: int, limit: int) -> int:
    bindings = (tx.tenants.known(tenant), first_id(before), limit)
    deleted = tx.sql.retaining.delete_inbound.change(tx.db, bindings)
    if deleted:
        tx.counted["retention.inbound"] += deleted
    return deleted


def retain_usage(tx: Transaction, batch: Sequence[RetainOld]) -> list[int]:
    """Delete rows of old days."""
    return [_retain_usage(tx, *step) for step in batch]


def _retain_usage(tx: Transaction, tenant: str, before: int, limit: int) -> int:
    deleted = tx.sql.usage.delete.change(tx.db, (tx.tenants.known(tenant), before // DAY, limit))
    if deleted:
        tx.counted["retention.usage"] += deleted
    return deleted


def retain_refs(tx: Transaction, batch: Sequence[RetainRefs]) -> list[tuple[int, RefPlace | None]]:
    """Delete carriers' ids that lead nowhere."""
    return [_retain_refs(tx, *step) for step in batch]


def _retain_refs(tx: Transaction, after: RefPlace | None, limit: int) -> tuple[int, RefPlace | None]:
    sql, place = tx.sql.retaining, after or RefPlace(-1, "")
    rows = sql.refs.rows(tx.db, (*place, limit))
    lost = [(carrier_no, carrier_id) for carrier_no, carrier_id, there in rows if not there]
    more = len(rows) == limit
    # The last id may lead to more than the page has room for, and the next page begins behind it.
    _drop_refs(tx, list(dict.fromkeys([*lost, *[tuple(row[:2]) for row in rows[-1:]]])))
    return len(lost), RefPlace(*rows[-1][:2]) if more else None


def read_due(look: Look, rules: Sequence[Rule], now: int) -> list[Due]:
    """Return the rules that have messages to look at."""
    numbers = {name: number for number, name in read_names(look, look.sql.transaction.tenants).items()}
    marks: dict[Any, bytes] = {tuple(row[:3]): bytes(row[3]) for row in look.sql.retaining.marks.rows(look.db, ())}
    found = []
    for rule in rules:
        tenant_no = numbers.get(rule.tenant)
        if tenant_no is None:
            continue
        up_to = marks.get((tenant_no, rule.categories, rule.stage), _NO_ID)
        rows = look.sql.retaining.first.fetch(look.db, (tenant_no, up_to, _bound(rule, now)))
        found += [Due(rule, bytes(message_id)) for (message_id,) in rows]
    return found


def read_tenants(look: Look) -> list[str]:
    """Return the names of all tenants."""
    return sorted(read_names(look, look.sql.transaction.tenants).values())
