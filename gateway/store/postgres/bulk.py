"""Statements over many rows, each sent once: the rows go as one array a column, which `unnest` turns into rows again.

`{v}` in a statement becomes `unnest(...) WITH ORDINALITY AS v (<columns>, n)`; `n` counts the rows from 1. Everything
else in the statements is a constant of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from gateway.store.engine.statements import Row, Value
from gateway.store.postgres.arrays import PACKERS
from gateway.store.postgres.session import Packed, Session

_FIRST = itemgetter(0)


class _Rows:
    """A statement over rows: `columns` is like "tenant_no int, id bytes"."""

    def __init__(self, template: str, columns: str) -> None:
        names, kinds = zip(*(column.split() for column in columns.split(", ")), strict=True)
        arrays = ", ".join(f"${number}::{PACKERS[kind][0]}" for number, kind in enumerate(kinds, 1))
        self.text = template.replace("{v}", f"unnest({arrays}) WITH ORDINALITY AS v ({', '.join(names)}, n)")
        self._packers: list[tuple[type[Packed], Callable[[Sequence[Value]], bytes]]] = [
            (Packed.of(kind), PACKERS[kind][1]) for kind in kinds
        ]

    def bindings(self, rows: Sequence[Row]) -> list[Packed]:
        """Return one array for each column."""
        columns = zip(*rows, strict=True)
        return [kind(pack(column)) for (kind, pack), column in zip(self._packers, columns, strict=True)]


class Write(_Rows):
    """An INSERT, UPDATE or DELETE over rows; nothing happens for no rows."""

    def run(self, db: Session, rows: Sequence[Row]) -> None:
        """Send it: an error comes with the next answer that is waited for, at the latest that of COMMIT."""
        if rows:
            db.send(self.text, self.bindings(rows))

    def count(self, db: Session, rows: Sequence[Row]) -> int:
        """Execute it; returns how many rows of the database changed."""
        return db.change(self.text, self.bindings(rows)) if rows else 0


class Lookup(_Rows):
    """A SELECT over rows; its first column is `n`."""

    def find(self, db: Session, rows: Sequence[Row]) -> list[Any]:
        """Return the rows found, in the order of `rows`; their first column is the index into them."""
        if not rows:
            return []
        found = [(row[0] - 1, *row[1:]) for row in db.fetch(self.text, self.bindings(rows))]
        found.sort(key=_FIRST)  # stable: what one row finds keeps its order
        return found


class Plain:
    """A statement with one row of bindings."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fetch(self, db: Session, bindings: Sequence[Value] = ()) -> list[Any]:
        """Execute it; returns the rows of its answer."""
        return db.fetch(self.text, bindings)

    def change(self, db: Session, bindings: Sequence[Value] = ()) -> int:
        """Execute it; returns how many rows of the database changed."""
        return db.change(self.text, bindings)

    def rows(self, db: Session, bindings: Sequence[Value]) -> list[Any]:
        """Return the rows as tuples."""
        return db.fetch(self.text, bindings)


Select = Plain
