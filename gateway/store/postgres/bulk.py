"""Statements over many rows, each sent once: the rows go as one array a column, which `unnest` turns into rows again.

`{v}` in a statement becomes `unnest(...) WITH ORDINALITY AS v (<columns>, n)`; `n` counts the rows from 1. `{me}`
becomes the node's registration. Everything else in the statements is a constant of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from gateway.store.engine.statements import Row, Value
from gateway.store.postgres.arrays import PACKERS
from gateway.store.postgres.session import Packed, Session

_FIRST = itemgetter(0)
# The registration that this session writes as: see `leases`.
ME = "(SELECT nullif(current_setting('smsgw.node', true), '')::bigint)"


class _Rows:
    """A statement over rows: `columns` is like "tenant_no int, id bytes"."""

    def __init__(self, template: str, columns: str) -> None:
        names, kinds = zip(*(column.split() for column in columns.split(", ")), strict=True)
        arrays = ", ".join(f"${number}::{PACKERS[kind][0]}" for number, kind in enumerate(kinds, 1))
        self.text = template.replace("{me}", ME).replace(
            "{v}", f"unnest({arrays}) WITH ORDINALITY AS v ({', '.join(names)}, n)"
        )
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


class Locking(Lookup):
    """A SELECT over rows that are locked before, by a statement of its own that nobody waits for."""

    def __init__(self, template: str, columns: str, *, lock: Write) -> None:
        super().__init__(template, columns)
        self._lock = lock

    def find(self, db: Session, rows: Sequence[Row]) -> list[Any]:
        """Lock what these rows name, and return the rows found."""
        self._lock.run(db, rows)
        return super().find(db, rows)


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


def nothing(_: Sequence[Value]) -> Sequence[Value]:
    """Return no bindings."""
    return ()


class Prepared(Plain):
    """A statement that another one has to go before, which nobody waits for; what that has waited for is seen by it."""

    def __init__(self, text: str, *, before: Plain, bindings: Callable[[Sequence[Value]], Sequence[Value]]) -> None:
        """`bindings`: from those of this statement to those of the one before."""
        super().__init__(text)
        self._before = before
        self._of = bindings

    def fetch(self, db: Session, bindings: Sequence[Value] = ()) -> list[Any]:
        """Execute both; returns the rows of the second."""
        db.send(self._before.text, self._of(bindings))
        return super().fetch(db, bindings)

    def change(self, db: Session, bindings: Sequence[Value] = ()) -> int:
        """Execute both; returns how many rows of the database the second has changed."""
        db.send(self._before.text, self._of(bindings))
        return super().change(db, bindings)

    def rows(self, db: Session, bindings: Sequence[Value]) -> list[Any]:
        """Execute both; returns the rows of the second as tuples."""
        return self.fetch(db, bindings)


Select = Plain
