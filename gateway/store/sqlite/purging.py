"""The statements of `gateway.store.engine.purging`."""

from __future__ import annotations

from gateway.store.engine.statements import PurgingSql
from gateway.store.sqlite.bulk import Write

PURGE = Write(
    "WITH v (tenant_no, id, at, code, text) AS (VALUES {values}) UPDATE message SET state = 7, queue = NULL,"
    " done_at = v.at, reason_code = v.code, reason_text = v.text, smpp_status = NULL FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id AND message.state = 1",
    "(?,?,?,?,?)",
)

SQL = PurgingSql(purge=PURGE)
