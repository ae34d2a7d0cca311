"""The statements of `gateway.store.engine.key_use`."""

from __future__ import annotations

from gateway.store.engine.statements import KeyUseSql
from gateway.store.postgres.bulk import Select

# Octets 2 to 9 of a sealed field are its key's id (gateway.sealing.envelope); what was shredded has none.
PAGE = Select(
    "SELECT m.due_at, m.tenant_no, m.id, substring(coalesce(b.envelope, ''::bytea) FROM 2 FOR 8),"
    " substring(coalesce(b.content, ''::bytea) FROM 2 FOR 8)"
    " FROM message AS m JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " WHERE m.queue = $1 AND (m.due_at, m.tenant_no, m.id) > ($2, $3, $4)"
    " ORDER BY m.due_at, m.tenant_no, m.id LIMIT $5"
)

SQL = KeyUseSql(page=PAGE)
