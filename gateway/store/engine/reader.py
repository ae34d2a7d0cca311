"""The readers: a few threads, each with a connection of its own, for everything that is only looked up.

They read beside the writer. Their queue is bounded, and each query has a deadline, counted from its call.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.errors import Overloaded
from gateway.store.engine.database import Database, View

log = logging.getLogger(__name__)

QUEUE_LIMIT = 1_000
_RETRY_S = 0.2

T = TypeVar("T")
_Job = tuple[Callable[[View], Any], float, asyncio.Future[Any]]


class Reader:
    """Owns the threads; `ask` and `stop` belong to the event loop and to a worker thread."""

    def __init__(self, database: Database, deadline_s: float, threads: int) -> None:
        self._database = database
        self._deadline_s = deadline_s
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"store-reader-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to serve."""
        for thread in self._threads:
            thread.start()

    async def ask(self, query: Callable[[View], T]) -> T:
        """Run `query` in a thread. Raises Overloaded when too many wait, StoreUnavailable past the deadline."""
        if len(self._jobs) >= QUEUE_LIMIT:
            raise Overloaded("too many look-ups wait for the database", retry_after_s=_RETRY_S)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._ready:
            self._jobs.append((query, time.monotonic() + self._deadline_s, future))
            self._ready.notify()
        return await future

    def stop(self) -> None:
        """Finish what waits, close the connections, end the threads. Blocks: not for the event loop."""
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    # A thread.

    def _run(self) -> None:
        db: Any = None
        while True:
            with self._ready:
                while not self._jobs and not self._stopping:
                    self._ready.wait()
                if not self._jobs:
                    break
                query, deadline, future = self._jobs.popleft()
            db, result = self._answer(db, query, deadline)
            _hand_over(future, result)
        if db is not None:
            self._database.disconnect(db)

    def _answer(self, db: Any, query: Callable[[View], Any], deadline: float) -> tuple[Any, Any]:
        """Return the connection, for as long as it is of use, and the result: once more if a lost connection was all
        that was wrong."""
        for again in (True, False):
            try:
                _require_time(deadline)
                db = db or self._database.connect_reader(self._deadline_s)
                return db, self._ask(db, query, deadline)
            except Exception as error:  # the top of a task: it belongs to the caller
                if db is not None and self._database.shaken(error):
                    self._database.disconnect(db)
                    db = None
                if not again or not self._database.passing(error):
                    return db, self._database.translate(error)
        raise AssertionError("the second attempt returns")

    def _ask(self, db: Any, query: Callable[[View], Any], deadline: float) -> Any:
        self._database.limit(db, deadline)
        try:
            return query(View(db, self._database.sql))
        finally:
            self._database.limit(db, None)


def _require_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise Overloaded("the database did not come to this look-up in time", retry_after_s=_RETRY_S)


def _hand_over(future: asyncio.Future[Any], result: Any) -> None:
    try:
        future.get_loop().call_soon_threadsafe(_answer, future, result)
    except RuntimeError:  # the loop was closed before the store
        log.error("store_not_closed", extra={"unanswered": 1})


def _answer(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
