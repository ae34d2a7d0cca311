"""The audit record of a revocation: made when an operator asks for it, and by each node that takes one up from
elsewhere."""

from __future__ import annotations

from gateway.audit.records import RevocationChanged
from gateway.revocation.entries import Entry


def revocation_record(entry: Entry, *, at: int, node: str, by: str, restored: str = "") -> RevocationChanged:
    """Return the record of an entry; `restored`: why it is taken back, if it is."""
    return RevocationChanged(
        at=at,
        node=node,
        by=by,
        restored=bool(restored),
        revocation=entry.id,
        what=entry.what.name.lower(),
        spiffe_id=entry.spiffe_id,
        serial=entry.serial,
        authority_key_id=entry.authority_key_id,
        key=entry.key_hash,
        queued=entry.queued.name.lower(),
        reason=restored or entry.reason,
    )
