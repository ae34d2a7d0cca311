"""Runs of idempotency keys: some ten thousand records by their hashes, so that a run is asked in one step.

A run has the records whose numbers it takes, and is written when all of these have been given, part by part: those
whose hashes begin alike. How many parts are written is committed with each, so whoever is killed goes on there. What
deletes a record deletes its entry by a trigger, also in a run that is half written; no entry is written without its
record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import apsw

from gateway.store.sqlite.bulk import Write, fetch

RUN_BITS = 15  # a run has so many numbers, as a power of two; the schema's trigger knows it, too
PARTS = 16  # of a run; each is written in one step
_FIRST = 2  # octet of a hash: those before it stand for the index key

MERGED = f"SELECT last FROM key_run WHERE parts = {PARTS} ORDER BY no DESC LIMIT 1"  # noqa: S608 - constants
NEWEST = "SELECT no, last, parts FROM key_run ORDER BY no DESC LIMIT 1"
_BEGIN = "INSERT INTO key_run (no, last, parts) VALUES (?, ?, 0)"
WRITE = Write(
    "WITH v (run, key_hash, no) AS (VALUES {values}) INSERT INTO key_entry (run, key_hash, no)"
    " SELECT v.run, v.key_hash, v.no FROM v CROSS JOIN key_record AS r ON r.no = v.no AND r.key_hash = v.key_hash",
    "(?,?,?)",
)
_WRITTEN = "UPDATE key_run SET parts = parts + 1 WHERE no = ?"
EMPTY = (
    "SELECT no FROM key_run AS k WHERE no < (SELECT max(no) FROM key_run)"
    " AND NOT EXISTS (SELECT 1 FROM key_entry AS e WHERE e.run = k.no) ORDER BY no LIMIT 1"
)
_FORGET = "DELETE FROM key_run WHERE no = ?"


def merged(db: apsw.Connection) -> int:
    """Return the last number that is in a whole run, -1 for none."""
    return int(next(iter(fetch(db, MERGED)), (-1,))[0])


class Unfinished(NamedTuple):
    """A run of which some parts are to be written."""

    no: int
    last: int  # number of a record in it
    parts: int  # that are written


def last_begun(db: apsw.Connection) -> int:
    """Return the last number that a run takes, -1 for none."""
    return next((int(last) for _, last, _ in fetch(db, NEWEST)), -1)


def unfinished(db: apsw.Connection, next_no: int) -> Unfinished | None:
    """Return the run to go on with, a new one if its numbers have all been given; None when there is none. `next_no`
    has not been given. Runs are written one after the other."""
    number = 0
    for newest in map(Unfinished._make, fetch(db, NEWEST)):
        if newest.parts < PARTS:
            return newest
        number = newest.no + 1
    last = ((number + 1) << RUN_BITS) - 1
    if last >= next_no:
        return None
    db.execute(_BEGIN, (number, last))
    return Unfinished(number, last, 0)


def write(db: apsw.Connection, run: Unfinished, keys: Iterable[tuple[bytes, int]]) -> bool:
    """Write the next part of a run: its keys, and the numbers of their records; returns whether that was the last."""
    WRITE.run(db, [(run.no, key, number) for key, number in keys])
    db.execute(_WRITTEN, (run.no,))
    return run.parts + 1 == PARTS


def parted(keys: Iterable[bytes]) -> list[list[bytes]]:
    """Return keys by the part of a run that they belong to."""
    parts: list[list[bytes]] = [[] for _ in range(PARTS)]
    for key in keys:
        parts[key[_FIRST] * PARTS >> 8].append(key)
    return parts


def empty(db: apsw.Connection) -> int | None:
    """Return a run whose records are all gone; the newest stays."""
    return next((int(number) for (number,) in fetch(db, EMPTY)), None)


def forget(db: apsw.Connection, number: int) -> None:
    """Forget a run without entries."""
    db.execute(_FORGET, (number,))
