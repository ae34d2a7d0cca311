"""Idempotency keys: which message holds each, at a cost that does not depend on how many are stored.

Hashes of keys come in no order, so an index over all of them changes another page for each message. Instead, records
are appended, and the hashes of the newest are in memory, with the numbers of their records. When there are enough of
them for a run (`gateway.store.sqlite.key_runs`) it is written, in quiet moments; and when memory is at its bound, by
who accepts. Filters (`gateway.store.sqlite.key_filters`) tell that no run has a key. So a new key mostly asks nothing
of the database; one that may be there is asked for in the runs of one generation.

What is found in memory or in a run is only where to look: the record decides. It has its hash, and there is never more
than one of a hash: who takes a key whose time is over deletes the record of before. Records of before there were runs
are asked for, too, while there are any.

It belongs to the writer's thread. The readers look into it beside: a key leaves memory only when the commit of its run
is done, so who looks into memory first and into runs then finds it. After a rollback memory is what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import apsw

from gateway.store.engine.statements import Row, Value
from gateway.store.sqlite import key_filters, key_runs
from gateway.store.sqlite.bulk import Lookup, Write, fetch
from gateway.store.sqlite.key_filters import Filters

MOST_RUNS = 2  # in memory; from there on, who accepts writes runs

NEWEST = "SELECT key_hash, no FROM key_record WHERE no > ?"
BOUNDS = "SELECT (SELECT min(no) FROM key_record), (SELECT max(no) FROM key_record)"
_ANY_OLD = "SELECT EXISTS(SELECT 1 FROM idempotency)"
IN_RUNS = Lookup(
    "n no",
    "n, key_hash, first, last",
    "SELECT v.n, e.no FROM v CROSS JOIN key_run AS k ON k.no BETWEEN v.first AND v.last"
    " CROSS JOIN key_entry AS e ON e.run = k.no AND e.key_hash = v.key_hash",
    "({n},?,?,?)",
)
_COLUMNS = "n :message_id :content_hash state segments"
_LIVE = (
    "SELECT v.n, i.message_id, i.content_hash, m.state, m.segments FROM v CROSS JOIN {holder}"
    " AND i.expires_at > v.at LEFT JOIN message AS m ON m.tenant_no = i.tenant_no AND m.id = i.message_id"
)
_BY_NO = _LIVE.format(holder="key_record AS i ON i.no = v.no AND i.key_hash = v.key_hash")
_BY_OLD = _LIVE.format(holder="idempotency AS i ON i.key_hash = v.key_hash")
OLD = Lookup("n", "n, key_hash", "SELECT v.n FROM v CROSS JOIN idempotency AS i ON i.key_hash = v.key_hash", "({n},?)")
OLD_HOLDERS = Lookup(_COLUMNS, "n, key_hash, at", _BY_OLD, "({n},?,?)")
DELETE = "DELETE FROM key_record WHERE no = ? AND key_hash = ?"
DELETE_OLD = "DELETE FROM idempotency WHERE key_hash = ?"
_INSERT = (
    "INSERT INTO key_record (no, key_hash, content_hash, tenant_no, message_id, created_at, expires_at) VALUES {values}"
)


class Keys:
    """What is known in memory of the keys of one database (mutable; hot)."""

    __slots__ = (
        "_db",
        "_ended",
        "_generation",
        "_merged",
        "_most",
        "_next",
        "_none_old",
        "_parts",
        "_undo",
        "filters",
        "newest",
        "old",
    )

    def __init__(self) -> None:
        self.filters = Filters()
        self.newest: dict[bytes, int] = {}  # a key, and the number of its record, if that was not deleted since
        self.old = False  # whether there are records of before there were runs
        self._most = MOST_RUNS << key_runs.RUN_BITS
        self._parts: tuple[int, list[list[bytes]]] = (-1, [])  # of the run that is being written: its number, its keys
        self._generation = key_runs.RUN_BITS + key_filters.GENERATION_BITS
        self._next = 0  # number of a record
        self._db: apsw.Connection | None = None
        # Of this transaction: keys, with what was known of them; the last number that came into a whole run;
        # generations that have ended; that nothing old is left.
        self._undo: list[tuple[bytes, int | None]] = []
        self._merged = -1
        self._ended: list[int] = []
        self._none_old = False

    def load(self, db: apsw.Connection) -> None:
        """Take what the database knows; after a rollback on the same connection, undo what was noted."""
        if db is self._db and not self._stored(db):
            for key, before in reversed(self._undo):
                if before is None:
                    del self.newest[key]
                else:
                    self.newest[key] = before
        else:
            self._db = None
            self._load(db)
            self._db = db
        self._parts = (-1, [])  # may lack keys that have come back
        self._forget()

    def _stored(self, db: apsw.Connection) -> bool:
        """Say whether the database has a key that would be undone: a commit that failed may have been done."""
        ((_, greatest),) = fetch(db, BOUNDS)
        return bool(self._undo) and greatest is not None and self.newest[self._undo[0][0]] <= greatest

    def _load(self, db: apsw.Connection) -> None:
        ((least, greatest),) = fetch(db, BOUNDS)
        # Numbers that a run takes are not given again, whatever has become of their records.
        self._next = max(self._next, key_runs.last_begun(db) + 1, 0 if greatest is None else greatest + 1)
        if greatest is not None:
            self.filters.load(db, least >> self._generation, greatest >> self._generation)
        self.newest = dict(fetch(db, NEWEST, (key_runs.merged(db),)))
        ((old,),) = fetch(db, _ANY_OLD)
        self.old = bool(old)

    def _forget(self) -> None:
        self._undo.clear()
        self._ended, self._merged, self._none_old = [], -1, False

    def committed(self) -> None:
        """Let go what is in whole runs since the commit that has just been done. It asks nothing of the database, and
        so cannot fail."""
        if self._merged >= 0:
            merged = self._merged
            self.newest = {key: number for key, number in self.newest.items() if number > merged}
        if self._none_old:
            self.old = False
        if self._ended:
            self.filters.drop(self._ended)
        self._forget()

    def take(self, key: bytes) -> int:
        """Return the number of the record that is written next, for a key that none holds."""
        number = self._next
        self._next = number + 1
        self.filters.add(number >> self._generation, key)
        self._undo.append((key, self.newest.get(key)))
        self.newest[key] = number
        return number

    def numbers(self, db: apsw.Connection, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        """Return (index into `keys`, number) of the records that may be theirs."""
        found: list[tuple[int, int]] = []
        rows: list[Row] = []
        asked: list[int] = []
        newest = self.newest
        for index, key in enumerate(keys):
            number = newest.get(key)
            if number is not None:
                found.append((index, number))
                continue
            for generation in self.filters.generations(key):
                first = generation << key_filters.GENERATION_BITS
                asked.append(index)
                rows.append((key, first, first + (1 << key_filters.GENERATION_BITS) - 1))
        if rows:
            found += [(asked[n], number) for n, number in IN_RUNS.find(db, rows)]
        return found

    def relieve(self, db: apsw.Connection, rows: int) -> None:
        """Write runs, faster than `rows` new keys come, if too many are in memory."""
        if len(self.newest) < self._most:
            return
        for _ in range(1 + (rows * key_runs.PARTS >> key_runs.RUN_BITS)):
            if not self._write(db):
                return

    def _write(self, db: apsw.Connection) -> bool:
        """Write a part of a run; False when there is none."""
        run = key_runs.unfinished(db, self._next)
        if run is None:
            return False
        newest, bits = self.newest, key_runs.RUN_BITS
        if self._parts[0] != run.no:
            mine = (key for key, number in newest.items() if number >> bits == run.no)
            self._parts = run.no, key_runs.parted(mine)
        # Who has taken a key of it since, whose time was over, has the number of a later run.
        keys = sorted(self._parts[1][run.parts])
        entries = [(key, newest[key]) for key in keys if newest[key] >> bits == run.no]
        if key_runs.write(db, run, entries):
            self._merged = run.last
        return True

    def step(self, db: apsw.Connection) -> bool:
        """Do a step of what keeps look-ups at their cost, within the transaction that has begun; False when there is
        nothing to do."""
        if self.old and not self._none_old:
            ((old,),) = fetch(db, _ANY_OLD)
            self._none_old = not old
        return self._write(db) or self._forget_run(db) or self.filters.store(db, self._last_run(db))

    def _last_run(self, db: apsw.Connection) -> int:
        return key_runs.merged(db) >> key_runs.RUN_BITS

    def _forget_run(self, db: apsw.Connection) -> bool:
        run = key_runs.empty(db)
        if run is None:
            return False
        if not self.filters.unstore(db, run):
            key_runs.forget(db, run)
            ended = self.filters.ended(db, run, self._last_run(db))
            if ended is not None:
                self._ended.append(ended)
        return True


class Holders(Lookup):
    """Who holds keys, alive at a time: rows of (key_hash, at)."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(_COLUMNS, "n, key_hash, at, no", _BY_NO, "({n},?,?,?)")
        self._keys = keys

    def find(self, db: apsw.Connection, rows: Sequence[Row]) -> list[Any]:
        """Return the rows found, in their order; the first column is the index into `rows`."""
        return self.known(db, rows, self._keys.numbers(db, [_octets(key) for key, _ in rows]))

    def known(self, db: apsw.Connection, rows: Sequence[Row], numbers: Sequence[tuple[int, int]]) -> list[Any]:
        """Return the same, when it has been asked where to look."""
        asked = [(*rows[index], number) for index, number in numbers]
        found = [(numbers[n][0], *rest) for n, *rest in super().find(db, asked)] if asked else []
        if self._keys.old:
            found += OLD_HOLDERS.find(db, rows)
        return sorted(found, key=itemgetter(0))


class Taking(Write):
    """Takes keys that are free, for rows of (key_hash, content_hash, tenant_no, message_id, created_at, expires_at): of
    several with one key the first. Who holds a key for which no time is left holds none."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(_INSERT, "(?,?,?,?,?,?,?)")
        self._keys = keys
        self._holders = Holders(keys)

    def run(self, db: apsw.Connection, rows: Sequence[Row]) -> None:
        """Execute it for all rows."""
        self.count(db, rows)

    def count(self, db: apsw.Connection, rows: Sequence[Row]) -> int:
        """Execute it for all rows; returns how many took their key."""
        keys = self._keys
        keys.relieve(db, len(rows))
        old = {n for (n,) in OLD.find(db, [row[:1] for row in rows])} if keys.old else ()
        newest, generations, take = keys.newest, keys.filters.generations, keys.take
        taken: list[Row] = []
        doubtful: list[Row] = []
        for n, row in enumerate(rows):
            key: Any = row[0]
            if key in newest or generations(key) or n in old:
                doubtful.append(row)
            else:
                taken.append((take(key), *row))
        super().run(db, taken)
        return len(taken) + (self._take_free(db, doubtful) if doubtful else 0)

    def _take_free(self, db: apsw.Connection, rows: Sequence[Row]) -> int:
        """Take those keys that nobody holds after all; returns how many."""
        keys = self._keys
        numbers = keys.numbers(db, [_octets(row[0]) for row in rows])
        held = {n for n, *_ in self._holders.known(db, [(row[0], row[4]) for row in rows], numbers)}
        for n, number in numbers:
            if n not in held:
                db.execute(DELETE, (number, rows[n][0]))
        taken: dict[bytes, Row] = {}
        for n, row in enumerate(rows):
            key = _octets(row[0])
            if n not in held and key not in taken:
                if keys.old:
                    db.execute(DELETE_OLD, (key,))
                taken[key] = (keys.take(key), *row)
        super().run(db, list(taken.values()))
        return len(taken)


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a key is octets")
    return value
