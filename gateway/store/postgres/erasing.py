"""The statements of `gateway.store.engine.erasing`."""

from __future__ import annotations

from gateway.store.engine.statements import ErasingSql
from gateway.store.postgres.bulk import Lookup, Plain, Select, Write

SEALED = Lookup(
    "SELECT v.n, b.id, m.queue, b.envelope, b.content, m.carrier_no, m.carrier_ids FROM {v}"
    " JOIN body AS b ON b.tenant_no = v.tenant_no AND b.id = v.id"
    " JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes",
)
_PARTS = "SELECT tenant_no, id, part, payload FROM inbound_part WHERE (tenant_no, id, part) > ($1, $2, $3)"
KEPT = Select(
    "SELECT carrier_no, carrier_id, part_state, stat, recipient_hash, at, network_error FROM kept_receipt"
    " WHERE recipient_hash <> ''"
)
RETIRING = Select(
    "SELECT k.key_id, k.tenant_no, k.since, coalesce((SELECT oldest FROM resealing_key AS r WHERE r.key_id = k.key_id),"
    " '') FROM retiring_key AS k"
)
UNDER = Select(
    "SELECT b.id, m.queue, m.expires_at, b.envelope, b.content FROM body AS b"
    " JOIN message AS m ON m.tenant_no = b.tenant_no AND m.id = b.id"
    " WHERE b.tenant_no = $1 AND b.id > $2 AND b.id <= $3"
    " AND (substr(b.envelope, 2, 8) = $4 OR substr(b.content, 2, 8) = $4)"
)
_RESEAL = (
    "UPDATE body AS b SET envelope = v.envelope, content = v.content FROM {v}"
    " WHERE b.tenant_no = v.tenant_no AND b.id = v.id"
    " AND b.envelope = v.old_envelope AND b.content = v.old_content"
    " AND NOT EXISTS (SELECT 1 FROM message AS m WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.queue = 20)"
)
_RESEAL_PARTS = (
    "UPDATE inbound_part AS p SET payload = v.new FROM {v}"
    " WHERE p.tenant_no = v.tenant_no AND p.id = v.id AND p.part = v.part AND p.payload = v.old"
)
_NOTE_RESEALING = (
    "INSERT INTO resealing_key (key_id, oldest) SELECT key_id, oldest FROM {v}"
    " ON CONFLICT (key_id) DO UPDATE SET oldest = least(resealing_key.oldest, excluded.oldest)"
)
_ROW = "tenant_no int, id bytes"
_THIS = "t.tenant_no = v.tenant_no AND t.id = v.id"
_ERASE_BODY = f"UPDATE body AS t SET envelope = '', content = '', masked_recipient = '' FROM {{v}} WHERE {_THIS}"  # noqa: S608 - a constant
_ERASE_MESSAGE = (
    "UPDATE message AS t SET recipient_hash = '', carrier_ids = '', trace = NULL, reason_text = '', network_error = ''"  # noqa: S608 - a constant
    f" FROM {{v}} WHERE {_THIS}"
)
_ERASE_REFS = (
    "DELETE FROM {} AS r USING {{v}} WHERE r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id"
    " AND r.tenant_no = v.tenant_no AND r.message_id = v.message_id"
)
_REF = "carrier_no int, carrier_id text, tenant_no int, message_id bytes"
_ERASE_HELD = (
    "DELETE FROM inbound_held AS h USING {v}"
    " WHERE h.tenant_no = v.tenant_no AND h.group_hash = v.group_hash AND h.part = v.part"
)
_ERASE_KEPT = (
    "DELETE FROM kept_receipt AS k USING {v} WHERE k.carrier_no = v.carrier_no AND k.carrier_id = v.carrier_id"
    " AND k.part_state = v.part_state AND k.stat = v.stat AND k.recipient_hash = v.recipient_hash"
)

SQL = ErasingSql(
    sealed=SEALED,
    parts=Select(f"{_PARTS} ORDER BY tenant_no, id, part LIMIT $4"),
    parts_of=Select(f"{_PARTS} AND tenant_no = $4 ORDER BY tenant_no, id, part LIMIT $5"),
    held=Select("SELECT tenant_no, group_hash, part, payload FROM inbound_held"),
    kept=KEPT,
    noted=Select("SELECT at, carrier_no, carrier_id, message_id, stat, network_error FROM noted_receipt"),
    retire=Write(
        "INSERT INTO retiring_key (key_id, tenant_no, since) SELECT key_id, tenant_no, since FROM {v}"
        " ON CONFLICT (key_id) DO NOTHING",
        "key_id bytes, tenant_no int, since int",
    ),
    retiring=RETIRING,
    drop_retiring=Write("DELETE FROM retiring_key AS k USING {v} WHERE k.key_id = v.key_id", "key_id bytes"),
    drop_resealing=Write("DELETE FROM resealing_key AS k USING {v} WHERE k.key_id = v.key_id", "key_id bytes"),
    note_resealing=Write(_NOTE_RESEALING, "key_id bytes, oldest bytes"),
    erase_body=Write(_ERASE_BODY, _ROW),
    erase_message=Write(_ERASE_MESSAGE, _ROW),
    erase_refs=Write(_ERASE_REFS.format("carrier_ref"), _REF),
    erase_older_refs=Write(_ERASE_REFS.format("carrier_ref_older"), _REF),
    erase_parts=Write(
        f"DELETE FROM inbound_part AS t USING {{v}} WHERE {_THIS} AND t.part = v.part",  # noqa: S608 - a constant
        "tenant_no int, id bytes, part int",
    ),
    erase_held=Write(_ERASE_HELD, "tenant_no int, group_hash bytes, part int"),
    erase_kept=Write(_ERASE_KEPT, "carrier_no int, carrier_id text, part_state text, stat text, recipient_hash bytes"),
    erase_noted=Write("DELETE FROM noted_receipt AS n USING {v} WHERE n.message_id = v.message_id", "message_id bytes"),
    page_end=Plain("SELECT id FROM body WHERE tenant_no = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT 1 OFFSET $4"),
    under=UNDER,
    reseal=Write(
        _RESEAL,
        "tenant_no int, id bytes, old_envelope bytes, old_content bytes, envelope bytes, content bytes",
    ),
    reseal_parts=Write(_RESEAL_PARTS, "tenant_no int, id bytes, part int, old bytes, new bytes"),
)
