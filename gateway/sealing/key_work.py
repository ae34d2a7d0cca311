"""Work on keys beside the event loop: in threads, so many at a time, each waited for until its deadline.

A provider, or the home of the wrapped keys, may hang where nothing ends it. Its thread is then left behind, and counts
among those at work until it comes back: so there are never more than `threads`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

THREADS = 8
DEADLINE_S = 10.0


class TooSlow(Exception):
    """It was not done in time, or nobody is free to begin it."""


class KeyWork:
    """Belongs to one event loop. `deadline_s`: how long one piece of work may take, its wait for a thread included."""

    def __init__(self, *, threads: int = THREADS, deadline_s: float = DEADLINE_S) -> None:
        self._free = asyncio.Semaphore(threads)
        self._deadline_s = deadline_s

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, done in a thread. Raises what it raises, and TooSlow."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._free.acquire()
                thread = threading.Thread(target=self._run, args=(work, answer, loop), name="keys", daemon=True)
                thread.start()
                return await answer
        except TimeoutError:
            raise TooSlow(f"no answer within {self._deadline_s:g} s") from None

    def _run(self, work: Callable[[], T], answer: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(self._finish, answer, result, error)
        except RuntimeError:  # the loop has ended meanwhile: nobody waits
            return

    def _finish(self, answer: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
        self._free.release()
        if answer.done():  # it was too slow, or who waited went away
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # it is T when there is no error
