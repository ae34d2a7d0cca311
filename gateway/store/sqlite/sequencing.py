"""The statements of `gateway.store.engine.sequencing`."""

from __future__ import annotations

from gateway.store.engine.statements import SequencingSql
from gateway.store.sqlite.bulk import Lookup, Plain, Write

_NOW = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
_HEAD = "epoch, holder, size, checkpoint, pruned, cosigned"
_LEASE = (
    "UPDATE log_head SET epoch = epoch + (?2 < 0), holder = ?1,"  # noqa: S608 - constants
    f" held_until = {_NOW} + ?3 WHERE single = 1 AND"
    f" ((?2 < 0 AND (holder = ?1 OR held_until <= {_NOW})) OR (epoch = ?2 AND holder = ?1)) RETURNING {_HEAD}"
)
_PUT = Write(
    "INSERT INTO log_tile (level, number, width, octets) VALUES {values} ON CONFLICT (level, number)"
    " DO UPDATE SET width = excluded.width, octets = excluded.octets",
    "(?,?,?,?)",
)
TILES = Lookup(
    "n level number width :octets",
    "n, level, number",
    "SELECT v.n, t.level, t.number, t.width, t.octets FROM v"
    " CROSS JOIN log_tile AS t ON t.level = v.level AND t.number = v.number",
    "({n},?,?)",
)

SQL = SequencingSql(
    lease=Plain(_LEASE),
    release=Plain("UPDATE log_head SET held_until = 0 WHERE single = 1 AND epoch = ?"),
    advance=Plain("UPDATE log_head SET size = ? WHERE single = 1 AND epoch = ? AND size = ?"),
    put=_PUT,
    publish=Plain(
        "UPDATE log_head SET checkpoint = ?1, checkpoint_size = ?2"
        " WHERE single = 1 AND epoch = ?3 AND checkpoint_size <= ?2 AND size >= ?2"
    ),
    cosigned=Plain(
        "UPDATE log_head SET cosigned = ?1, cosigned_size = ?2"
        " WHERE single = 1 AND epoch = ?3 AND cosigned_size <= ?2 AND size >= ?2"
    ),
    head=Plain(f"SELECT {_HEAD} FROM log_head WHERE single = 1"),  # noqa: S608 - a constant
    tiles=TILES,
    allow_prune=Plain(
        "UPDATE log_head SET pruned = ?1 WHERE single = 1 AND epoch = ?2 AND size >= ?1"
        " AND EXISTS (SELECT 1 FROM audit_commit WHERE seq > ?1)"
    ),
    prune=Plain("DELETE FROM audit_commit WHERE seq <= ?"),
)
