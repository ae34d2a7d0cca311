"""Wrapped keys in a database of their own: least privilege, no wrap left in its files, and a server that goes away."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from gateway.postgres_target import Deadlines, Target
from gateway.sealing.keyring import DestroyedKey, KeyringUnavailable, Rewrap
from gateway.sealing.keyring_schema import SCHEMA, SORTS, grants
from gateway.sealing.postgres_keyring import PostgresKeyring
from gateway.sealing.providers import Wrapped
from tests.gateway.sealing.test_keyring import STONE, emptied, keys_database, wrapped_key
from tests.postgres.server import expendable, shared

__all__ = ["keys_database"]

PASSWORD = "correct horse"


@pytest.fixture
def ring(keys_database: str) -> Iterator[PostgresKeyring]:
    """Give the keyring of the owner."""
    emptied(keys_database)
    opened = PostgresKeyring(shared().target(keys_database))
    opened.append([wrapped_key(1)])
    yield opened
    opened.close()


def as_role(database: str, sort: str, folder: Path, *, keeps: bool = False) -> PostgresKeyring:
    """Return the keyring as a role sees it that may do what this sort of node needs."""
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    role = f"keys_{sort}"
    with shared().connect(database) as db:
        if db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        for statement in grants(sort, role, keeps=keeps):
            db.execute(statement)
    target = Target(host=str(shared().folder), database=database, user=role, password_file=password)
    return PostgresKeyring(target)


def test_a_role_that_only_inserts(ring: PostgresKeyring, keys_database: str, tmp_path: Path) -> None:
    """The role of accepting nodes keeps new keys, and can read, change or destroy none, its own neither."""
    accepting = as_role(keys_database, "accept", tmp_path)
    try:
        accepting.append([wrapped_key(2)])
        assert ring.find(wrapped_key(2).key_id) == wrapped_key(2)
        old, new = wrapped_key(2).wrapped, Wrapped("cd", b"new")
        for refused in (
            lambda: accepting.find(wrapped_key(2).key_id),
            lambda: list(accepting.records()),
            lambda: accepting.rewrap([Rewrap(wrapped_key(2).key_id, old, new)]),
            lambda: accepting.destroy([wrapped_key(1).key_id], STONE),
        ):
            with pytest.raises(KeyringUnavailable, match=r"may not do this.*42501"):
                refused()
        with pytest.raises(KeyringUnavailable, match="23505"):
            accepting.append([wrapped_key(1, wrapped=new)])
    finally:
        accepting.close()
    assert list(ring.records()) == [wrapped_key(1), wrapped_key(2)]


@pytest.mark.parametrize("sort", ["relay", "both"])
def test_a_role_that_reads(ring: PostgresKeyring, keys_database: str, tmp_path: Path, sort: str) -> None:
    """The role of relaying nodes keeps and reads keys, and changes or destroys none."""
    relaying = as_role(keys_database, sort, tmp_path)
    try:
        relaying.append([wrapped_key(2)])
        assert [record.key_id[-1] for record in relaying.records()] == [1, 2]
        with pytest.raises(KeyringUnavailable, match="42501"):
            relaying.destroy([wrapped_key(1).key_id], STONE)
    finally:
        relaying.close()
    assert ring.find(wrapped_key(1).key_id) == wrapped_key(1)


def test_a_role_that_keeps(ring: PostgresKeyring, keys_database: str, tmp_path: Path) -> None:
    """The role of a node by way of which operators rewrap and destroy does both, and changes no schema."""
    keeping = as_role(keys_database, "both", tmp_path, keeps=True)
    try:
        new = Wrapped("cd", b"new")
        assert keeping.rewrap([Rewrap(wrapped_key(1).key_id, wrapped_key(1).wrapped, new)]) == 1
        assert keeping.destroy([wrapped_key(1).key_id], STONE) == [wrapped_key(1).key_id]
        assert isinstance(ring.find(wrapped_key(1).key_id), DestroyedKey)
    finally:
        keeping.close()


def test_a_role_without_grants(keys_database: str, tmp_path: Path, ring: PostgresKeyring) -> None:
    """Who was granted nothing is told what to do, and the sorts are those of nodes."""
    nobody = as_role(keys_database, "accept", tmp_path)
    with shared().connect(keys_database) as db:
        db.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM keys_accept")
    with pytest.raises(KeyringUnavailable, match="docs/keys"):
        nobody.append([wrapped_key(2)])
    nobody.close()
    assert SORTS == ("accept", "relay", "both")


def test_no_wrap_is_left_in_its_files(ring: PostgresKeyring, keys_database: str) -> None:
    """After a destruction no file of the database has the wrap, though the server keeps old versions of rows."""
    wrap = b"a wrap that is looked for \x00\xfe in all files"
    ring.append([wrapped_key(2, wrapped=Wrapped("ab", wrap))])
    assert _files_with(wrap, keys_database) != []
    ring.destroy([wrapped_key(2).key_id], STONE)
    assert _files_with(wrap, keys_database) == []


def _files_with(octets: bytes, database: str) -> list[Path]:
    with shared().connect(database) as db:
        db.execute("CHECKPOINT")
        row = db.execute("SELECT oid::text FROM pg_database WHERE datname = %s", (database,)).fetchone()
    assert row is not None
    return [path for path in (shared().folder / "data" / "base" / str(row[0])).iterdir() if octets in path.read_bytes()]


def test_not_among_the_messages() -> None:
    """The database of the messages is refused: its dump would hold the keys."""
    with shared().database() as name:
        with shared().connect(name) as db:
            db.execute("CREATE SCHEMA smsgw; CREATE TABLE smsgw.message (id int)")
        ring = PostgresKeyring(shared().target(name))
        with pytest.raises(KeyringUnavailable, match="holds messages"):
            ring.append([wrapped_key(1)])
        with shared().connect(name) as db:
            assert db.execute(f"SELECT to_regnamespace('{SCHEMA}') IS NULL").fetchone() == (True,)


def test_made_by_an_older_one() -> None:
    """A database from when keys had no purpose is brought up to date by the first that connects as the owner; its keys
    have none, and open."""
    with shared().database() as name:
        first = PostgresKeyring(shared().target(name))
        first.append([wrapped_key(1)])
        first.close()
        with shared().connect(name) as db:
            db.execute("ALTER TABLE smsgw_keys.wrapped_key DROP COLUMN seals")
            db.execute("UPDATE smsgw_keys.format SET version = 1")
        second = PostgresKeyring(shared().target(name))
        assert second.find(wrapped_key(1).key_id) == wrapped_key(1)
        second.append([wrapped_key(2)._replace(purpose="content")])
        assert [record.purpose for record in second.records()] == ["", "content"]
        second.destroy([wrapped_key(2).key_id], STONE)
        assert [record.purpose for record in second.records()] == ["", "content"]
        second.close()


@pytest.mark.parametrize("column", ["", "usable_from integer", "usable_from integer DEFAULT 3"])
def test_made_by_a_newer_one(column: str) -> None:
    """A format that this program does not know is refused, if it does not say that this program can use it."""
    with newer(column) as ring, pytest.raises(KeyringUnavailable, match="another smsgw"):
        ring.find(wrapped_key(1).key_id)


def test_made_by_a_newer_one_that_leaves_a_way(tmp_path: Path) -> None:
    """A format with a column more that says from which one on it can be used: keys are found, made and destroyed, by
    the owner; and a role with grants from before the column reads and makes them."""
    with newer("usable_from integer DEFAULT 2") as ring:
        assert ring.find(wrapped_key(1).key_id) == wrapped_key(1)
        ring.append([wrapped_key(2)])
        assert ring.destroy([wrapped_key(2).key_id], STONE) == [wrapped_key(2).key_id]
        relay = as_role(ring.database, "relay", tmp_path)
        relay.append([wrapped_key(3)])
        assert relay.find(wrapped_key(3).key_id) == wrapped_key(3)
        relay.close()


class Newer(PostgresKeyring):
    """A keyring as this program sees it that a newer one has brought forward."""

    def __init__(self, database: str) -> None:
        super().__init__(shared().target(database))
        self.database = database


@contextlib.contextmanager
def newer(column: str) -> Iterator[Newer]:
    """Make a keyring, and bring it forward. `column`: of `format`, that says from where on it can be used."""
    with shared().database() as name:
        first = PostgresKeyring(shared().target(name))
        first.append([wrapped_key(1)])
        first.close()
        with shared().connect(name) as db:
            db.execute("ALTER TABLE smsgw_keys.wrapped_key ADD COLUMN more integer NOT NULL DEFAULT 0")
            if column:
                db.execute(f"ALTER TABLE smsgw_keys.format ADD COLUMN {column}")
            db.execute("INSERT INTO smsgw_keys.format (version) VALUES (3)")
            db.execute("INSERT INTO smsgw_keys.format (version) VALUES (4)")
        ring = Newer(name)
        try:
            yield ring
        finally:
            ring.close()


def test_a_lost_connection(ring: PostgresKeyring, keys_database: str) -> None:
    """A connection that was lost while nobody looked is opened again, for what is asked and what is kept."""
    for number in (2, 3):
        with shared().connect("postgres") as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'smsgw keys'")
        if number == 2:
            assert ring.find(wrapped_key(1).key_id) == wrapped_key(1)
        ring.append([wrapped_key(number)])
    assert len(list(ring.records())) == 3


def test_a_server_that_does_not_answer() -> None:
    """A server that hangs is waited for until the deadline, then a new connection is tried; that has its deadline too.
    When the server is back, all goes on."""
    server = expendable()
    with server.database() as name:
        ring = PostgresKeyring(server.target(name), deadlines=Deadlines(connect_s=1, transaction_s=0.3))
        ring.append([wrapped_key(1)])
        with frozen(_backends(server.connect(name))):
            assert ring.find(wrapped_key(1).key_id) == wrapped_key(1)
        with (
            frozen([*_backends(server.connect(name)), server.pid]),
            pytest.raises(KeyringUnavailable, match="does not answer"),
        ):
            ring.find(wrapped_key(1).key_id)
        assert ring.find(wrapped_key(1).key_id) == wrapped_key(1)
        ring.close()


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes for the length of the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _backends(db: psycopg.Connection[tuple[object, ...]]) -> list[int]:
    with db:
        rows = db.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'smsgw keys'").fetchall()
    return [int(str(pid)) for (pid,) in rows]


def test_no_server() -> None:
    """Where there is none it is said, and nothing of a password."""
    ring = PostgresKeyring(Target(host="/nowhere", database="keys", user="smsgw"))
    with pytest.raises(KeyringUnavailable, match="the database keys at /nowhere"):
        ring.find(wrapped_key(1).key_id)
    assert ring.name == "the database keys at /nowhere:5432"


def test_a_tombstone_reads_well(ring: PostgresKeyring) -> None:
    """What is left says when, by whom and why."""
    ring.destroy([wrapped_key(1).key_id], STONE)
    found = ring.find(wrapped_key(1).key_id)
    assert isinstance(found, DestroyedKey)
    assert str(found.stone).startswith("2024-10-05 by spiffe://example.org/admin/ada: a ")
