"""The statements of `gateway.store.engine.sequencing`."""

from __future__ import annotations

from gateway.store.engine.statements import SequencingSql
from gateway.store.postgres.bulk import Lookup, Plain, Write

_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_HEAD = "epoch, holder, size, checkpoint, pruned, cosigned"
_LEASE = Plain(
    "UPDATE log_head SET epoch = epoch + CASE WHEN $2::bigint < 0 THEN 1 ELSE 0 END, holder = $1,"  # noqa: S608 - constants
    f" held_until = {_NOW} + $3::bigint WHERE ($2::bigint < 0 AND (holder = $1 OR held_until <= {_NOW}))"
    f" OR (epoch = $2::bigint AND holder = $1) RETURNING {_HEAD}"
)
_PUT = Write(
    "INSERT INTO log_tile (level, number, width, octets) SELECT level, number, width, octets FROM {v}"
    " ON CONFLICT (level, number) DO UPDATE SET width = excluded.width, octets = excluded.octets",
    "level int, number int, width int, octets bytes",
)
TILES = Lookup(
    "SELECT v.n, t.level, t.number, t.width, t.octets FROM {v}"
    " JOIN log_tile AS t ON t.level = v.level AND t.number = v.number",
    "level int, number int",
)

SQL = SequencingSql(
    lease=_LEASE,
    release=Plain("UPDATE log_head SET held_until = 0 WHERE epoch = $1"),
    advance=Plain("UPDATE log_head SET size = $1 WHERE epoch = $2 AND size = $3"),
    put=_PUT,
    publish=Plain(
        "UPDATE log_head SET checkpoint = $1, checkpoint_size = $2"
        " WHERE epoch = $3 AND checkpoint_size <= $2 AND size >= $2"
    ),
    cosigned=Plain(
        "UPDATE log_head SET cosigned = $1, cosigned_size = $2 WHERE epoch = $3 AND cosigned_size <= $2 AND size >= $2"
    ),
    head=Plain(f"SELECT {_HEAD} FROM log_head"),  # noqa: S608 - a constant
    tiles=TILES,
    allow_prune=Plain(
        "UPDATE log_head SET pruned = $1 WHERE epoch = $2 AND size >= $1"
        " AND EXISTS (SELECT 1 FROM audit_commit WHERE seq > $1)"
    ),
    prune=Plain("DELETE FROM audit_commit WHERE seq <= $1"),
)
