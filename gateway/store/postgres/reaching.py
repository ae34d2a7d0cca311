"""One look at a database beside its nodes, by the statements of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg

from gateway.store.engine.database import Look, View
from gateway.store.postgres import faults, schema
from gateway.store.postgres.statements import STATEMENTS
from gateway.store.postgres.target import Deadlines, Target, open_session

T = TypeVar("T")


def look(target: Target, query: Callable[[Look], T]) -> T | None:
    """Return what `query` finds; None for a database of another schema. Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = open_session(target, Deadlines(), reads=True)
        try:
            if schema.version_of(db, target.name) != len(schema.migrations()):
                return None
            return query(View(db, STATEMENTS))
        finally:
            db.close()
    except psycopg.Error as error:
        raise faults.translate(error, target.name, starting=True) from None
