"""A copy of the database as it is at one moment, while a node goes on writing.

The reader's connection stays in one transaction for all steps: so each step sees the same moment, and no commit makes
the copy begin again. Commits are not held up by it; the write-ahead log cannot start again meanwhile, and grows by what
is committed in that time. `rate` bounds how much of the disk the copy takes away from the node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

from gateway.errors import StoreCorrupt
from gateway.store.sqlite import faults, schema
from gateway.store.sqlite.bulk import fetch

MIB = 1 << 20
_COMPLAINTS = 20


class Copied(NamedTuple):
    """What a copy holds."""

    schema: int
    at: int  # microseconds since the Unix epoch: all that was committed before is in it


def copy(source: Path, target: Path, *, rate: int, now: Callable[[], int]) -> Copied:
    """Copy the database into `target`, an empty file, at `rate` octets a second.

    Raises StoreUnavailable or StoreCorrupt; the copy has been checked by SQLite itself when this returns.
    """
    try:
        reader = schema.connect_reader(source, None)
        try:
            schema.check_owner(reader, source)
            reader.execute("BEGIN")
            at = now()
            ((version,),) = fetch(reader, "PRAGMA user_version")
            fetch(reader, "SELECT count(*) FROM sqlite_schema")  # from here on, this moment
            _copy(reader, target, rate)
        finally:
            faults.close(reader)
    except apsw.Error as error:
        raise faults.translate(error, str(source)) from None
    return Copied(int(version), at)


def _copy(reader: apsw.Connection, target: Path, rate: int) -> None:
    ((page_bytes,),) = fetch(reader, "PRAGMA page_size")
    step = max(1, min(MIB, rate // 10) // int(page_bytes))
    written = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        began, pages = time.monotonic(), 0
        with written.backup("main", reader, "main") as copying:
            while not copying.done:
                copying.step(step)
                pages += step
                ahead_s = pages * int(page_bytes) / rate - (time.monotonic() - began)
                if ahead_s > 0 and not copying.done:
                    time.sleep(min(ahead_s, 1.0))
        fetch(written, "PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        found = complaints(written, quick=False)
        if found:
            raise StoreCorrupt(f"the copy of the database is damaged ({found[0]}), and so may be the database")
    finally:
        faults.close(written)


def complaints(db: apsw.Connection, *, quick: bool) -> list[str]:
    """Return what SQLite finds wrong with a database; `quick` does not compare tables with their indices."""
    pragma = "quick_check" if quick else "integrity_check"
    rows = [str(text) for (text,) in fetch(db, f"PRAGMA {pragma}({_COMPLAINTS})")]
    return [] if rows == ["ok"] else rows
