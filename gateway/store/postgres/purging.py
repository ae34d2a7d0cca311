"""The statements of `gateway.store.engine.purging`."""

from __future__ import annotations

from gateway.store.engine.statements import PurgingSql
from gateway.store.postgres.bulk import Write

PURGE = Write(
    "UPDATE message AS m SET state = 7, queue = NULL, done_at = v.at, reason_code = v.code, reason_text = v.text,"
    " smpp_status = NULL FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.state = 1",
    "tenant_no int, id bytes, at int, code text, text text",
)

SQL = PurgingSql(
    purge=PURGE,
)
