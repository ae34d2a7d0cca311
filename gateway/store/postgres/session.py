"""One session with a server: statements in binary, prepared by the server, and pipelined inside a transaction.

In a transaction a statement whose answer nobody needs is only sent: the answers come together, with the next one that
is waited for. So a commit of hundreds of messages takes some three round trips. An error comes with the answers, and
the server skips what was sent behind it, COMMIT too.

Not thread-safe, but for `interrupt`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import psycopg
from psycopg import Connection, Pipeline, RawCursor
from psycopg.adapt import Dumper
from psycopg.pq import ConnStatus, Format, TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper, StrBinaryDumper

from gateway.postgres_target import cut_line
from gateway.store.engine.statements import Value

_STATEMENTS_KEPT = 300  # there are about 90


class Packed(bytes):
    """An array in PostgreSQL's binary format, ready to be sent."""

    __slots__ = ()
    kinds: ClassVar[dict[str, type[Packed]]] = {}

    @classmethod
    def of(cls, kind: str) -> type[Packed]:
        """Return the class for arrays of "int", "bytes" or "text"."""
        return cls.kinds[kind]


class _Bigints(Packed):
    __slots__ = ()


class _Byteas(Packed):
    __slots__ = ()


class _Texts(Packed):
    __slots__ = ()


Packed.kinds = {"int": _Bigints, "bytes": _Byteas, "text": _Texts}


class _PackedDumper(Dumper):
    """Sends what is packed as it is."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        """Return the octets."""
        return bytes(obj)


class _BigintsDumper(_PackedDumper):
    oid = 1016


class _ByteasDumper(_PackedDumper):
    oid = 1001


class _TextsDumper(_PackedDumper):
    oid = 1009


class Session:
    """A connection in use."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection
        connection.prepared_max = _STATEMENTS_KEPT
        # One type for each of Python's, so that a statement is prepared once, whatever the size of its numbers.
        for kind, dumper in (
            (int, Int8BinaryDumper),
            (str, StrBinaryDumper),
            (bytes, BytesBinaryDumper),
            (_Bigints, _BigintsDumper),
            (_Byteas, _ByteasDumper),
            (_Texts, _TextsDumper),
        ):
            connection.adapters.register_dumper(kind, dumper)
        self.serial = ""  # of the transaction that is, or was, under way
        self.node = 0  # the registration that it writes as
        self._pipeline: Pipeline | None = None
        self._scope: AbstractContextManager[Pipeline] | None = None

    @property
    def lost(self) -> bool:
        """Whether the server can no longer be reached by it."""
        return self.connection.closed or self.connection.pgconn.status != ConnStatus.OK

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.connection.pgconn.backend_pid

    def _execute(self, text: str, bindings: Sequence[Value]) -> RawCursor[Any]:
        cursor = RawCursor(self.connection)
        cursor.execute(text, bindings, prepare=True, binary=True)
        return cursor

    def send(self, text: str, bindings: Sequence[Value] = ()) -> None:
        """Send a statement; in a transaction, without waiting for its answer."""
        self._execute(text, bindings)

    def fetch(self, text: str, bindings: Sequence[Value] = ()) -> list[Any]:
        """Return the rows of a statement's answer."""
        return self._execute(text, bindings).fetchall()

    def change(self, text: str, bindings: Sequence[Value] = ()) -> int:
        """Return how many rows a statement changed."""
        cursor = self._execute(text, bindings)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def script(self, text: str) -> None:
        """Execute several statements without bindings."""
        self.connection.execute(text, prepare=False)  # a constant of this package

    def begin(self) -> None:
        """Begin a transaction."""
        self._scope = self.connection.pipeline()
        self._pipeline = self._scope.__enter__()
        self.send("BEGIN")

    def commit(self) -> None:
        """Send COMMIT and wait for it. Raises what the transaction failed by."""
        cursor = self._execute("COMMIT", ())
        self._leave_pipeline()
        if cursor.statusmessage != "COMMIT":  # "ROLLBACK": the server answers so for a transaction that has failed
            raise psycopg.errors.InFailedSqlTransaction("the transaction had failed before COMMIT")

    def roll_back(self) -> None:
        """Undo the transaction, if one has begun."""
        with contextlib.suppress(psycopg.Error):  # told already
            self._leave_pipeline()
        if self.connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self.connection.execute("ROLLBACK")

    def _leave_pipeline(self) -> None:
        scope, self._scope, self._pipeline = self._scope, None, None
        if scope is not None:
            scope.__exit__(None, None, None)

    def interrupt(self) -> None:
        """Cut the connection, from any thread: whoever waits for an answer on it gets an error at once."""
        cut_line(self.connection)

    def close(self) -> None:
        """Close it, whatever its state. Raises nothing."""
        with contextlib.suppress(psycopg.Error):
            self.connection.close()
