"""Writing the tables anew that name persons: a server keeps old versions of rows in pages of tables and indexes.

VACUUM FULL holds a table for as long as that takes, and asks for its owner. It must not know who was erased.
"""

from __future__ import annotations

from psycopg import sql

from gateway.store.erasure import Remainder
from gateway.store.postgres.schema import SCHEMA
from gateway.store.postgres.session import Session

TABLES = ("message", "body", "carrier_ref", "carrier_ref_older", "kept_receipt", "noted_receipt", "inbound_held",
          "inbound_part")  # fmt: skip
_OWNED = (
    "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = ANY(%s) AND pg_has_role(c.relowner, 'USAGE')"
)
_WHAT = "masked number and keyed hash"
LOG = Remainder(
    f"{_WHAT}, and what was sealed",
    "the server's write-ahead log, its archive, and files of standbys",
    "the server, or who runs it, removes them",
)


def remains(why: str) -> Remainder:
    """Return what stays in the tables; `why`: until when."""
    return Remainder(_WHAT, f"old versions of rows in the server's files of {SCHEMA}: {', '.join(TABLES[:2])}", why)


def compact(db: Session) -> list[Remainder]:
    """Write the tables anew; what stays all the same. Raises psycopg.Error."""
    ((owned,),) = db.connection.execute(_OWNED, (SCHEMA, list(TABLES)))
    if owned < len(TABLES):
        return [remains("the owner of these tables runs VACUUM FULL on them: this node's role is not")]
    for table in TABLES:
        db.connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(SCHEMA, table)))
    return []
