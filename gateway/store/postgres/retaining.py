"""The statements of `gateway.store.engine.retaining`."""

from __future__ import annotations

from gateway.store.engine.statements import RetainingSql
from gateway.store.postgres.bulk import Lookup, Plain, Select, Write

_SET_MARK = (
    "INSERT INTO retention (tenant_no, categories, stage, up_to) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (tenant_no, categories, stage) DO UPDATE SET up_to = excluded.up_to"
)
_RANGE = "FROM message WHERE tenant_no = $1 AND id > $2 AND id < $3"
PAGE = Select(f"SELECT id, category, queue, done_at, expires_at {_RANGE} ORDER BY id LIMIT $4")
LEFT = Select(
    "SELECT l.tenant_no, l.stage, l.id, m.category, m.queue, m.done_at, m.expires_at FROM retention_left AS l"
    " LEFT JOIN message AS m ON m.tenant_no = l.tenant_no AND m.id = l.id"
    " WHERE l.due_at <= $1 ORDER BY l.due_at LIMIT $2"
)
_LEAVE = Write(
    "INSERT INTO retention_left (tenant_no, stage, id, due_at) SELECT tenant_no, stage, id, due_at FROM {v}"
    " ON CONFLICT (tenant_no, stage, id) DO UPDATE SET due_at = excluded.due_at",
    "tenant_no int, stage int, id bytes, due_at int",
)
_DROP_LEFT = Write(
    "DELETE FROM retention_left AS l USING {v} WHERE l.tenant_no = v.tenant_no AND l.stage = v.stage AND l.id = v.id",
    "tenant_no int, stage int, id bytes",
)
_ROW = "tenant_no int, id bytes"


def _body(change: str, there: str) -> Write:
    text = f"UPDATE body AS b SET {change} FROM {{v}} WHERE b.tenant_no = v.tenant_no AND b.id = v.id"  # noqa: S608 - a constant
    return Write(f"{text} AND octet_length(b.{there}) > 0", _ROW)


def _delete(table: str) -> Write:
    return Write(f"DELETE FROM {table} AS t USING {{v}} WHERE t.tenant_no = v.tenant_no AND t.id = v.id", _ROW)  # noqa: S608 - a constant


EVENTS = Select(
    "SELECT seq, at FROM event WHERE tenant_no = $1 AND seq < (SELECT max(seq) FROM event WHERE tenant_no = $1)"
    " ORDER BY seq LIMIT $2"
)
# Whole messages: the parts of one share its id, and go together.
_DELETE_INBOUND = (
    "DELETE FROM inbound_part WHERE tenant_no = $1 AND id <= (SELECT id FROM (SELECT id FROM inbound_part"
    " WHERE tenant_no = $1 AND id < $2 ORDER BY id LIMIT $3) AS step ORDER BY id DESC LIMIT 1)"
)
_HAS_MESSAGE = "EXISTS (SELECT 1 FROM message AS m WHERE m.tenant_no = r.tenant_no AND m.id = r.message_id)"
_KEYS = (
    f"(SELECT r.carrier_no, r.carrier_id, {_HAS_MESSAGE} FROM {{}} AS r"  # noqa: S608 - a constant
    " WHERE (r.carrier_no, r.carrier_id) > ($1, $2) ORDER BY r.carrier_no, r.carrier_id LIMIT $3)"
)
REFS = Select(f"{_KEYS.format('carrier_ref')} UNION ALL {_KEYS.format('carrier_ref_older')} ORDER BY 1, 2 LIMIT $3")
REFS_OF = Lookup(
    "SELECT v.n, m.carrier_no, m.carrier_ids FROM {v}"
    " JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id WHERE m.carrier_ids <> ''",
    _ROW,
)


def _lost_refs(table: str) -> Write:
    return Write(
        f"DELETE FROM {table} AS r USING {{v}} WHERE r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id"  # noqa: S608 - constants
        f" AND NOT {_HAS_MESSAGE}",
        "carrier_no int, carrier_id text",
    )


SQL = RetainingSql(
    marks=Select("SELECT tenant_no, categories, stage, up_to FROM retention"),
    mark=Plain("SELECT up_to FROM retention WHERE tenant_no = $1 AND categories = $2 AND stage = $3 FOR UPDATE"),
    set_mark=Plain(_SET_MARK),
    first=Plain(f"SELECT id {_RANGE} ORDER BY id LIMIT 1"),
    page=PAGE,
    left=LEFT,
    leave=_LEAVE,
    drop_left=_DROP_LEFT,
    shred_content=_body("content = ''", "content"),
    shred_envelope=_body("content = '', envelope = ''", "envelope"),
    delete_body=_delete("body"),
    delete_message=_delete("message"),
    events=EVENTS,
    delete_events=Plain("DELETE FROM event WHERE tenant_no = $1 AND seq <= $2"),
    delete_inbound=Plain(_DELETE_INBOUND),
    refs=REFS,
    refs_of=REFS_OF,
    delete_refs=_lost_refs("carrier_ref"),
    delete_older_refs=_lost_refs("carrier_ref_older"),
)
