"""Accepting messages: rows, idempotency records and first events, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import StoreCorrupt
from gateway.states import State
from gateway.store.contract import Accepted, NewMessage, Queue, Verdict, waiting_queue
from gateway.store.sqlite.bulk import Lookup, Row, Write
from gateway.store.sqlite.transaction import Transaction

_MESSAGES = Write(
    "INSERT INTO message (tenant_no, id, state, queue, due_at, expires_at, attempts, carrier_no, category, encoding,"
    " segments, accepted_at, part_states, carrier_ids, reason_code, reason_text, network_error, sender,"
    " masked_recipient, owner, recipient_hash, envelope) VALUES {values}",
    "(?,?,1,?,?,?,0,0,?,?,?,?,'','','','','',?,?,?,?,?)",
)
_CONTENTS = Write("INSERT INTO content (tenant_no, id, content) VALUES {values}", "(?,?,?)")
# An expired record counts as absent. Rows that conflict with a live one are not changed, and so not counted.
_KEYS = Write(
    "INSERT INTO idempotency (key_hash, content_hash, tenant_no, message_id, created_at, expires_at) VALUES {values}"
    " ON CONFLICT (key_hash) DO UPDATE SET content_hash = excluded.content_hash, tenant_no = excluded.tenant_no,"
    " message_id = excluded.message_id, created_at = excluded.created_at, expires_at = excluded.expires_at"
    " WHERE idempotency.expires_at <= excluded.created_at",
    "(?,?,?,?,?,?)",
)
HOLDERS = Lookup(
    "n :message_id :content_hash state segments",
    "n, key_hash",
    "SELECT v.n, i.message_id, i.content_hash, m.state, m.segments FROM v"
    " CROSS JOIN idempotency AS i ON i.key_hash = v.key_hash"
    " LEFT JOIN message AS m ON m.tenant_no = i.tenant_no AND m.id = i.message_id",
    "({n},?)",
)
# Live records under older hash keys: there are none to ask for but while such a key is kept.
OLDER_HOLDERS = Lookup(
    "n :message_id :content_hash state segments",
    "n, key_hash, at",
    "SELECT v.n, i.message_id, i.content_hash, m.state, m.segments FROM v"
    " CROSS JOIN idempotency AS i ON i.key_hash = v.key_hash AND i.expires_at > v.at"
    " LEFT JOIN message AS m ON m.tenant_no = i.tenant_no AND m.id = i.message_id",
    "({n},?,?)",
)
_ACCEPTED = int(State.ACCEPTED)
_NO_MESSAGE = "an idempotency record names a message that is not stored: check the database"
_CLAIMED = int(Queue.CLAIMED)
_STORED = Verdict.STORED


def accept(tx: Transaction, batch: Sequence[NewMessage]) -> list[Accepted]:
    """Store what is new; an answer for each message, in order."""
    known = _take_keys(tx, batch)
    answers: list[Accepted] = []
    messages: list[Row] = []
    contents: list[Row] = []
    for number, new in enumerate(batch):
        if number in known:
            answers.append(known[number])
            continue
        tenant_no = tx.tenants.number(tx.db, new.tenant)
        messages.append(_row(tenant_no, new))
        contents.append((tenant_no, new.id, new.content))
        tx.plain_event(tenant_no, new.accepted_at, new.id, _ACCEPTED, 0)
        answers.append(Accepted(_STORED, new.id, _ACCEPTED, new.segments))
    _MESSAGES.run(tx.db, messages)
    _CONTENTS.run(tx.db, contents)
    return answers


def _row(tenant_no: int, new: NewMessage) -> Row:
    """Return the bindings of `_MESSAGES`."""
    return (
        tenant_no,
        new.id,
        _CLAIMED if new.claimed else waiting_queue(new.category),
        new.due_at,
        new.expires_at,
        new.category,
        new.encoding,
        new.segments,
        new.accepted_at,
        new.sender,
        new.masked_recipient,
        new.owner,
        new.recipient_hash,
        new.envelope,
    )


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
            rows.append((record.key_hash, record.content_hash, tenant_no, new.id, new.accepted_at, record.expires_at))
    if not rows or _KEYS.run(tx.db, rows) == len(rows):
        return older
    return older | _replays(tx, batch, keyed)


def _older_replays(tx: Transaction, batch: Sequence[NewMessage]) -> dict[int, Accepted]:
    """Return the answers to messages whose key is held under an older hash key."""
    asked: list[tuple[int, bytes]] = []
    rows: list[Row] = []
    for number, new in enumerate(batch):
        if new.idempotency is not None and new.idempotency.older:
            for key_hash, content_hash in new.idempotency.older:
                asked.append((number, content_hash))
                rows.append((key_hash, new.accepted_at))
    answers: dict[int, Accepted] = {}
    for n, holder, content_hash, state, segments in OLDER_HOLDERS.find(tx.db, rows):
        if state is None:
            raise StoreCorrupt(_NO_MESSAGE)
        number, wanted = asked[n]
        verdict = Verdict.REPLAYED if content_hash == wanted else Verdict.CONFLICT
        answers[number] = Accepted(verdict, holder, state, segments)
    return answers


def _replays(tx: Transaction, batch: Sequence[NewMessage], keyed: Sequence[int]) -> dict[int, Accepted]:
    fresh = {new.id: new for new in batch}
    answers: dict[int, Accepted] = {}
    keys: list[Row] = [(record.key_hash,) for number in keyed if (record := batch[number].idempotency)]
    for n, holder, content_hash, state, segments in HOLDERS.find(tx.db, keys):
        new = batch[keyed[n]]
        if holder == new.id or new.idempotency is None:
            continue
        same = content_hash == new.idempotency.content_hash
        verdict = Verdict.REPLAYED if same else Verdict.CONFLICT
        if state is not None:
            answers[keyed[n]] = Accepted(verdict, holder, state, segments)
        elif holder in fresh:  # an earlier message of this batch, whose row is not written yet
            answers[keyed[n]] = Accepted(verdict, holder, _ACCEPTED, fresh[holder].segments)
        else:
            raise StoreCorrupt(_NO_MESSAGE)
    return answers
