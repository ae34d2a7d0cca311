"""Runs: the recipients of many blocks in the order of their hashes, so that a look-up asks a few of them.

`FANOUT` full blocks are copied into one run, and as many runs of a level into one of the next: of ten million messages
there are some ten runs of a million, and at most `FANOUT` of each lesser size. Those that are asked part the blocks,
and so the ids, among themselves: going through what is behind the last of them block by block, and then through them
from the newest, gives messages in the order of their ids.

All of it is copies: the block of a message stays what it is, and what has gone into a run is asked for there, once
the run is whole. A step copies or deletes a bounded number of entries. How far it has come is in the database with
them, so the next one goes on there after a kill. What deletes or changes a message meanwhile changes its copies by
triggers, in whichever runs they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from gateway.store.engine.statements import Value
from gateway.store.sqlite.bulk import fetch

FANOUT = 16  # blocks or runs of one level that become a run of the next
STRETCH = 128  # entries that a step takes of each of them, at most
_LEAVING = 2  # state of a run whose place another one has taken

_Entry = tuple[int, bytes, bytes]  # tenant_no, hash, id
_START: _Entry = (-1, b"", b"")
_END: _Entry = (2**62, b"", b"")

_ASKED_UP_TO = "SELECT max(last) FROM run WHERE state = 1"
MERGED = f"SELECT ifnull(({_ASKED_UP_TO}), 0)"  # the last block that is asked for in a run
UNFINISHED = "SELECT no, level, first, last, state, tenant_no, hash, id FROM run WHERE state <> 1 ORDER BY no LIMIT 1"
EMPTY = "SELECT no FROM run AS k WHERE NOT EXISTS (SELECT 1 FROM recipient AS r WHERE r.run = k.no) LIMIT 1"
# Behind the last run, but for the newest two: these are not full, or take what is late.
FULL = (
    f"SELECT no FROM block WHERE no > ifnull(({_ASKED_UP_TO}), 0) AND no < (SELECT max(no) FROM block) - 1"  # noqa: S608 - constants
    " ORDER BY no LIMIT ?"
)
MANY = (
    "SELECT level + 1, min(first), max(last) FROM run WHERE state = 1 GROUP BY level HAVING count(*) >= ?"
    " ORDER BY level LIMIT 1"
)
_BEGIN = "INSERT INTO run (level, first, last, state) VALUES (?, ?, ?, 0)"
_OF_LEVEL = "state = 1 AND level = ?1 - 1 AND first >= ?2 AND last <= ?3"
BLOCKS = "SELECT no FROM block WHERE no BETWEEN ?2 AND ?3 AND ?1 = 1"
RUNS = f"SELECT no FROM run WHERE {_OF_LEVEL}"  # noqa: S608 - constants
_BLOCK_ENTRY = "m.tenant_no, m.recipient_hash, m.id"
_RUN_ENTRY = "m.tenant_no, m.hash, m.id"
# The entry that is so many behind another, in a block or a run.
_BEHIND = "({entry}) > (?2, ?3, ?4) ORDER BY {entry} LIMIT 1 OFFSET ?5"
_IN = f"SELECT {{entry}} FROM {{source}} = ?1 AND {_BEHIND}"  # noqa: S608 - constants
IN_BLOCK = _IN.format(entry=_BLOCK_ENTRY, source="message AS m INDEXED BY message_block WHERE m.block")
IN_RUN = _IN.format(entry=_RUN_ENTRY, source="recipient AS m WHERE m.run")
# A hash that was changed while the run is being written can be there already.
_COPY = (
    "INSERT OR IGNORE INTO recipient (run, tenant_no, hash, id) SELECT ?4, {entry} FROM {source}"
    " AND ({entry}) > (?5, ?6, ?7) AND ({entry}) <= (?8, ?9, ?10) ORDER BY {entry}"
)
COPY_BLOCKS = _COPY.format(
    entry=_BLOCK_ENTRY,
    source="block AS k CROSS JOIN message AS m INDEXED BY message_block ON m.block = k.no"
    " WHERE k.no BETWEEN ?2 AND ?3 AND ?1 = 1",
)
COPY_RUNS = _COPY.format(
    entry=_RUN_ENTRY,
    source="run AS k CROSS JOIN recipient AS m ON m.run = k.no"
    " WHERE k.state = 1 AND k.level = ?1 - 1 AND k.first >= ?2 AND k.last <= ?3",
)
_MARK = "UPDATE run SET tenant_no = ?, hash = ?, id = ? WHERE no = ?"
_REPLACE = f"UPDATE run SET state = 2 WHERE {_OF_LEVEL}"  # noqa: S608 - constants
_DONE = "UPDATE run SET state = 1, tenant_no = -1, hash = x'', id = x'' WHERE no = ?"
DELETE = "DELETE FROM recipient WHERE run = ? AND (tenant_no, hash, id) <= (?, ?, ?)"
_FORGET = "DELETE FROM run WHERE no = ?"


def step(db: apsw.Connection) -> bool:
    """Do the next step, within the transaction that has begun; False when there is nothing to do."""
    for number, level, first, last, state, *mark in fetch(db, UNFINISHED) or _begin(db):
        if state == _LEAVING:
            _delete(db, number)
        else:
            _copy(db, number, (level, first, last), mark)
        return True
    for (number,) in fetch(db, EMPTY):  # its messages are gone
        db.execute(_FORGET, (number,))
        return True
    return False


def _begin(db: apsw.Connection) -> list[Any]:
    """Begin a run of what there is enough of; returns it as UNFINISHED does, if there is any."""
    found = fetch(db, MANY, (FANOUT,))
    if not found:
        full = [number for (number,) in fetch(db, FULL, (FANOUT,))]
        if len(full) < FANOUT:
            return []
        found = [(1, full[0], full[-1])]
    db.execute(_BEGIN, found[0])
    return fetch(db, UNFINISHED)


def _copy(db: apsw.Connection, number: int, source: tuple[int, int, int], mark: Sequence[Value]) -> None:
    """Copy what comes next in the order of hashes: as far as the nearest of the ends of a stretch in each of those that
    are merged. `source`: level, first and last block of the run."""
    parts, in_part, copy = (BLOCKS, IN_BLOCK, COPY_BLOCKS) if source[0] == 1 else (RUNS, IN_RUN, COPY_RUNS)
    ends: list[_Entry] = []
    for (part,) in fetch(db, parts, source):
        ends += fetch(db, in_part, (part, *mark, STRETCH - 1))
    end = min(ends, default=_END)
    db.execute(copy, (*source, number, *mark, *end))
    if end is not _END:
        db.execute(_MARK, (*end, number))
        return
    if source[0] > 1:
        db.execute(_REPLACE, source)
    db.execute(_DONE, (number,))


def _delete(db: apsw.Connection, number: int) -> None:
    """Delete the first entries of a run, and with its last ones the run."""
    ends = fetch(db, IN_RUN, (number, *_START, FANOUT * STRETCH - 1))
    db.execute(DELETE, (number, *(ends[0] if ends else _END)))
    if not ends:
        db.execute(_FORGET, (number,))
