"""The reader: one thread and one read-only connection for everything that is only looked up.

WAL lets it read beside the writer. Its queue is bounded, and each query has a deadline, counted from its call.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw

from gateway.errors import Overloaded
from gateway.store.sqlite import schema
from gateway.store.sqlite.faults import SHAKEN, translate

log = logging.getLogger(__name__)

QUEUE_LIMIT = 1_000
_CHECK_EVERY = 100_000  # steps of SQLite's machine between looks at the clock: about a millisecond
_RETRY_S = 0.2

T = TypeVar("T")
_Job = tuple[Callable[[apsw.Connection], Any], float, asyncio.Future[Any]]


class Reader:
    """Owns the thread; `ask` and `stop` belong to the event loop and to a worker thread."""

    def __init__(self, path: Path, vfs: str | None, deadline_s: float) -> None:
        self._path = path
        self._vfs = vfs
        self._deadline_s = deadline_s
        self._deadline = 0.0
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._stopping = False
        self._db: apsw.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="store-reader", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    async def ask(self, query: Callable[[apsw.Connection], T]) -> T:
        """Run `query` in the thread. Raises Overloaded when too many wait, StoreUnavailable past the deadline."""
        if len(self._jobs) >= QUEUE_LIMIT:
            raise Overloaded("too many look-ups wait for the database", retry_after_s=_RETRY_S)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._ready:
            self._jobs.append((query, time.monotonic() + self._deadline_s, future))
            self._ready.notify()
        return await future

    def stop(self) -> None:
        """Finish what waits, close the connection, end the thread. Blocks: not for the event loop."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join()

    # The thread.

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._stopping:
                    self._ready.wait()
                if not self._jobs:
                    break
                query, self._deadline, future = self._jobs.popleft()
            result: Any
            try:
                result = query(self._connected())
            except Exception as error:  # the top of a task: it belongs to the caller
                if isinstance(error, SHAKEN):
                    self._close()
                result = translate(error, str(self._path))
            _hand_over(future, result)
        self._close()

    def _connected(self) -> apsw.Connection:
        if self._late():
            raise Overloaded("the database did not come to this look-up in time", retry_after_s=_RETRY_S)
        if self._db is None:
            self._db = schema.connect_reader(self._path, self._vfs)
            self._db.set_progress_handler(self._late, _CHECK_EVERY)
        return self._db

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _close(self) -> None:
        if self._db is not None:
            self._db.close(True)
            self._db = None


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
