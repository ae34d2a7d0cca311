"""What can be seen of a database beside a node, or before one uses it; and its schema, brought forward."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from gateway.store import soundness
from gateway.store.postgres import faults, schema
from gateway.store.postgres.target import Deadlines, Target, open_session

_MAY_CREATE = "SELECT to_regnamespace($1) IS NOT NULL OR has_database_privilege(current_database(), 'CREATE')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A database that a node could use, as far as its server and its schema go."""

    name: str
    server: str  # its version
    line: str  # how it is spoken with: "TLSv1.3", or plain text
    version: int  # of the schema; 0: there is none
    known: int  # to this program
    may_create: bool  # the schema, where there is none
    usable: bool  # by this program: it may be newer


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What holds between the rows of a database of this schema, and what does not."""

    problems: list[str]
    counts: dict[str, int]


_HAS_LOG = "SELECT to_regclass('log_head') IS NOT NULL"
_LOG_HEAD = "SELECT epoch, holder, size, checkpoint, pruned FROM log_head"
_ONE_MOMENT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_PATIENT = Deadlines(statement_s=3600.0, transaction_s=4 * 3600.0)  # everything is read


def judge(target: Target) -> Judged:
    """Look at all rows, of one moment. Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = open_session(target, _PATIENT, reads=True)
        try:
            db.script(_ONE_MOMENT)
            problems = [f"{rows} {rule}" for rule, rows in soundness.broken(db.fetch)]
            return Judged(problems=problems, counts=soundness.counts(db.fetch))
        finally:
            db.close()
    except psycopg.Error as error:
        raise faults.translate(error, target.name, starting=True) from None


def bring_forward(target: Target) -> None:
    """Bring the schema to the newest version, beside other nodes. Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = open_session(target, _PATIENT, reads=False)
        try:
            schema.check_server(db, target.name)
            schema.migrate(db, target.name, schema.migrations())
        finally:
            db.close()
    except psycopg.Error as error:
        raise faults.translate(error, target.name, starting=True) from None


def log_head(target: Target) -> tuple[int, str, int, bytes, int] | None:
    """Return the log over the audit as it stands (`gateway.store.sequencing.LogHead`); None where the schema has none.
    Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = open_session(target, Deadlines(), reads=True)
        try:
            ((there,),) = db.fetch(_HAS_LOG)
            rows = db.fetch(_LOG_HEAD) if there else []
            return tuple(rows[0]) if rows else None
        finally:
            db.close()
    except psycopg.Error as error:
        raise faults.translate(error, target.name, starting=True) from None


def inspect(target: Target) -> Seen:
    """Return what is there. Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = open_session(target, Deadlines(), reads=True)
        try:
            schema.check_server(db, target.name)
            ((may_create,),) = db.fetch(_MAY_CREATE, (schema.SCHEMA,))
            version = schema.version_of(db, target.name)
            info = db.connection.info
            return Seen(
                name=target.name,
                server=f"{info.server_version // 10_000}.{info.server_version % 10_000}",
                line="over TLS" if db.connection.pgconn.ssl_in_use else "on this machine, in plain text",
                version=version,
                known=len(schema.migrations()),
                may_create=bool(may_create),
                usable=schema.usable(db, version, len(schema.migrations())),
            )
        finally:
            db.close()
    except psycopg.Error as error:
        raise faults.translate(error, target.name, starting=True) from None
