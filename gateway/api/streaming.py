"""The frames of a StreamMessages call: several at work, answered in order.

Frames are served as they come, up to a bound, so that the commit of one overlaps with the validation of the next; when
the bound is reached nothing more is read, and HTTP/2 flow control holds the client. It knows nothing of messages.

Not a TaskGroup: the replies leave through a generator, and a TaskGroup turns the generator's own end into an error.
`replies` owns the tasks instead, and ends them however it is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from gateway.errors import ShuttingDown

DEFAULT_FRAMES_AT_WORK = 8

FrameT = TypeVar("FrameT")
ReplyT = TypeVar("ReplyT")


class FramePipe(Generic[FrameT, ReplyT]):
    """Serves the frames of one stream with `serve`, `at_work` of them at a time."""

    def __init__(
        self,
        frames: AsyncIterator[FrameT],
        serve: Callable[[FrameT], Awaitable[ReplyT]],
        at_work: int = DEFAULT_FRAMES_AT_WORK,
    ) -> None:
        self._frames = frames
        self._serve = serve
        self._free = asyncio.Semaphore(at_work)
        self._begun: asyncio.Queue[asyncio.Task[ReplyT] | None] = asyncio.Queue()  # bounded by the semaphore
        self._tasks: set[asyncio.Task[ReplyT]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._stopped: Callable[[], ShuttingDown] | None = None

    def stop(self, refusal: Callable[[], ShuttingDown] = ShuttingDown) -> None:
        """Read no further frame: what has been read is answered, then the stream ends with what `refusal` says then."""
        self._stopped = refusal
        if self._reader is not None:
            self._reader.cancel()

    async def replies(self) -> AsyncGenerator[ReplyT, None]:
        """Yield the reply to each frame, in order.

        Raises what `serve` raised for a frame, or what reading raised, after the replies to the frames before it; and
        ShuttingDown after `stop`.
        """
        reader = self._reader = asyncio.get_running_loop().create_task(self._read())
        reader.add_done_callback(lambda _: self._begun.put_nowait(None))  # also when it is cancelled before it began
        if self._stopped is not None:
            reader.cancel()
        try:
            while (task := await self._begun.get()) is not None:
                yield await task
                self._tasks.discard(task)
                self._free.release()
            with suppress(asyncio.CancelledError):
                await reader  # done: it tells why there are no more frames
            if self._stopped is not None:
                raise self._stopped()
        finally:
            await self._end(reader)

    async def _read(self) -> None:
        await self._free.acquire()
        async for frame in self._frames:
            task = asyncio.get_running_loop().create_task(self._run(frame))
            self._tasks.add(task)
            self._begun.put_nowait(task)
            await self._free.acquire()

    async def _run(self, frame: FrameT) -> ReplyT:
        return await self._serve(frame)

    async def _end(self, reader: asyncio.Task[None]) -> None:
        reader.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(reader, *self._tasks, return_exceptions=True)
