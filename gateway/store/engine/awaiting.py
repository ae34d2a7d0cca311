"""Looking through the messages that left and wait for a receipt: a bounded piece at a time, in the order of their end.

No index serves this: one more would cost every message. The queue's own index holds open messages only.
"""

from __future__ import annotations

from gateway.store.engine.database import Look
from gateway.store.receipts import Awaiting, Place


def read_awaiting(look: Look, after: Place | None, sent_before: int, limit: int) -> tuple[list[Awaiting], Place | None]:
    """Look at up to `limit` messages behind `after`; those to ask about, and the last place looked at."""
    begin = (-1, -1, b"") if after is None else (after[0], _tenant_no(look, after[1]), after[2])
    rows = look.sql.awaiting.messages.rows(look.db, (*begin, limit))
    names: dict[tuple[int, int], tuple[str, str]] = {}
    found: list[Awaiting] = []
    place: Place | None = None
    for due_at, tenant_no, id_, state, sender, carrier_no, carrier_ids, part_states, sent_at in rows:
        key = (tenant_no, carrier_no)
        if key not in names:
            (names[key],) = look.sql.awaiting.names.fetch(look.db, key)
        tenant, carrier = names[key]
        place = (due_at, tenant, id_)
        if carrier_ids.strip("\n") and sent_at < sent_before:
            found.append(Awaiting(place, state, sender, carrier, carrier_ids, part_states, sent_at))
    return found, place if len(rows) == limit else None


def _tenant_no(look: Look, tenant: str) -> int:
    rows = look.sql.awaiting.tenant.fetch(look.db, (tenant,))
    return rows[0][0] if rows else -1
