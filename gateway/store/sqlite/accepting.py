"""Accepting messages: rows, idempotency records and first events, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from gateway.errors import StoreCorrupt
from gateway.states import State
from gateway.store.contract import Accepted, Idempotency, NewMessage, Queue, Verdict, waiting_queue
from gateway.store.sqlite.bulk import Lookup, Row, Write
from gateway.store.sqlite.transaction import Transaction

_MESSAGES = Write(
    "INSERT INTO message (tenant_no, id, state, queue, due_at, expires_at, attempts, carrier_no, category, segments,"
    " part_states, carrier_ids, reason_code, reason_text, network_error, recipient_hash) VALUES {values}",
    "(?,?,1,?,?,?,0,0,?,?,'','','','','',?)",
)
_BODIES = Write(
    "INSERT INTO body (tenant_no, id, accepted_at, encoding, sender, masked_recipient, owner, envelope, content,"
    " country) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?)",
)
# Few messages are traced, so the others do without a column more.
_TRACES = Write(
    "WITH v (tenant_no, id, trace) AS (VALUES {values}) UPDATE message SET trace = v.trace FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?)",
)
# An expired record counts as absent. Rows that conflict with a live one are not changed, and so not counted. The next
# number is asked for with an eye on the row: SQLite would ask once for all rows otherwise, and give two the same.
_KEYS = Write(
    "INSERT INTO idempotency (key_hash, content_hash, tenant_no, message_id, created_at, expires_at) VALUES {values}"
    " ON CONFLICT (key_hash) DO UPDATE SET"
    " no = (SELECT i.no FROM idempotency AS i WHERE excluded.key_hash IS NOT NULL ORDER BY i.no DESC LIMIT 1) + 1,"
    " content_hash = excluded.content_hash, tenant_no = excluded.tenant_no,"
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
# Live records: under older hash keys, of which there are none to ask for but while such a key is kept; and for those
# who only want to know.
LIVE_HOLDERS = Lookup(
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
_KEPT = 16  # octets of a hash


def accept(tx: Transaction, batch: Sequence[NewMessage]) -> list[Accepted]:
    """Store what is new; an answer for each message, in order."""
    known = _take_keys(tx, batch)
    answers: list[Accepted] = []
    messages: list[Row] = []
    bodies: list[Row] = []
    traces: list[Row] = []
    for number, new in enumerate(batch):
        if number in known:
            answers.append(known[number])
            _note_replay(tx, new, known[number])
            continue
        (tenant, id_, owner, category, sender, masked, recipient_hash, envelope, content, encoding, segments) = new[:11]
        accepted_at, due_at, expires_at, claimed = new[11:15]
        tenant_no = tx.tenants.number(tx.db, tenant)
        queue = _CLAIMED if claimed else waiting_queue(category)
        messages.append((tenant_no, id_, queue, due_at, expires_at, category, segments, recipient_hash))
        bodies.append((tenant_no, id_, accepted_at, encoding, sender, masked, owner, envelope, content, new.country))
        audited = (tenant, owner, category, sender, new.country, segments, False)
        tx.accepted(tenant_no, id_, accepted_at, audited)
        answers.append(Accepted(_STORED, id_, _ACCEPTED, segments))
        if new.trace:
            traces.append((tenant_no, id_, new.trace))
    _MESSAGES.run(tx.db, messages)
    _BODIES.run(tx.db, bodies)
    _TRACES.run(tx.db, traces)
    return answers


def _note_replay(tx: Transaction, new: NewMessage, answer: Accepted) -> None:
    """Record that a key led to a message that is stored already; no event."""
    if answer.verdict is Verdict.REPLAYED:
        fields = (new.tenant, new.owner, new.category, new.sender, new.country, answer.segments, True)
        tx.records.accepted(new.accepted_at, answer.id, fields)


def find_replays(db: apsw.Connection, batch: Sequence[Idempotency], now: int) -> list[Accepted | None]:
    """Return what `accept` would answer to messages whose keys others hold, None for a free key."""
    asked: list[tuple[int, bytes]] = []
    rows: list[Row] = []
    for number, (key_hash, content_hash, _, older) in enumerate(batch):
        for key, content in ((key_hash, content_hash), *older):
            asked.append((number, content[:_KEPT]))
            rows.append((key[:_KEPT], now))
    answers: list[Accepted | None] = [None] * len(batch)
    for number, answer in _live_holders(db, asked, rows):
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
                asked.append((number, content_hash[:_KEPT]))
                rows.append((key_hash[:_KEPT], new.accepted_at))
    return dict(_live_holders(tx.db, asked, rows))


def _live_holders(
    db: apsw.Connection, asked: Sequence[tuple[int, bytes]], rows: Sequence[Row]
) -> Iterator[tuple[int, Accepted]]:
    """Yield the message's number and the answer to it for each of `rows` (a key, a time) that finds a live record;
    `asked` has the number and the content's hash for each."""
    for n, holder, content_hash, state, segments in LIVE_HOLDERS.find(db, rows):
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
    keys: list[Row] = [(record.key_hash[:_KEPT],) for number in keyed if (record := batch[number].idempotency)]
    for n, holder, content_hash, state, segments in HOLDERS.find(tx.db, keys):
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
