"""The statements of `gateway.store.engine.erasing`."""

from __future__ import annotations

from gateway.store.engine.statements import ErasingSql
from gateway.store.sqlite.bulk import Lookup, Plain, Select, Write

SEALED = Lookup(
    "n :id queue :envelope :content carrier_no carrier_ids",
    "n, tenant_no, id",
    "SELECT v.n, b.id, m.queue, b.envelope, b.content, m.carrier_no, m.carrier_ids FROM v"
    " CROSS JOIN body AS b ON b.tenant_no = v.tenant_no AND b.id = v.id"
    " CROSS JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id",
    "({n},?,?)",
)
_PART_COLUMNS = "tenant_no :id part :payload"
_PARTS = "SELECT tenant_no, id, part, payload FROM inbound_part WHERE (tenant_no, id, part) > (?1, ?2, ?3)"
HELD = Select("tenant_no :group_hash part :payload", "SELECT tenant_no, group_hash, part, payload FROM inbound_held")
KEPT = Select(
    "carrier_no carrier_id part_state stat :recipient_hash at network_error",
    "SELECT carrier_no, carrier_id, part_state, stat, recipient_hash, at, network_error FROM kept_receipt"
    " WHERE recipient_hash <> x''",
)
NOTED = Select(
    "at carrier_no carrier_id :message_id stat network_error",
    "SELECT at, carrier_no, carrier_id, message_id, stat, network_error FROM noted_receipt",
)
RETIRING = Select(
    ":key_id tenant_no since :oldest",
    "SELECT k.key_id, k.tenant_no, k.since, ifnull((SELECT oldest FROM resealing_key AS r WHERE r.key_id = k.key_id),"
    " x'') AS oldest FROM retiring_key AS k",
)
UNDER = Select(
    ":id queue expires_at :envelope :content",
    "SELECT b.id, m.queue, m.expires_at, b.envelope, b.content FROM body AS b"
    " CROSS JOIN message AS m ON m.tenant_no = b.tenant_no AND m.id = b.id"
    " WHERE b.tenant_no = ?1 AND b.id > ?2 AND b.id <= ?3"
    " AND (substr(b.envelope, 2, 8) = ?4 OR substr(b.content, 2, 8) = ?4)",
)
_RESEAL = (
    "WITH v (tenant_no, id, old_envelope, old_content, envelope, content) AS (VALUES {values})"
    " UPDATE body SET envelope = v.envelope, content = v.content FROM v"
    " WHERE body.tenant_no = v.tenant_no AND body.id = v.id"
    " AND body.envelope = v.old_envelope AND body.content = v.old_content"
    " AND NOT EXISTS (SELECT 1 FROM message AS m WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.queue = 20)"
)
_RESEAL_PARTS = (
    "WITH v (tenant_no, id, part, old, new) AS (VALUES {values}) UPDATE inbound_part SET payload = v.new FROM v"
    " WHERE inbound_part.tenant_no = v.tenant_no AND inbound_part.id = v.id AND inbound_part.part = v.part"
    " AND inbound_part.payload = v.old"
)
_NOTE_RESEALING = (
    "INSERT INTO resealing_key (key_id, oldest) VALUES {values}"
    " ON CONFLICT (key_id) DO UPDATE SET oldest = min(oldest, excluded.oldest)"
)
_ERASE_BODY = (
    "UPDATE body SET envelope = x'', content = x'', masked_recipient = '' WHERE (tenant_no, id) IN (VALUES {values})"
)
_ERASE_MESSAGE = (
    "UPDATE message SET recipient_hash = x'', carrier_ids = '', trace = NULL, reason_text = '', network_error = ''"
    " WHERE (tenant_no, id) IN (VALUES {values})"
)
_ERASE_REFS = "DELETE FROM {} WHERE (carrier_no, carrier_id, tenant_no, message_id) IN (VALUES {{values}})"
_ERASE_KEPT = (
    "DELETE FROM kept_receipt WHERE (carrier_no, carrier_id, part_state, stat, recipient_hash) IN (VALUES {values})"
)

SQL = ErasingSql(
    sealed=SEALED,
    parts=Select(_PART_COLUMNS, f"{_PARTS} ORDER BY tenant_no, id, part LIMIT ?4"),
    parts_of=Select(_PART_COLUMNS, f"{_PARTS} AND tenant_no = ?4 ORDER BY tenant_no, id, part LIMIT ?5"),
    held=HELD,
    kept=KEPT,
    noted=NOTED,
    retire=Write("INSERT OR IGNORE INTO retiring_key (key_id, tenant_no, since) VALUES {values}", "(?,?,?)"),
    retiring=RETIRING,
    drop_retiring=Write("DELETE FROM retiring_key WHERE key_id IN (VALUES {values})", "(?)"),
    drop_resealing=Write("DELETE FROM resealing_key WHERE key_id IN (VALUES {values})", "(?)"),
    note_resealing=Write(_NOTE_RESEALING, "(?,?)"),
    erase_body=Write(_ERASE_BODY, "(?,?)"),
    erase_message=Write(_ERASE_MESSAGE, "(?,?)"),
    erase_refs=Write(_ERASE_REFS.format("carrier_ref"), "(?,?,?,?)"),
    erase_older_refs=Write(_ERASE_REFS.format("carrier_ref_older"), "(?,?,?,?)"),
    erase_parts=Write("DELETE FROM inbound_part WHERE (tenant_no, id, part) IN (VALUES {values})", "(?,?,?)"),
    erase_held=Write("DELETE FROM inbound_held WHERE (tenant_no, group_hash, part) IN (VALUES {values})", "(?,?,?)"),
    erase_kept=Write(_ERASE_KEPT, "(?,?,?,?,?)"),
    erase_noted=Write("DELETE FROM noted_receipt WHERE message_id IN (VALUES {values})", "(?)"),
    page_end=Plain("SELECT id FROM body WHERE tenant_no = ? AND id > ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?"),
    under=UNDER,
    reseal=Write(_RESEAL, "(?,?,?,?,?,?)"),
    reseal_parts=Write(_RESEAL_PARTS, "(?,?,?,?,?)"),
)
