"""The statements of `gateway.store.engine.retaining`."""

from __future__ import annotations

from gateway.store.engine.statements import RetainingSql
from gateway.store.sqlite.bulk import Lookup, Plain, Select, Write

_MARKS = Select("tenant_no categories stage :up_to", "SELECT tenant_no, categories, stage, up_to FROM retention")
_MARK = "SELECT up_to FROM retention WHERE tenant_no = ? AND categories = ? AND stage = ?"
_SET_MARK = (
    "INSERT INTO retention (tenant_no, categories, stage, up_to) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (tenant_no, categories, stage) DO UPDATE SET up_to = excluded.up_to"
)
_RANGE = "FROM message WHERE tenant_no = ?1 AND id > ?2 AND id < ?3"
PAGE = Select(
    ":id category queue done_at expires_at",
    f"SELECT id, category, queue, done_at, expires_at {_RANGE} ORDER BY id LIMIT ?4",
)
LEFT = Select(
    "tenant_no stage :id category queue done_at expires_at",
    "SELECT l.tenant_no, l.stage, l.id, m.category, m.queue, m.done_at, m.expires_at"
    " FROM retention_left AS l INDEXED BY retention_left_due"
    " LEFT JOIN message AS m ON m.tenant_no = l.tenant_no AND m.id = l.id"
    " WHERE l.due_at <= ? ORDER BY l.due_at LIMIT ?",
)
_LEAVE = Write(
    "INSERT INTO retention_left (tenant_no, stage, id, due_at) VALUES {values}"
    " ON CONFLICT (tenant_no, stage, id) DO UPDATE SET due_at = excluded.due_at",
    "(?,?,?,?)",
)
_DROP_LEFT = Write("DELETE FROM retention_left WHERE (tenant_no, stage, id) IN (VALUES {values})", "(?,?,?)")


def _body(change: str, there: str) -> Write:
    rows = "WITH v (tenant_no, id) AS (VALUES {values})"
    where = f"body.tenant_no = v.tenant_no AND body.id = v.id AND length({there}) > 0"
    return Write(f"{rows} UPDATE body SET {change} FROM v WHERE {where}", "(?,?)")  # noqa: S608 - constants


EVENTS = Select(
    "seq at",
    "SELECT seq, at FROM event WHERE tenant_no = ?1 AND seq < (SELECT max(seq) FROM event WHERE tenant_no = ?1)"
    " ORDER BY seq LIMIT ?2",
)
# Whole messages: the parts of one share its id, and go together.
_DELETE_INBOUND = (
    "DELETE FROM inbound_part WHERE tenant_no = ?1 AND id <= (SELECT id FROM (SELECT id FROM inbound_part"
    " WHERE tenant_no = ?1 AND id < ?2 ORDER BY id LIMIT ?3) AS step ORDER BY id DESC LIMIT 1)"
)
_HAS_MESSAGE = "EXISTS (SELECT 1 FROM message AS m WHERE m.tenant_no = r.tenant_no AND m.id = r.message_id)"
_KEYS = f"SELECT r.carrier_no, r.carrier_id, {_HAS_MESSAGE} AS there FROM {{}} AS r"  # noqa: S608 - a constant
_BEHIND = "WHERE (r.carrier_no, r.carrier_id) > (?1, ?2)"
REFS = Select(
    "carrier_no carrier_id there",
    f"{_KEYS.format('carrier_ref')} {_BEHIND} UNION ALL {_KEYS.format('carrier_ref_older')} {_BEHIND}"
    " ORDER BY 1, 2 LIMIT ?3",
)
REFS_OF = Lookup(
    "n carrier_no carrier_ids",
    "n, tenant_no, id",
    "SELECT v.n, m.carrier_no, m.carrier_ids FROM v"
    " CROSS JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id WHERE m.carrier_ids <> ''",
    "({n},?,?)",
)


def _lost_refs(table: str) -> Write:
    return Write(
        f"DELETE FROM {table} AS r WHERE (r.carrier_no, r.carrier_id) IN (VALUES {{values}}) AND NOT {_HAS_MESSAGE}",  # noqa: S608 - constants
        "(?,?)",
    )


SQL = RetainingSql(
    marks=_MARKS,
    mark=Plain(_MARK),
    set_mark=Plain(_SET_MARK),
    first=Plain(f"SELECT id {_RANGE} ORDER BY id LIMIT 1"),
    page=PAGE,
    left=LEFT,
    leave=_LEAVE,
    drop_left=_DROP_LEFT,
    shred_content=_body("content = x''", "content"),
    shred_envelope=_body("content = x'', envelope = x''", "envelope"),
    delete_body=Write("DELETE FROM body WHERE (tenant_no, id) IN (VALUES {values})", "(?,?)"),
    delete_message=Write("DELETE FROM message WHERE (tenant_no, id) IN (VALUES {values})", "(?,?)"),
    events=EVENTS,
    delete_events=Plain("DELETE FROM event WHERE tenant_no = ? AND seq <= ?"),
    delete_inbound=Plain(_DELETE_INBOUND),
    refs=REFS,
    refs_of=REFS_OF,
    delete_refs=_lost_refs("carrier_ref"),
    delete_older_refs=_lost_refs("carrier_ref_older"),
)
