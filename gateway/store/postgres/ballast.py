"""Room that PostgreSQL's disk holds for the audit: `gateway.audit.ballast`, by functions of the schema.

Each step has a session of its own, which ends with it: steps are rare, and one may wait for a slow disk. Their errors
are not counted with the node's: who tries how much room there is finds the end of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from gateway.audit.ballast import Held, Outcome, Part
from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.engine.database import View
from gateway.store.engine.statements import Value
from gateway.store.postgres import faults
from gateway.store.postgres.database import PostgresDatabase

_LONGEST = "SET statement_timeout = '120s'"  # a slow disk has written 64 MiB by then
_HELD = "SELECT reserve_octets, least_octets FROM audit_room()"
_HOLD = "SELECT audit_room_hold($1, $2)::text"
_RELEASE = "SELECT audit_room_release($1)::text"
_FORBIDDEN = "42501"


class PostgresBallast:
    """Of one node. `read` runs a look-up of the store."""

    def __init__(self, database: PostgresDatabase, read: Callable[[Callable[[View], Held]], Awaitable[Held]]) -> None:
        self._database, self._read = database, read

    @property
    def times_full(self) -> int:
        """How often this node was told that the disk is full."""
        return self._database.times_full

    async def held(self) -> Held:
        """Return what is held."""
        return await self._read(_held)

    async def hold(self, part: Part, octets: int) -> Outcome:
        """Hold at least so many octets, or none."""
        return await asyncio.to_thread(self._step, _HOLD, (part.value, octets))

    async def release(self, part: Part) -> Outcome:
        """Give up what is held."""
        return await asyncio.to_thread(self._step, _RELEASE, (part.value,))

    def _step(self, statement: str, bindings: tuple[Value, ...]) -> Outcome:
        try:
            db = self._database.connect_beside("smsgw room")
            try:
                db.send(_LONGEST)
                db.fetch(statement, bindings)
            finally:
                db.close()
        except psycopg.Error as error:
            if error.sqlstate == faults.DISK_FULL:
                return Outcome.FULL
            if error.sqlstate == _FORBIDDEN:
                return Outcome.FORBIDDEN
            translated = faults.translate(error, self._database.name)
            if isinstance(translated, GatewayError):
                raise translated from error
            raise StoreUnavailable(str(translated)) from error
        return Outcome.HELD


def _held(view: View) -> Held:
    (row,) = view.db.fetch(_HELD)
    return Held._make(row)
