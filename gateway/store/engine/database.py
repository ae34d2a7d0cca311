"""The port between the threads and a database: connections, transactions, and what its errors mean.

A connection (`db`) is opaque here: only the engine that made it looks into it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

from gateway.store.engine.statements import Statements
from gateway.store.erasure import Remainder


class Look(Protocol):
    """What a look-up goes by: a connection, and the statements for it. A transaction is one, and a `View`."""

    @property
    def db(self) -> Any:
        """The connection."""

    @property
    def sql(self) -> Statements:
        """The statements of its dialect."""


class View(NamedTuple):
    """What a reader looks something up by."""

    db: Any
    sql: Statements


class Doubtful(Exception):
    """The connection was lost between COMMIT and its answer: nobody here knows whether it was done. Raised by
    `Database.commit` alone; `Database.committed` finds out."""


class Database(ABC):
    """What an engine brings beside its statements. Called from the writer's and the readers' threads."""

    sql: Statements
    name: str  # for people: "the database /var/lib/smsgw/smsgw.db"

    @abstractmethod
    def open(self) -> Any:
        """Bring the schema forward, and return the writer's first connection."""

    @abstractmethod
    def started(self, db: Any) -> None:
        """Be told that the writer begins with `db`, the connection that `open` gave."""

    @abstractmethod
    def connect(self) -> Any:
        """Return another connection that writes, after one was given up."""

    @abstractmethod
    def connect_reader(self, deadline_s: float) -> Any:
        """Return a connection that only reads; no query on it takes longer than the deadline."""

    @abstractmethod
    def limit(self, db: Any, deadline: float | None) -> None:
        """Be told of the moment, on the monotonic clock, when what a reader's connection does now must end; None: it
        has ended."""

    @abstractmethod
    def stopped(self) -> None:
        """Be told that the writer has made its last commit, and closes its connection next. Idempotent."""

    @abstractmethod
    def close(self) -> None:
        """Free what `open` took beside its connection: the last step. Idempotent."""

    @abstractmethod
    def disconnect(self, db: Any) -> None:
        """Close a connection, whatever its state. Raises nothing."""

    @abstractmethod
    def begin(self, db: Any) -> None:
        """Begin a transaction that writes."""

    @abstractmethod
    def commit(self, db: Any) -> None:
        """Commit; returns when it is on disk. Raises Doubtful when that cannot be known."""

    @abstractmethod
    def roll_back(self, db: Any) -> None:
        """Undo the transaction, if one has begun."""

    @abstractmethod
    def after_commit(self, db: Any) -> None:
        """Be told that a commit was answered: the time for upkeep."""

    @abstractmethod
    def scrub(self, *, compact: bool) -> list[Remainder]:
        """Leave nothing of what was deleted in files that are in the engine's hands; what is left all the same. Beside
        the writer, in any thread. `compact`: write tables anew."""

    @abstractmethod
    def committed(self, db: Any) -> bool:
        """Say, on a new connection, whether the commit that was Doubtful has been done."""

    @abstractmethod
    def translate(self, error: BaseException) -> BaseException:
        """Return the gateway's error for one of the database; an error that is not of the database stays as it is."""

    @abstractmethod
    def hopeless(self, error: BaseException) -> bool:
        """Say whether nothing can be written at all: no use to try the operations of a group one by one."""

    @abstractmethod
    def passing(self, error: BaseException) -> bool:
        """Say whether the same may do at once when it is tried again, on a new connection if this one was lost."""

    @abstractmethod
    def shaken(self, error: BaseException) -> bool:
        """Say whether a connection is of no more use after this error."""
