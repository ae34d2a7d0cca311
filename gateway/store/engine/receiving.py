"""Applying delivery receipts.

A receipt is matched by (carrier, carrier id) and, when it names one, by the recipient. One that matches nothing is kept
for a while: it may have overtaken the response that brings its id. The first final state of a part stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from gateway.states import FINAL, PartState, State, aggregate, may_follow
from gateway.store.contract import TracedReceipt
from gateway.store.engine.keeping import forget, keep, kept_for
from gateway.store.engine.noting import Note, note
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction
from gateway.store.receipts import UNKNOWN_STAT, Learned, NewReceipt, Oddity, ReceiptVerdict, Source

# A column more costs every receipt, so a look-up gives n, place, message_id, part_states and facts. `place`: bits 0 to
# 7, the part; bits 8 to 11, the message's state; bit 12, the carrier is that of its last attempt; bits 13 to 22, its
# country (gateway.store.engine.tally); from bit 23 on, tenant_no. `facts`: bit 0, the recipient is the message's; bits
# 1 and 2, its category; bit 3, it is traced; bit 4, it was sent later than the receipt allows (of one that was sent
# again nobody knows the first time); from bit 5 on, when it was submitted, or 0.
_OURS, _TRACED, _IMPOSSIBLE = 1, 8, 16  # of `facts`
_SAME_CARRIER = 1 << 12  # of `place`
_JUDGED = _OURS | _IMPOSSIBLE
_DECIDED = frozenset(part.value for part in PartState if part not in (PartState.UNSENT, PartState.SUBMITTED))
_FAILED = _DECIDED - {PartState.DELIVERED.value}
_FINAL = frozenset(map(int, FINAL))
_DELIVERED = int(State.DELIVERED)
APPLIED, RECORDED = ReceiptVerdict.APPLIED, ReceiptVerdict.RECORDED
_NO_CHANGE = frozenset({ReceiptVerdict.MISMATCH, ReceiptVerdict.IMPOSSIBLE})

Key: TypeAlias = tuple[int, bytes]  # of a message: tenant_no, id
_Found: TypeAlias = tuple[int, int, bytes, str, int]  # a row of `find`


class _Message:
    """A message while receipts are applied to it (mutable; hot)."""

    __slots__ = ("changed", "country", "end", "facts", "parts", "state")

    def __init__(self, state: int, parts: str, facts: int, country: int) -> None:
        self.state = state
        self.parts = parts
        self.facts = facts
        self.country = country
        self.changed = False
        self.end: Row = ()  # when it ended: (done_at, reason_code, reason_text, network_error, operator_done_at)


def receipts(tx: Transaction, batch: Sequence[NewReceipt]) -> list[ReceiptVerdict]:
    """Apply receipts in order."""
    rows: list[Row] = [(tx.carriers.number(tx.db, new[0]), new[1], new[2], new[9]) for new in batch]
    found: list[_Found] = tx.sql.receiving.find.find(tx.db, rows)
    verdicts = [ReceiptVerdict.KEPT] * len(batch)
    notes, _ = _apply(tx, batch, rows, found, verdicts)
    if len(found) < len(batch):
        keep(tx, batch, verdicts, {row[0] for row in found})
    if notes:
        note(tx, notes)
    return verdicts


def match_kept(tx: Transaction, carrier_ids: Sequence[Row]) -> dict[Key, int]:
    """Apply what is kept for each (carrier_no, carrier_id), oldest first; returns the states of messages that changed.

    What cannot be the receipt of the message that has the id now stays: its own may come yet.
    """
    batch = kept_for(tx, carrier_ids)
    if not batch:
        return {}
    rows: list[Row] = [(tx.carriers.numbers[new[0]], new[1], new[2], new[9]) for new in batch]
    verdicts = [ReceiptVerdict.KEPT] * len(batch)
    notes, changed = _apply(tx, batch, rows, tx.sql.receiving.find.find(tx.db, rows), verdicts)
    note(tx, [each for each in notes if each.oddity not in (Oddity.MISMATCH, Oddity.IMPOSSIBLE)])
    forget(tx, [new for new, verdict in zip(batch, verdicts, strict=True) if verdict not in _NO_CHANGE])
    return changed


class Rejoin(NamedTuple):
    """One call of `rejoin`."""

    since: int
    limit: int


def rejoin(tx: Transaction, batch: Sequence[Rejoin]) -> list[int]:
    """Match receipts that were kept while another node learned their carrier id."""
    return [_rejoin(tx, *call) for call in batch]


def _rejoin(tx: Transaction, since: int, limit: int) -> int:
    if tx.sql.sharing is None:
        return 0
    missed = tx.sql.sharing.missed.rows(tx.db, (since, limit))
    if missed:
        tx.counted["receipt.rejoined"] += len(match_kept(tx, list(dict.fromkeys(missed))))
    return len(missed)


def learned(tx: Transaction, batch: Sequence[Learned]) -> list[int]:
    """Record what carriers said when they were asked; the state of each message afterwards."""
    rows: list[Row] = [(tx.tenants.known(tenant), message_id) for tenant, message_id, *_ in batch]
    touched: dict[Key, _Message] = {}
    for n, tenant_no, message_id, state, parts, carrier_no, facts, country in tx.sql.receiving.asked.find(tx.db, rows):
        message = touched.setdefault((tenant_no, message_id), _Message(state, parts, facts, country))
        _learn(tx, batch[n], (tenant_no, message_id), message, tx.carriers.names[carrier_no])
    _write(tx, touched)
    return [touched[key].state if key in touched else 0 for key in rows]


def _learn(tx: Transaction, new: Learned, key: Key, message: _Message, carrier: str) -> None:
    receipt, ours = new.receipt, new.receipt.carrier == carrier
    tx.counted[f"{Source(receipt.source).name.lower()}.answered"] += 1
    states = message.parts
    still_open = [part for part in new.parts if part < len(states) and states[part] not in _DECIDED]
    if not still_open or message.state in _FINAL or receipt.part_state not in _DECIDED:
        return
    *others, last = still_open
    if ours:
        for part in others:  # one by one the first of them would end the message
            message.parts = message.parts[:part] + receipt.part_state + message.parts[part + 1 :]
    _apply_one(tx, receipt, key, message, last, ours)


def _apply(
    tx: Transaction,
    batch: Sequence[NewReceipt],
    rows: Sequence[Row],
    found: Sequence[_Found],
    verdicts: list[ReceiptVerdict],
) -> tuple[list[Note], dict[Key, int]]:
    """Apply the receipts of `batch` that are `found`, fill in their verdicts; returns what is to be noted, and the
    states of the messages that changed."""
    touched: dict[Key, _Message] = {}
    traced: list[tuple[int, Key]] = []
    notes: list[Note] = []
    if {row[4] & _JUDGED for row in found} - {_OURS}:
        found = _judge(tx, batch, rows, found, verdicts, notes)
    for n, place, message_id, parts, facts in found:
        key = (place >> 23, message_id)
        message = touched.get(key)
        if message is None:
            message = touched[key] = _Message(place >> 8 & 15, parts, facts, place >> 13 & 1023)
        verdict = _apply_one(tx, batch[n], key, message, place & 255, place & _SAME_CARRIER)
        if verdict is RECORDED:
            verdict = _record(tx, batch[n], key, message, place & 255, place & _SAME_CARRIER, notes)
        elif facts & _TRACED:
            traced.append((n, key))
        verdicts[n] = verdict
    _write(tx, touched)
    if traced:
        _tell_traced(tx, batch, traced, touched)
    return notes, {key: message.state for key, message in touched.items() if message.changed}


def _judge(
    tx: Transaction,
    batch: Sequence[NewReceipt],
    rows: Sequence[Row],
    found: Sequence[_Found],
    verdicts: list[ReceiptVerdict],
    notes: list[Note],
) -> list[_Found]:
    """Return what of `found` is to be applied. What cannot mean the newest message with its carrier id may mean an
    older one; else it is noted."""
    usable = [row for row in found if row[4] & _JUDGED == _OURS]
    others = [row for row in found if row[4] & _JUDGED != _OURS]
    older = tx.sql.receiving.older.find(tx.db, [rows[row[0]] for row in others])
    theirs = {at: rest for at, *rest in older if rest[-1] & _JUDGED == _OURS}  # of several the newest
    for at, (n, place, message_id, _, facts) in enumerate(others):
        if at in theirs:
            usable.append((n, *theirs[at]))
            continue
        verdicts[n], oddity = _UNUSABLE[bool(facts & _OURS)]
        notes.append(Note(oddity, batch[n], place >> 23, message_id))
    return sorted(usable)


_UNUSABLE = (
    (ReceiptVerdict.MISMATCH, Oddity.MISMATCH),
    (ReceiptVerdict.IMPOSSIBLE, Oddity.IMPOSSIBLE),
)


def _apply_one(
    tx: Transaction, receipt: NewReceipt, key: Key, message: _Message, part: int, ours: int
) -> ReceiptVerdict:
    """Change `message` by a receipt for one of its parts (hot). `ours`: the carrier of the last attempt sent it."""
    carrier, _, _, new_part, at, operator_done_at, stat, network_error, rule, _, _, source, by = receipt
    parts, state = message.parts, message.state
    open_part = ours and part < len(parts) and parts[part] not in _DECIDED
    if not open_part or state in _FINAL or new_part not in _DECIDED:
        return RECORDED
    message.parts = parts = parts[:part] + new_part + parts[part + 1 :] if len(parts) > 1 else new_part
    message.changed = True
    end = ending(state, parts, rule)
    if end:
        message.state = end
        code, text = reason_of(end, stat) if not source else _asked(source, end, stat, parts)
        message.end = (at, code, text, network_error, operator_done_at)
        submitted_at = message.facts >> 5
        tx.ended.append((carrier, message.facts >> 1 & 3, end, at - submitted_at if submitted_at else -1))
        why = (code, text, None, network_error, operator_done_at)
        carrier_no = tx.carriers.numbers[carrier]
        tx.tally.ended(key[0], at, (message.facts >> 1 & 3, message.country, carrier_no), end, len(parts))
        tx.event(key[0], key[1], at, state, end, carrier_no, why, by)
    return APPLIED


def _record(
    tx: Transaction, receipt: NewReceipt, key: Key, message: _Message, part: int, ours: int, notes: list[Note]
) -> ReceiptVerdict:
    """Count a receipt that changes nothing, and note one that should not have come."""
    new_part, parts = receipt.part_state, message.parts
    oddity: Oddity | None = None
    if new_part == UNKNOWN_STAT:
        oddity = Oddity.UNKNOWN_STAT
    elif not new_part:
        tx.counted["receipt.intermediate"] += 1
    elif not ours or part >= len(parts):
        tx.counted["receipt.earlier_attempt"] += 1
    elif parts[part] == new_part:
        tx.counted["receipt.duplicate"] += 1
    elif parts[part] in _DECIDED or (message.state == _DELIVERED and new_part in _FAILED):
        oddity = Oddity.CONTRADICTED
    elif message.state != _DELIVERED and not _FAILED.intersection(parts):
        oddity = Oddity.LATE
    if oddity is None:
        return RECORDED
    notes.append(Note(oddity, receipt, *key))
    return ReceiptVerdict.CONTRADICTED if oddity is Oddity.CONTRADICTED else RECORDED


@lru_cache(maxsize=1024)
def ending(state: int, parts: str, rule: int) -> int:
    """Return the final state that a message in `state` goes to when its parts stand so; 0 while that is open."""
    final = aggregate(parts, rule)
    return int(final) if final is not None and may_follow(State(state), final) else 0


def reason_of(state: int, stat: str) -> tuple[str, str]:
    """Return code and text for a message that a receipt ended; nothing to say when it was delivered."""
    if state == _DELIVERED:
        return "", ""
    return f"RECEIPT_{State(state).name}", f"the carrier's receipt says {stat}" if stat else "by the carrier's receipt"


def _asked(source: int, state: int, stat: str, parts: str) -> tuple[str, str]:
    """Return code and text for a message that ended by what the carrier said when it was asked."""
    if source == Source.QUERY:
        return (
            f"QUERY_{State(state).name}",
            f"the carrier says {stat} when asked" if stat else "by the carrier's answer",
        )
    cancelled = parts.count(PartState.CANCELLED)
    if cancelled == len(parts):
        return "CANCELLED_AT_CARRIER", "the carrier confirmed that it will not deliver it"
    return "PARTLY_CANCELLED", f"the carrier cancelled {cancelled} of {len(parts)} parts; the others may arrive"


def _tell_traced(
    tx: Transaction,
    batch: Sequence[NewReceipt],
    traced: Sequence[tuple[int, Key]],
    touched: dict[Key, _Message],
) -> None:
    """Note the receipts of traced messages, with their contexts."""
    for index, trace in tx.sql.receiving.traces.find(tx.db, [key for _, key in traced]):
        n, key = traced[index]
        receipt = batch[n]
        tx.traced.append(TracedReceipt(trace, receipt.carrier, receipt.part_state, receipt.at, touched[key].state))


def _write(tx: Transaction, touched: dict[Key, _Message]) -> None:
    ended: list[Row] = []
    parts: list[Row] = []
    for key, message in touched.items():
        if message.end:
            ended.append((*key, message.state, message.parts, *message.end))
        elif message.changed:
            parts.append((*key, message.parts))
    tx.sql.receiving.end.run(tx.db, ended)
    tx.sql.receiving.parts.run(tx.db, parts)
