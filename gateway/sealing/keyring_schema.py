"""The database of wrapped keys: its schema, and what each sort of node may do there.

It is no part of the message database, nor may it be in the same one: a dump of the messages would hold what destroying
a key is meant to take away.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

SCHEMA = "smsgw_keys"
OLDEST = 150_000  # server_version_num of PostgreSQL 15
VERSION = 2

# A destroyed key has no wrap, and says why.
CREATE = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.format (version integer PRIMARY KEY);
INSERT INTO {SCHEMA}.format (version) VALUES ({VERSION});
CREATE TABLE {SCHEMA}.wrapped_key (
    key_id bytea PRIMARY KEY CHECK (octet_length(key_id) = 8),
    node text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    made_at bigint NOT NULL,
    usable_until bigint NOT NULL,
    seals text COLLATE "C" NOT NULL DEFAULT '',
    kek text COLLATE "C",
    wrapped bytea CHECK (octet_length(wrapped) <= 4096),
    destroyed_at bigint,
    destroyed_by text,
    destroyed_why text,
    CHECK ((wrapped IS NULL) = (kek IS NULL) AND (wrapped IS NULL) = (destroyed_at IS NOT NULL)),
    CHECK ((destroyed_at IS NULL) = (destroyed_by IS NULL) AND (destroyed_at IS NULL) = (destroyed_why IS NULL))
);
"""  # noqa: S608 -- constants of this module

# From version 1, in which keys had no purpose, and whose programs cannot open what is sealed from now on. By the owner
# of the schema. A later format that leaves programs of this one a way adds a column `usable_from` to `format`, and says
# so there.
UPGRADE = f"""
ALTER TABLE {SCHEMA}.wrapped_key ADD COLUMN seals text COLLATE "C" NOT NULL DEFAULT '';
INSERT INTO {SCHEMA}.format (version) VALUES ({VERSION});
"""  # noqa: S608 -- constants of this module

# What a role may do, by what its nodes do. The owner of the schema, who made it, may do all of it, and destroy.
_GRANTS = {
    "accept": ("INSERT",),  # makes keys; reads none, its own neither
    "relay": ("INSERT", "SELECT"),
    "both": ("INSERT", "SELECT"),
}
SORTS = tuple(_GRANTS)


def grants(sort: str, role: str, *, keeps: bool = False) -> Sequence[sql.Composed]:
    """Return the statements that give `role` what a node of this sort ("accept", "relay", "both") needs, no more.

    `keeps`: operators rewrap and destroy keys by way of this node. They are for the owner of the schema, who has to be
    another role.
    """
    name, schema = sql.Identifier(role), sql.Identifier(SCHEMA)
    table, version = sql.Identifier(SCHEMA, "wrapped_key"), sql.Identifier(SCHEMA, "format")
    may = sql.SQL(", ").join(map(sql.SQL, (*_GRANTS[sort], *(("UPDATE",) if keeps else ()))))
    return (
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(schema, name),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name),
        sql.SQL("GRANT SELECT ON {} TO {}").format(version, name),
        sql.SQL("GRANT {} ON {} TO {}").format(may, table, name),
    )
