"""Bringing the schema forward: a chain of migrations of its own, one node at a time.

Migrations are numbered SQL files; `migration` says which the database has had. They only go forward, and each is one
transaction. A database written by a newer smsgw is refused unless its migrations say that it can still be used, and one
of another program always.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.store.postgres.session import Session

SCHEMA = "smsgw"
OLDEST = 150_000  # server_version_num of PostgreSQL 15
MAX_SKEW_S = 2.0
# Of this program's advisory locks: two numbers of 32 bits. "SMSG", and what is locked.
LOCK_SPACE = 0x534D5347
_MIGRATING = 1
TURN_S = 60.0  # how long a start waits for another one's step: less than a service manager gives it
_LOCK = "SELECT pg_advisory_xact_lock($1::int4, $2::int4)"
# For another one's step alone: in tables a step of ours waits as long as every statement of the session.
_WAIT_LONGER = "SELECT set_config('lock_timeout', $1, true)"
_WAIT_AS_EVER = "SET LOCAL lock_timeout TO DEFAULT"
_VERSIONS = "CREATE TABLE migration (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
_TABLES = (
    "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1"
)
_VERSION = "SELECT coalesce(max(version), 0) FROM migration"
_USABLE_FROM = "SELECT coalesce(max(coalesce(usable_from, version)), 0) FROM migration WHERE version > $1"
_IS_MARKED = (
    "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('migration') AND attname = 'usable_from')"
)
_MARK = re.compile(r"-- usable from: ([0-9]+)\n")  # the first line of a migration that older programs can live with


def _files() -> list[Traversable]:
    folder = resources.files("gateway.store.postgres") / "migrations"
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)


def migrations() -> list[str]:
    """Return the SQL of each migration, in order."""
    return [entry.read_text(encoding="utf-8") for entry in _files()]


def migration_names() -> list[str]:
    """Return what people call each migration, in order."""
    return [entry.name.removesuffix(".sql") for entry in _files()]


def check_server(db: Session, name: str) -> None:
    """Refuse a server that does not keep what it has confirmed, or is too old. Raises StoreUnavailable."""
    version = db.connection.info.server_version
    if version < OLDEST:
        raise StoreUnavailable(f"{name}: the server is PostgreSQL {version // 10_000}; 15 is the oldest that will do")
    for setting in ("fsync", "full_page_writes"):
        ((value,),) = db.fetch("SELECT current_setting($1)", (setting,))
        if value != "on":
            raise StoreUnavailable(f"{name}: its server has {setting} = {value}, and would lose messages: set it to on")
    before = time.time()
    ((now,),) = db.fetch("SELECT extract(epoch FROM clock_timestamp())::double precision")
    skew = max(before - now, now - time.time(), 0.0)
    if skew > MAX_SKEW_S:
        raise StoreUnavailable(f"{name}: its clock and this one are {skew:.1f} s apart: set both by NTP")
    ((encoding,),) = db.fetch("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise StoreUnavailable(f"{name}: its encoding is {encoding}: create it with ENCODING 'UTF8'")


def version_of(db: Session, name: str) -> int:
    """Return how many migrations the database has had; 0 for one that is new. Raises StoreCorrupt for another's."""
    tables = {table for (table,) in db.fetch(_TABLES, (SCHEMA,))}
    if not tables:
        return 0
    if "migration" not in tables:
        raise StoreCorrupt(f"{name} has a schema {SCHEMA} of another program: name another database for the store")
    ((version,),) = db.fetch(_VERSION)
    return int(version)


def migrate(db: Session, name: str, steps: Sequence[str]) -> int:
    """Bring the schema to the newest version; returns the version it had.

    One that is newer than this program stays as it is, if what was done to it leaves it usable. Raises StoreUnavailable
    when it does not.
    """
    before = _found(db, name)
    for number in range(before + 1, len(steps) + 1):
        _step(db, name, number, steps[number - 1])
    after = version_of(db, name)  # a newer program may have been at work meanwhile
    if not usable(db, after, len(steps)):
        raise StoreUnavailable(
            f"{name} has schema {after}, and this smsgw knows {len(steps)}: run the newer smsgw that wrote it, or"
            " restore a backup",
            reason="STORE_SCHEMA_NEWER",
        )
    return before


def _found(db: Session, name: str) -> int:
    """Return how many migrations the database has had. A step of another one may hold what tells so."""
    with db.connection.transaction():
        db.fetch(_WAIT_LONGER, (f"{TURN_S * 1000:.0f}",))
        return version_of(db, name)


def _is_marked(db: Session) -> bool:
    """Say whether the database has come to where migrations say who can use it."""
    ((marked,),) = db.fetch(_IS_MARKED)
    return bool(marked)


def usable(db: Session, version: int, known: int) -> bool:
    """Say whether a program that knows so many migrations can use a database that has had `version`."""
    if version <= known or not _is_marked(db):
        return version <= known
    ((needed,),) = db.fetch(_USABLE_FROM, (known,))
    return int(needed) <= known


def usable_from(number: int, script: str) -> int:
    """Return how many migrations a program has to know after this one."""
    mark = _MARK.match(script)
    return int(mark.group(1)) if mark else number


def _step(db: Session, name: str, number: int, script: str) -> None:
    """Make one step, unless another node has made it meanwhile.

    A step that another one is at is waited for, also when that node was killed: its server goes on until it has an
    answer for a node that is gone, and undoes it all.
    """
    with db.connection.transaction():
        db.fetch(_WAIT_LONGER, (f"{TURN_S * 1000:.0f}",))
        db.send(_LOCK, (LOCK_SPACE, _MIGRATING))
        db.script(_WAIT_AS_EVER)
        db.script(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        version = version_of(db, name)
        if version >= number:
            return
        if not version:
            db.script(_VERSIONS)
        db.script(script)
        db.send("INSERT INTO migration (version) VALUES ($1)", (number,))
        if _is_marked(db):
            marked = (number, usable_from(number, script))
            db.fetch("UPDATE migration SET usable_from = $2 WHERE version = $1 RETURNING version", marked)
