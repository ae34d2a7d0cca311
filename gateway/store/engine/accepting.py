"""Accepting messages: rows, idempotency records and first events, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.errors import StoreCorrupt
from gateway.states import State
from gateway.store.contract import Accepted, Idempotency, NewMessage, Queue, Verdict, waiting_queue
from gateway.store.engine.database import Look
from gateway.store.engine.statements import Row
from gateway.store.engine.tally import ACCEPTED, COUNTRIES
from gateway.store.engine.transaction import Transaction
from gateway.store.usage import DAY

_ACCEPTED = int(State.ACCEPTED)
_NO_MESSAGE = "an idempotency record names a message that is not stored: check the database"
_CLAIMED = int(Queue.CLAIMED)
_STORED = Verdict.STORED
_KEPT = 16  # octets of a hash


def accept(tx: Transaction, batch: Sequence[NewMessage]) -> list[Accepted]:
    """Store what is new; an answer for each message, in order."""
    known = _take_keys(tx, batch)
    answers: list[Accepted] = []
    messages: list[Row] = []
    bodies: list[Row] = []
    traces: list[Row] = []
    place = tx.place
    usage = tx.tally.rows
    for number, new in enumerate(batch):
        if number in known:
            answers.append(known[number])
            _note_replay(tx, new, known[number])
            continue
        (tenant, id_, owner, category, sender, masked, recipient_hash, envelope, content, encoding, segments) = new[:11]
        accepted_at, due_at, expires_at, claimed = new[11:15]
        tenant_no = tx.tenants.number(tx.db, tenant)
        queue = _CLAIMED if claimed else waiting_queue(category)
        country, reserved = COUNTRIES[new.country], new.reserved
        row = (tenant_no, id_, queue, due_at, expires_at, category, segments, recipient_hash, country, reserved)
        messages.append((*row, place(new)))
        used = usage[tenant_no, accepted_at // DAY, category, country, 0]
        used[ACCEPTED] += 1
        used[ACCEPTED + 1] += segments
        if reserved:
            tx.tally.reserve((tenant_no, id_), category, country, reserved)
        bodies.append((tenant_no, id_, accepted_at, encoding, sender, masked, owner, envelope, content, new.country))
        audited = (tenant, owner, category, sender, new.country, segments)
        tx.accepted(tenant_no, id_, accepted_at, audited, new.commitment)
        answers.append(Accepted(_STORED, id_, _ACCEPTED, segments))
        if new.trace:
            traces.append((tenant_no, id_, new.trace))
    tx.sql.accepting.messages.run(tx.db, messages)
    tx.sql.accepting.bodies.run(tx.db, bodies)
    tx.sql.accepting.traces.run(tx.db, traces)
    return answers


def _note_replay(tx: Transaction, new: NewMessage, answer: Accepted) -> None:
    """Record that a key led to a message that is stored already; no event."""
    if answer.verdict is Verdict.REPLAYED:
        fields = (new.tenant, new.owner, new.category, new.sender, new.country, answer.segments, True)
        tx.records.accepted(new.accepted_at, answer.id, fields)


def find_replays(look: Look, batch: Sequence[Idempotency], now: int) -> list[Accepted | None]:
    """Return what `accept` would answer to messages whose keys others hold, None for a free key."""
    asked: list[tuple[int, bytes]] = []
    rows: list[Row] = []
    for number, (key_hash, content_hash, _, older) in enumerate(batch):
        for key, content in ((key_hash, content_hash), *older):
            asked.append((number, content[:_KEPT]))
            rows.append((key[:_KEPT], now))
    answers: list[Accepted | None] = [None] * len(batch)
    for number, answer in _live_holders(look, asked, rows):
        answers[number] = answer
    return answers


def _take_keys(tx: Transaction, batch: Sequence[NewMessage]) -> dict[int, Accepted]:
    """Write idempotency records; returns the answers to messages whose key another message holds."""
    older = _older_replays(tx, batch)
    keyed: list[int] = []
    rows: list[Row] = []
    for number, new in enumerate(batch):
        record = new.idempotency
        if record is not None and number not in older:
            tenant_no = tx.tenants.number(tx.db, new.tenant)
            keyed.append(number)
            key_hash, content_hash, expires_at, _ = record
            row = (key_hash[:_KEPT], content_hash[:_KEPT], tenant_no, new.id, new.accepted_at, expires_at)
            rows.append(row)
    if not rows or tx.sql.accepting.keys.count(tx.db, rows) == len(rows):
        return older
    return older | _replays(tx, batch, keyed)


def _older_replays(tx: Transaction, batch: Sequence[NewMessage]) -> dict[int, Accepted]:
    """Return the answers to messages whose key is held under an older hash key."""
    asked: list[tuple[int, bytes]] = []
    rows: list[Row] = []
    for number, new in enumerate(batch):
        if new.idempotency is not None and new.idempotency.older:
            for key_hash, content_hash in new.idempotency.older:
                asked.append((number, content_hash[:_KEPT]))
                rows.append((key_hash[:_KEPT], new.accepted_at))
    return dict(_live_holders(tx, asked, rows))


def _live_holders(
    look: Look, asked: Sequence[tuple[int, bytes]], rows: Sequence[Row]
) -> Iterator[tuple[int, Accepted]]:
    """Yield the message's number and the answer to it for each of `rows` (a key, a time) that finds a live record;
    `asked` has the number and the content's hash for each."""
    for n, holder, content_hash, state, segments in look.sql.accepting.live_holders.find(look.db, rows):
        if state is None:
            raise StoreCorrupt(_NO_MESSAGE)
        number, wanted = asked[n]
        yield (
            number,
            Accepted(Verdict.REPLAYED if content_hash == wanted else Verdict.CONFLICT, holder, state, segments),
        )


def _replays(tx: Transaction, batch: Sequence[NewMessage], keyed: Sequence[int]) -> dict[int, Accepted]:
    fresh = {new.id: new for new in batch}
    answers: dict[int, Accepted] = {}
    keys: list[Row] = [
        (record.key_hash[:_KEPT], batch[number].accepted_at)
        for number in keyed
        if (record := batch[number].idempotency)
    ]
    for n, holder, content_hash, state, segments in tx.sql.accepting.live_holders.find(tx.db, keys):
        new = batch[keyed[n]]
        if holder == new.id or new.idempotency is None:
            continue
        same = content_hash == new.idempotency.content_hash[:_KEPT]
        verdict = Verdict.REPLAYED if same else Verdict.CONFLICT
        if state is not None:
            answers[keyed[n]] = Accepted(verdict, holder, state, segments)
        elif holder in fresh:  # an earlier message of this batch, whose row is not written yet
            answers[keyed[n]] = Accepted(verdict, holder, _ACCEPTED, fresh[holder].segments)
        else:
            raise StoreCorrupt(_NO_MESSAGE)
    return answers
