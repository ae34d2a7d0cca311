"""Wrapped data keys in a PostgreSQL database of their own: each node opens what any of them has sealed.

One connection, opened when it is needed. Every operation has a deadline: the server's own for what it is slow at, and a
line that is cut for a server, or a network, that does not answer. An operation that met a lost connection is done once
more on a new one. It must not know what is sealed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import Connection, sql
from psycopg.pq import ConnStatus

from gateway.errors import StoreUnavailable
from gateway.postgres_target import Deadlines, Target, cut_line, login
from gateway.sealing.keyring import (
    EVERY_KEY,
    DestroyedKey,
    KeyRecord,
    KeyringUnavailable,
    Rewrap,
    Selection,
    Tombstone,
    WrappedKey,
    day_of,
    first_id_of,
)
from gateway.sealing.keyring_schema import CREATE, OLDEST, SCHEMA, UPGRADE, VERSION
from gateway.sealing.providers import Wrapped

T = TypeVar("T")

_PAGE = 1000
_LOCK = (0x534D5347, 2)  # of this program's advisory locks: the schema of keys is made
_DEADLINES = Deadlines(connect_s=3.0, statement_s=5.0, lock_s=3.0, transaction_s=10.0, unanswered_s=5.0)
_FIELDS = "key_id, node, tenant, made_at, usable_until, seals, kek, wrapped, destroyed_at, destroyed_by, destroyed_why"
_INSERT = """
INSERT INTO wrapped_key (key_id, node, tenant, made_at, usable_until, seals, kek, wrapped)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_FIND = f"SELECT {_FIELDS} FROM wrapped_key WHERE key_id = %s"  # noqa: S608 -- a constant of this module
_PAGE_OF = f"""
SELECT {_FIELDS} FROM wrapped_key
WHERE key_id > %(after)s AND key_id < %(before)s AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
AND (%(kek)s::text IS NULL OR kek = %(kek)s) AND (%(node)s::text IS NULL OR node = %(node)s)
ORDER BY key_id LIMIT %(limit)s
"""  # noqa: S608 -- a constant of this module
_DAYS = "SELECT DISTINCT substr(key_id, 1, 2) AS day FROM wrapped_key ORDER BY day DESC LIMIT %s"
_REWRAP = """
UPDATE wrapped_key AS k SET kek = c.kek, wrapped = c.wrapped
FROM unnest(%s::bytea[], %s::text[], %s::bytea[], %s::text[], %s::bytea[]) AS c (key_id, was_kek, was, kek, wrapped)
WHERE k.key_id = c.key_id AND k.kek = c.was_kek AND k.wrapped = c.was
"""
_DESTROY = """
UPDATE wrapped_key SET kek = NULL, wrapped = NULL, destroyed_at = %s, destroyed_by = %s, destroyed_why = %s
WHERE key_id = ANY(%s) AND wrapped IS NOT NULL RETURNING key_id
"""
_OURS = "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s"
_MESSAGES = f"{_OURS} AND c.relname = 'message'"
# A newer format may say so, in a column that it brings: the oldest one whose programs can use it.
_IS_MARKED = """
SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE n.nspname = %s AND c.relname = 'format' AND a.attname = 'usable_from'
"""
_USABLE_FROM = "SELECT max(coalesce(usable_from, version)) FROM format WHERE version > %s"
_ADVICE = {
    "28": "the server refuses the login: check keys.wrapped.postgres and the password",
    "3D": "there is no such database: create it, apart from that of the messages",
    "42501": "the role may not do this: docs/keys.md says what it needs",
    "25006": "the server only reads, as a standby does: name the one that writes",
    "53100": "the server's disk is full",
    "55P03": "another session holds it locked: try again",
    "23505": "a key of that id is there already: nothing was kept",
}


class PostgresKeyring:
    """The database of wrapped keys (`gateway.sealing.keyring.Keyring`)."""

    def __init__(self, target: Target, *, deadlines: Deadlines = _DEADLINES) -> None:
        self._target = target
        self._deadlines = deadlines
        self._connection: Connection[Any] | None = None
        self._working = threading.Lock()

    @property
    def name(self) -> str:
        """The database."""
        return self._target.name

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Keep new keys: committed on return. Raises KeyringUnavailable; use none of them then."""
        rows = [(*key[:5], key.purpose, key.wrapped.kek_id, key.wrapped.octets) for key in keys]

        def work(connection: Connection[Any]) -> None:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(_INSERT, rows)

        if rows:
            self._do(work)

    def find(self, key_id: bytes) -> KeyRecord | None:
        """Return a key's record, None when there is none. Raises KeyringUnavailable."""
        row = self._do(lambda connection: connection.execute(_FIND, (key_id,)).fetchone())
        return None if row is None else _record(row)

    def records(self, which: Selection = EVERY_KEY) -> Iterator[KeyRecord]:
        """Yield the records that are meant, oldest day first, read page by page. Raises KeyringUnavailable."""
        after = b"" if which.first_day is None else first_id_of(which.first_day)[:2]  # shorter: before every id of it
        before = b"\xff" * 9 if which.last_day is None else first_id_of(which.last_day + timedelta(days=1))
        while True:
            asked = {"before": before, "limit": _PAGE, "after": after}
            wanted = {"tenant": which.tenant, "kek": which.kek_id, "node": which.node}
            rows = self._do(partial(_fetch, _PAGE_OF, asked | wanted))
            yield from map(_record, rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def newest_days(self, count: int) -> list[date]:
        """Return the newest days of which there are keys, newest last. Raises KeyringUnavailable."""
        rows = self._do(lambda connection: connection.execute(_DAYS, (count,)).fetchall())
        return [day_of(day) for (day,) in reversed(rows)]

    def rewrap(self, changes: Sequence[Rewrap]) -> int:
        """Put each new wrap in the place of the old one, unless another is there by now; how many were replaced.

        Raises KeyringUnavailable.
        """
        columns = [
            [change.key_id for change in changes],
            [change.old.kek_id for change in changes],
            [change.old.octets for change in changes],
            [change.new.kek_id for change in changes],
            [change.new.octets for change in changes],
        ]
        return self._do(lambda connection: connection.execute(_REWRAP, columns).rowcount) if changes else 0

    def destroy(self, key_ids: Collection[bytes], stone: Tombstone) -> list[bytes]:
        """Destroy keys for good, and leave the tombstone; the ids of those that were not destroyed yet.

        The table is written anew, so that no old version of a row is left in its files. Raises KeyringUnavailable.
        """
        asked = (*stone, list(key_ids))
        rows = self._do(lambda connection: connection.execute(_DESTROY, asked).fetchall())
        with contextlib.suppress(KeyringUnavailable):  # not the owner, or somebody reads: a later one does it
            self._do(lambda connection: connection.execute("VACUUM (FULL) wrapped_key"))
        return [key_id for (key_id,) in rows]

    def close(self) -> None:
        """End the connection, if there is one."""
        with self._working:
            self._drop()

    def _do(self, work: Callable[[Connection[Any]], T]) -> T:
        """Do something, on a new connection once more when the one there was had been lost."""
        with self._working:
            had = self._connection is not None
            try:
                try:
                    return self._on_a_line(work)
                except psycopg.OperationalError:
                    if not had or self._connection is not None:  # what a living server refuses, it means
                        raise
                    return self._on_a_line(work)
            except psycopg.Error as error:
                raise KeyringUnavailable(_why(error, self.name)) from error
            except StoreUnavailable as error:  # its password
                raise KeyringUnavailable(str(error)) from error

    def _on_a_line(self, work: Callable[[Connection[Any]], T]) -> T:
        if self._connection is None:
            self._connection = self._opened()
        try:
            return self._watched(self._connection, work)
        finally:
            if self._connection.closed or self._connection.pgconn.status != ConnStatus.OK:
                self._drop()

    def _watched(self, connection: Connection[Any], work: Callable[[Connection[Any]], T]) -> T:
        """Do something, and cut the line when it takes too long."""
        timer = threading.Timer(self._deadlines.transaction_s, cut_line, (connection,))
        timer.daemon = True
        timer.start()
        try:
            return work(connection)
        finally:
            timer.cancel()

    def _opened(self) -> Connection[Any]:
        connection: Connection[Any] = Connection.connect(
            **login(self._target, self._deadlines),
            target_session_attrs="read-write",
            application_name="smsgw keys",
            options=" ".join(f"-c {name}={value}" for name, value in _settings(self._deadlines).items()),
        )
        try:
            self._watched(connection, lambda connection: _prepare(connection, self.name))
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _fetch(text: LiteralString, asked: Mapping[str, object], connection: Connection[Any]) -> list[Any]:
    return connection.execute(text, asked).fetchall()


def _settings(deadlines: Deadlines) -> dict[str, str]:
    return {
        "search_path": f"{SCHEMA},pg_temp",
        "synchronous_commit": "on",
        "statement_timeout": f"{deadlines.statement_s * 1000:.0f}",
        "lock_timeout": f"{deadlines.lock_s * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{deadlines.transaction_s * 1000:.0f}",
        "default_transaction_isolation": "read\\ committed",
        "client_min_messages": "error",
        "timezone": "UTC",
    }


def _prepare(connection: Connection[Any], name: str) -> None:
    """See that the database is one for keys, and make its tables when it is new. Raises KeyringUnavailable."""
    if connection.info.server_version < OLDEST:
        raise KeyringUnavailable(f"{name}: PostgreSQL 15 is the oldest that will do")
    for setting in ("fsync", "full_page_writes"):
        row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
        if row != ("on",):
            raise KeyringUnavailable(f"{name}: its server has {setting} off, and would lose keys: set it to on")
    if connection.execute(_MESSAGES, ("smsgw",)).fetchone() != (0,):
        raise KeyringUnavailable(f"{name} holds messages: the keys belong into another database, which it is not")
    if connection.execute(_OURS, (SCHEMA,)).fetchone() == (0,):
        _create(connection)
    if _version(connection) == 1:
        _upgrade(connection)
    if not _usable(connection, _version(connection)):
        raise KeyringUnavailable(f"{name} was made by another smsgw: run one that knows it")


def _create(connection: Connection[Any]) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", _LOCK)
        if connection.execute(_OURS, (SCHEMA,)).fetchone() == (0,):  # no other node made it meanwhile
            connection.execute(sql.SQL(CREATE))


def _version(connection: Connection[Any]) -> int:
    row = connection.execute("SELECT max(version) FROM format").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def _usable(connection: Connection[Any], version: int) -> bool:
    """Say whether this program can use a keyring of that format: its own, or a newer one that leaves it a way."""
    if version <= VERSION or connection.execute(_IS_MARKED, (SCHEMA,)).fetchone() != (1,):
        return version == VERSION
    row = connection.execute(_USABLE_FROM, (VERSION,)).fetchone()
    return row is not None and int(row[0]) <= VERSION


def _upgrade(connection: Connection[Any]) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", _LOCK)
        if _version(connection) == 1:  # no other node did it meanwhile
            connection.execute(sql.SQL(UPGRADE))


def _record(row: Sequence[Any]) -> KeyRecord:
    key_id, node, tenant, made_at, usable_until, purpose, kek, wrapped, at, by, why = row
    if wrapped is None:
        return DestroyedKey(key_id, node, tenant, made_at, usable_until, Tombstone(at, by, why), purpose)
    return WrappedKey(key_id, node, tenant, made_at, usable_until, Wrapped(kek, wrapped), purpose)


def _why(error: psycopg.Error, name: str) -> str:
    """Say what is the matter; a server's own texts may name values, and are not repeated."""
    code = error.sqlstate or ""
    advice = _ADVICE.get(code) or _ADVICE.get(code[:2]) or "it does not answer, or went away"
    return f"wrapped keys are in {name}, and {advice} ({code or 'no answer'})"
