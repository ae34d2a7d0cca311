"""Applying delivery receipts.

A receipt is matched by (carrier, carrier id) and, when it names one, by the recipient. One that matches nothing is kept
for a while: it may have overtaken the response that brings its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from gateway.states import FINAL, PartState, State, aggregate, may_follow
from gateway.store.contract import NewReceipt, ReceiptVerdict, TracedReceipt
from gateway.store.sqlite.bulk import Lookup, Row, Write, fetch
from gateway.store.sqlite.transaction import Transaction

# `facts`: what else is asked of each, in one number, since a column more costs every receipt: bit 0, the recipient is
# the message's; bits 1 and 2, its category; bit 3, it is traced; from bit 4 on, when it was submitted, 0 for never.
FIND = Lookup(
    "n tenant_no :message_id part state part_states carrier_no facts",
    "n, carrier_no, carrier_id, recipient_hash",
    "SELECT v.n, r.tenant_no, r.message_id, r.part, m.state, m.part_states, m.carrier_no,"
    " (v.recipient_hash = x'' OR instr(v.recipient_hash, m.recipient_hash) > 0) | (m.category << 1)"
    " | ((m.trace IS NOT NULL) << 3) | (ifnull(m.submitted_at, 0) << 4) AS facts FROM v"
    " CROSS JOIN carrier_ref AS r ON r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id"
    " CROSS JOIN message AS m ON m.tenant_no = r.tenant_no AND m.id = r.message_id",
    "({n},?,?,?)",
)
END = Write(
    "WITH v (tenant_no, id, state, part_states, done_at, reason_code, reason_text, network_error) AS (VALUES {values})"
    " UPDATE message SET state = v.state, queue = NULL, done_at = v.done_at, part_states = v.part_states,"
    " reason_code = v.reason_code, reason_text = v.reason_text, smpp_status = NULL, network_error = v.network_error"
    " FROM v WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?,?,?,?)",
)
_PARTS = Write(
    "WITH v (tenant_no, id, part_states) AS (VALUES {values}) UPDATE message SET part_states = v.part_states FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?)",
)
_KEEP = Write(
    "INSERT OR IGNORE INTO kept_receipt (carrier_no, carrier_id, part_state, stat, recipient_hash, at,"
    " operator_done_at, network_error) VALUES {values}",
    "(?,?,?,?,?,?,?,?)",
)
_OLDEST_KEPT = (
    "DELETE FROM kept_receipt WHERE (carrier_no, carrier_id, part_state, stat, recipient_hash) IN (SELECT carrier_no,"
    " carrier_id, part_state, stat, recipient_hash FROM kept_receipt ORDER BY at LIMIT ?) RETURNING carrier_no"
)

TRACES = Lookup(
    "n :trace",
    "n, tenant_no, id",
    "SELECT v.n, m.trace FROM v CROSS JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id",
    "({n},?,?)",
)

_OURS, _TRACED = 1, 8  # of `facts`
_DECIDED = frozenset(part.value for part in PartState if part not in (PartState.UNSENT, PartState.SUBMITTED))
_FINAL = frozenset(map(int, FINAL))
_DELIVERED = int(State.DELIVERED)
APPLIED, RECORDED = ReceiptVerdict.APPLIED, ReceiptVerdict.RECORDED


class _Message:
    """A message while receipts are applied to it (mutable; hot)."""

    __slots__ = ("changed", "end", "facts", "parts", "state")

    def __init__(self, state: int, parts: str, facts: int) -> None:
        self.state = state
        self.parts = parts
        self.facts = facts
        self.changed = False
        self.end: Row = ()  # when it ended: (done_at, reason_code, reason_text, network_error)


def receipts(tx: Transaction, batch: Sequence[NewReceipt]) -> list[ReceiptVerdict]:
    """Apply receipts in order."""
    return apply(tx, batch)[0]


def apply(tx: Transaction, batch: Sequence[NewReceipt]) -> tuple[list[ReceiptVerdict], dict[tuple[int, bytes], int]]:
    """Apply receipts in order; returns the verdicts, and the states of the messages that changed."""
    number = tx.carriers.number
    rows: list[Row] = [(number(tx.db, receipt[0]), receipt[1], receipt[2]) for receipt in batch]
    found: list[tuple[int, int, bytes, int, int, str, int, int]] = FIND.find(tx.db, rows)
    verdicts = [ReceiptVerdict.KEPT] * len(batch)
    touched: dict[tuple[int, bytes], _Message] = {}
    traced: list[tuple[int, tuple[int, bytes]]] = []
    for n, tenant_no, message_id, part, state, parts, carrier_no, facts in found:
        if not facts & _OURS:
            verdicts[n] = ReceiptVerdict.MISMATCH
            continue
        key = (tenant_no, message_id)
        message = touched.get(key)
        if message is None:
            message = touched[key] = _Message(state, parts, facts)
        verdicts[n] = _apply_one(tx, batch[n], key, message, part, rows[n][0] == carrier_no)
        if facts & _TRACED and verdicts[n] is APPLIED:
            traced.append((n, key))
    _write(tx, touched)
    if traced:
        _tell_traced(tx, batch, traced, touched)
    if len(found) < len(batch):
        _keep(tx, batch, {row[0] for row in found})
    mismatches = verdicts.count(ReceiptVerdict.MISMATCH)
    if mismatches:
        tx.counted["receipt.mismatch"] += mismatches
    return verdicts, {key: message.state for key, message in touched.items() if message.changed}


def _apply_one(
    tx: Transaction, receipt: NewReceipt, key: tuple[int, bytes], message: _Message, part: int, ours: bool
) -> ReceiptVerdict:
    """Change `message` by a receipt for one of its parts; `ours`: it comes from the carrier of the last attempt."""
    parts, new_part = message.parts, receipt.part_state
    open_part = ours and part < len(parts) and parts[part] not in _DECIDED
    if not open_part or message.end or message.state in _FINAL or new_part not in _DECIDED:
        return RECORDED
    message.parts = parts = parts[:part] + new_part + parts[part + 1 :] if len(parts) > 1 else new_part
    message.changed = True
    before, state = message.state, ending(message.state, parts)
    if state:
        message.state = state
        carrier, _, _, _, at, operator_done_at, stat, network_error = receipt
        reason = reason_of(state, stat)
        message.end = (at, *reason, network_error)
        carrier_no = tx.carriers.numbers[carrier]
        submitted_at = message.facts >> 4
        tx.ended.append((carrier, message.facts >> 1 & 3, state, at - submitted_at if submitted_at else -1))
        tx.event(*key, at, before, state, carrier_no, *reason, None, network_error, operator_done_at)
    return APPLIED


@lru_cache(maxsize=1024)
def ending(state: int, parts: str) -> int:
    """Return the final state that a message in `state` goes to when its parts stand so; 0 while that is open."""
    final = aggregate(parts)
    return int(final) if final is not None and may_follow(State(state), final) else 0


def reason_of(state: int, stat: str) -> tuple[str, str]:
    """Return code and text for a message that a receipt ended; nothing to say when it was delivered."""
    if state == _DELIVERED:
        return "", ""
    return f"RECEIPT_{State(state).name}", f"the carrier's receipt says {stat}" if stat else "by the carrier's receipt"


def _tell_traced(
    tx: Transaction,
    batch: Sequence[NewReceipt],
    traced: Sequence[tuple[int, tuple[int, bytes]]],
    touched: dict[tuple[int, bytes], _Message],
) -> None:
    """Note the receipts of traced messages, with their contexts."""
    for index, trace in TRACES.find(tx.db, [key for _, key in traced]):
        n, key = traced[index]
        receipt = batch[n]
        tx.traced.append(TracedReceipt(trace, receipt.carrier, receipt.part_state, receipt.at, touched[key].state))


def _write(tx: Transaction, touched: dict[tuple[int, bytes], _Message]) -> None:
    ended: list[Row] = []
    parts: list[Row] = []
    for key, message in touched.items():
        if message.end:
            ended.append((*key, message.state, message.parts, *message.end))
        elif message.changed:
            parts.append((*key, message.parts))
    END.run(tx.db, ended)
    _PARTS.run(tx.db, parts)


def _keep(tx: Transaction, batch: Sequence[NewReceipt], found: set[int]) -> None:
    """Keep what matched nothing, the newest up to the limit."""
    by_carrier: dict[int, list[Row]] = {}
    for n, receipt in enumerate(batch):
        if n not in found:
            carrier, carrier_id, recipient_hash, part_state, at, operator_done_at, stat, network_error = receipt
            carrier_no = tx.carriers.numbers[carrier]
            row = (carrier_no, carrier_id, part_state, stat, recipient_hash, at, operator_done_at, network_error)
            by_carrier.setdefault(carrier_no, []).append(row)
    for carrier_no, rows in by_carrier.items():
        tx.kept[carrier_no] += _KEEP.run(tx.db, rows)
        tx.counted["receipt.kept"] += len(rows)
    over = tx.kept.total() - tx.kept_limit
    if over > 0:
        for (carrier_no,) in fetch(tx.db, _OLDEST_KEPT, (over,)):
            tx.kept[carrier_no] -= 1
        tx.counted["receipt.dropped"] += over
