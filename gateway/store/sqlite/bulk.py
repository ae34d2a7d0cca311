"""Statements over many rows, each in one step of SQLite.

apsw gives up the interpreter's lock at each step, and a thread that does so per row waits for the event loop at every
row: 500 rows read one by one took 390 ms beside a busy loop, and 180 µs of CPU a row, where one step took 5 ms. So
writes are `VALUES (...), (...)` of fixed sizes, and reads come back as one row of columns that are packed by SQLite.

Statements are prepared once for each size. Everything in them but the sizes is a constant of this package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import apsw

from gateway.store.engine.statements import Row, Value

# A batch is cut into these sizes, largest first. Few sizes keep the cache of prepared statements small; texts stay
# below the 16 KB beyond which apsw caches none.
SIZES = (100, 20, 5, 1)


def fetch(db: apsw.Connection, statement: str, bindings: Sequence[Value] = ()) -> list[Any]:
    """Return the rows of a statement that has few: they come one by one. Columns are typed where they are unpacked."""
    return db.execute(statement, tuple(bindings)).fetchall()


class Plain:
    """A statement with one row of bindings, and few rows in its answer."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fetch(self, db: apsw.Connection, bindings: Sequence[Value] = ()) -> list[Any]:
        """Execute it; returns the rows of its answer."""
        return fetch(db, self.text, bindings)

    def change(self, db: apsw.Connection, bindings: Sequence[Value] = ()) -> int:
        """Execute it; returns how many rows of the database changed."""
        db.execute(self.text, tuple(bindings))
        return db.changes()


class _Statements:
    """The texts of one statement for each size: `{values}` in `template` becomes that many copies of `row`."""

    def __init__(self, template: str, row: str) -> None:
        self.texts = {size: template.replace("{values}", _values(row, size)) for size in SIZES}

    def chunks(self, rows: Sequence[Row]) -> Iterator[tuple[str, int, tuple[Value, ...]]]:
        """Yield (statement, index of its first row, bindings)."""
        start, total = 0, len(rows)
        for size in SIZES:
            while total - start >= size:
                yield self.texts[size], start, tuple(chain.from_iterable(rows[start : start + size]))
                start += size


def _values(row: str, size: int) -> str:
    # {n} numbers the rows of a chunk, so that a result says which of them it belongs to.
    return ",".join(row.replace("{n}", str(n)) for n in range(size))


class Write:
    """An INSERT, UPDATE or DELETE over `VALUES`."""

    def __init__(self, template: str, row: str) -> None:
        self._statements = _Statements(template, row)

    def run(self, db: apsw.Connection, rows: Sequence[Row]) -> None:
        """Execute it for all rows."""
        for text, _, bindings in self._statements.chunks(rows):
            db.execute(text, bindings)

    def count(self, db: apsw.Connection, rows: Sequence[Row]) -> int:
        """Execute it for all rows; returns how many rows of the database changed."""
        changed = 0
        for text, _, bindings in self._statements.chunks(rows):
            db.execute(text, bindings)
            changed += db.changes()
        return changed

    def text(self, size: int) -> str:
        """Return the statement for `size` rows, one of `SIZES` (for tests of its query plan)."""
        return self._statements.texts[size]


def packed(columns: str, source: str) -> str:
    """Return a SELECT that gives the rows of `source` as one row, a value for each of `columns`.

    `columns` is like "seq at :message_id": a colon marks a BLOB, which travels as hexadecimal digits; the others as
    JSON.
    """
    names = columns.split()
    packs = (f"group_concat(hex({name[1:]}))" if name[0] == ":" else f"json_group_array({name})" for name in names)
    return f"SELECT count(*), {', '.join(packs)} FROM ({source})"  # noqa: S608 - constants of this package


def _blobs(text: str) -> Iterator[bytes]:
    return map(bytes.fromhex, text.split(","))


class Select:
    """A SELECT whose rows come in one step."""

    def __init__(self, columns: str, source: str) -> None:
        self.text = packed(columns, source)
        self._unpack: list[Callable[[str], Any]] = [
            _blobs if name[0] == ":" else json.loads for name in columns.split()
        ]

    def rows(self, db: apsw.Connection, bindings: Sequence[Value]) -> list[Any]:
        """Return the rows as tuples: columns are typed where they are unpacked."""
        (row,) = fetch(db, self.text, tuple(bindings))
        return self.unpack(row)

    def unpack(self, row: Any) -> list[Any]:
        """Return the rows that one packed row holds."""
        if not row[0]:
            return []
        return list(zip(*[unpack(text) for unpack, text in zip(self._unpack, row[1:], strict=True)], strict=True))


class Lookup(Select):
    """A SELECT over `VALUES` (the table `v`); its first column is the number of the row in the batch."""

    def __init__(self, columns: str, names: str, source: str, row: str) -> None:
        super().__init__(columns, source)
        template = f"WITH v ({names}) AS (VALUES {{values}}) {self.text}"
        self._statements = _Statements(template, row)

    def find(self, db: apsw.Connection, rows: Sequence[Row]) -> list[Any]:
        """Return the rows found, their first column being the index into `rows`."""
        found: list[Any] = []
        for text, start, bindings in self._statements.chunks(rows):
            (packed_row,) = fetch(db, text, bindings)
            part = self.unpack(packed_row)
            found += [(row[0] + start, *row[1:]) for row in part] if start else part
        return found

    def sized(self, size: int) -> str:
        """Return the statement for `size` rows, one of `SIZES` (for tests of its query plan)."""
        return self._statements.texts[size]
