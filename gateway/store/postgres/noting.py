"""The statements of `gateway.store.engine.noting`."""

from __future__ import annotations

from gateway.store.engine.statements import NotingSql
from gateway.store.postgres.bulk import Plain, Prepared, Select, Write

_NUMBERING = 0x534D534A  # of advisory locks: receipts of one oddity

_NOTE = Write(
    "INSERT INTO noted_receipt (oddity, no, at, carrier_no, carrier_id, tenant_no, message_id, stat, network_error,"
    " operator_done_at) SELECT oddity, no, at, carrier_no, carrier_id, tenant_no, message_id, stat, network_error,"
    " operator_done_at FROM {v}",
    "oddity int, no int, at int, carrier_no int, carrier_id text, tenant_no int, message_id bytes, stat text,"
    " network_error text, operator_done_at int",
)
# Nodes number them one after the other.
_LOCK = Plain("SELECT pg_advisory_xact_lock($1::int4, $2::int4)")
_LAST = Prepared(
    "SELECT coalesce(max(no), 0) FROM noted_receipt WHERE oddity = $1",
    before=_LOCK,
    bindings=lambda of: (_NUMBERING, of[0]),
)
_DROP = Plain("DELETE FROM noted_receipt WHERE oddity = $1 AND no <= $2")
NOTED = Select(
    "SELECT n.at, n.oddity, c.name, n.carrier_id, t.name, n.message_id, n.stat, n.network_error, n.operator_done_at"
    " FROM noted_receipt AS n JOIN carrier AS c ON c.no = n.carrier_no JOIN tenant AS t ON t.no = n.tenant_no"
    " ORDER BY n.at DESC LIMIT $1"
)

SQL = NotingSql(
    note=_NOTE,
    last=_LAST,
    drop=_DROP,
    noted=NOTED,
)
