"""A program that brings a schema forward and halts in the middle of one step, for tests that kill it there.

    python -m tests.gateway.store.migrating sqlite FILE STEP
    python -m tests.gateway.store.migrating postgres FOLDER_OF_THE_SOCKET DATABASE USER STEP

On SQLite it says "halted" and waits for ever, with what it wrote in the log already; on PostgreSQL its step waits in
the server for the advisory lock `GATE`, which the test holds.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from gateway.store.postgres import schema as postgres
from gateway.store.postgres.target import Deadlines, Target, open_session
from gateway.store.sqlite import schema as sqlite

GATE = (7, 7)


def _halt(*_: object) -> int:
    print("halted", flush=True)
    while True:
        signal.pause()


def in_sqlite(path: Path, number: int) -> None:
    """Halt at the end of this step."""
    steps = sqlite.migrations()
    steps[number - 1] += "\n; SELECT halt();"
    db = sqlite.connect(path, None)
    db.execute("PRAGMA cache_size = 1")  # what is changed goes to the log before its commit
    db.create_scalar_function("halt", _halt, 0)
    sqlite.migrate(db, path, steps)


def in_postgres(target: Target, number: int) -> None:
    """Halt at the end of this step, in the server."""
    steps = postgres.migrations()
    steps[number - 1] += f"\n; SELECT pg_advisory_xact_lock{GATE}"
    db = open_session(target, Deadlines(lock_s=60.0), reads=False, name="killed")
    postgres.migrate(db, target.name, steps)


if __name__ == "__main__":
    engine, where, *more = sys.argv[1:]
    if engine == "sqlite":
        in_sqlite(Path(where), int(more[0]))
    else:
        in_postgres(Target(host=where, database=more[0], user=more[1]), int(more[2]))
