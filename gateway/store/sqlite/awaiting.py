"""Looking through the messages that left and wait for a receipt: a bounded piece at a time, in the order of their end.

No index serves this: one more would cost every message. The queue's own index holds open messages only.
"""

from __future__ import annotations

import apsw

from gateway.store.receipts import Awaiting, Place
from gateway.store.sqlite.bulk import Select, fetch

# ?1: where to begin (due_at), ?2 and ?3: behind which message of that time. ?4: how many to look at.
AWAITING = Select(
    "due_at tenant_no :id state sender carrier_no carrier_ids part_states sent_at",
    "SELECT m.due_at, m.tenant_no, m.id, m.state, ifnull(m.told_sender, b.sender) AS sender, m.carrier_no,"
    " m.carrier_ids, m.part_states, ifnull(m.sending_at, 0) AS sent_at FROM message AS m INDEXED BY message_queue"
    " CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " WHERE m.queue = 40 AND m.due_at >= ?1 AND (m.due_at > ?1 OR (m.tenant_no, m.id) > (?2, ?3))"
    " ORDER BY m.due_at, m.tenant_no, m.id LIMIT ?4",
)
_NAMES = "SELECT (SELECT name FROM tenant WHERE no = ?1), (SELECT name FROM carrier WHERE no = ?2)"


def read_awaiting(
    db: apsw.Connection, after: Place | None, sent_before: int, limit: int
) -> tuple[list[Awaiting], Place | None]:
    """Look at up to `limit` messages behind `after`; those to ask about, and the last place looked at."""
    begin = (-1, -1, b"") if after is None else (after[0], _tenant_no(db, after[1]), after[2])
    rows = AWAITING.rows(db, (*begin, limit))
    names: dict[tuple[int, int], tuple[str, str]] = {}
    found: list[Awaiting] = []
    place: Place | None = None
    for due_at, tenant_no, id_, state, sender, carrier_no, carrier_ids, part_states, sent_at in rows:
        key = (tenant_no, carrier_no)
        if key not in names:
            (names[key],) = fetch(db, _NAMES, key)
        tenant, carrier = names[key]
        place = (due_at, tenant, id_)
        if carrier_ids.strip("\n") and sent_at < sent_before:
            found.append(Awaiting(place, state, sender, carrier, carrier_ids, part_states, sent_at))
    return found, place if len(rows) == limit else None


def _tenant_no(db: apsw.Connection, tenant: str) -> int:
    rows = fetch(db, "SELECT no FROM tenant WHERE name = ?", (tenant,))
    return rows[0][0] if rows else -1
