"""The statements of `gateway.store.engine.noting`."""

from __future__ import annotations

from gateway.store.engine.statements import NotingSql
from gateway.store.sqlite.bulk import Plain, Select, Write

_NOTE = Write(
    "INSERT INTO noted_receipt (oddity, no, at, carrier_no, carrier_id, tenant_no, message_id, stat, network_error,"
    " operator_done_at) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?)",
)
_LAST = "SELECT ifnull(max(no), 0) FROM noted_receipt WHERE oddity = ?"
_DROP = "DELETE FROM noted_receipt WHERE oddity = ? AND no <= ?"
NOTED = Select(
    "at oddity carrier carrier_id tenant :message_id stat network_error operator_done_at",
    "SELECT n.at, n.oddity, c.name AS carrier, n.carrier_id, t.name AS tenant, n.message_id, n.stat, n.network_error,"
    " n.operator_done_at FROM noted_receipt AS n INDEXED BY noted_receipt_age"
    " CROSS JOIN carrier AS c ON c.no = n.carrier_no CROSS JOIN tenant AS t ON t.no = n.tenant_no"
    " ORDER BY n.at DESC LIMIT ?",
)

SQL = NotingSql(
    note=_NOTE,
    last=Plain(_LAST),
    drop=Plain(_DROP),
    noted=NOTED,
)
