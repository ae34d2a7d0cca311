"""What a node's role of the database may do, by what the node does: as SQL for the owner of the schema.

No role but the owner changes the schema. A node that only accepts adds rows and changes their states; it cannot alter
the audit or the log, and deletes only what every node clears away (keys, receipts and references that have expired, its
own lease).
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from gateway.store.postgres.schema import SCHEMA

# What a node clears away, whatever its role: see gateway.store.engine.purging and gateway.store.postgres.leases.
_CLEARED = (
    "idempotency", "inbound_held", "inbound_part", "kept_receipt", "noted_receipt", "carrier_ref", "carrier_ref_older",
    "lease", "node", "bind_wish",
)  # fmt: skip
_KEPT = ("audit_commit", "log_tile", "log_head", "migration")  # what an accepting node may not change
_ADDED = ("audit_commit",)  # but adds to

_EVERYTHING = {
    "relay": ("SELECT, INSERT, UPDATE, DELETE",),
    "both": ("SELECT, INSERT, UPDATE, DELETE",),
    "accept": ("SELECT, INSERT, UPDATE",),
}


def grants(sort: str, role: str) -> Sequence[sql.Composed]:
    """Return the statements that give `role` what a node of this sort ("accept", "relay", "both") needs, no more. They
    are for the owner of the schema, who has to be another role."""
    name, schema = sql.Identifier(role), sql.Identifier(SCHEMA)
    statements = [
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(schema, name),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name),
        sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}").format(schema, name),
        sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {} TO {}").format(schema, name),
    ]
    for privileges in _EVERYTHING[sort]:
        may = sql.SQL(", ").join(map(sql.SQL, privileges.split(", ")))
        statements.append(sql.SQL("GRANT {} ON ALL TABLES IN SCHEMA {} TO {}").format(may, schema, name))
    if sort == "accept":
        kept, cleared = _tables(_KEPT), _tables(_CLEARED)
        statements.append(sql.SQL("REVOKE INSERT, UPDATE ON {} FROM {}").format(kept, name))
        statements.append(sql.SQL("GRANT INSERT ON {} TO {}").format(_tables(_ADDED), name))
        statements.append(sql.SQL("GRANT DELETE ON {} TO {}").format(cleared, name))
    else:
        statements.append(sql.SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}").format(_tables(("migration",)), name))
    return statements


def _tables(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(SCHEMA, name) for name in names)
