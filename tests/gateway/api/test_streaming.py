"""Frames at work, answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from gateway.api.streaming import FramePipe
from gateway.errors import Unavailable

TIMEOUT_S = 10.0


class Server:
    """Serves a frame when the test says so; counts what it has been given."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self._gates: dict[int, asyncio.Future[int]] = {}
        self._changed = asyncio.Event()

    async def serve(self, frame: int) -> int:
        """Wait for `finish` or `fail`."""
        self.begun.append(frame)
        self._changed.set()
        try:
            return await self._gate(frame)
        except asyncio.CancelledError:
            self.cancelled.append(frame)
            raise

    def _gate(self, frame: int) -> asyncio.Future[int]:
        return self._gates.setdefault(frame, asyncio.get_running_loop().create_future())

    def finish(self, *frames: int) -> None:
        """Let frames be done: the reply is ten times the frame."""
        for frame in frames:
            self._gate(frame).set_result(frame * 10)

    def fail(self, frame: int, error: Exception) -> None:
        """Let a frame fail."""
        self._gate(frame).set_exception(error)

    async def until_begun(self, count: int) -> None:
        """Wait until `count` frames are at work or were."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.begun) < count:
                self._changed.clear()
                await self._changed.wait()


async def frames(count: int, *, end: Exception | None = None, stay: bool = False) -> AsyncIterator[int]:
    """Yield 1 to `count`, then end, fail, or stay silent."""
    for frame in range(1, count + 1):
        yield frame
    if end is not None:
        raise end
    if stay:
        await asyncio.Event().wait()


async def read(pipe: FramePipe[int, int], seen: list[int]) -> None:
    """Read all replies into `seen`, which keeps those before an error."""
    async for reply in pipe.replies():
        seen += (reply,)


async def test_order() -> None:
    """Replies come in the order of the frames, whatever order they were done in."""
    server = Server()
    pipe = FramePipe(frames(5), server.serve)
    server.finish(5, 4, 3, 2, 1)
    assert [reply async for reply in pipe.replies()] == [10, 20, 30, 40, 50]


async def test_overlap_and_bound() -> None:
    """Up to the bound frames are at work at the same time, and no more are begun until one is answered."""
    server = Server()
    pipe = FramePipe(frames(20), server.serve, at_work=3)
    async with aclosing(pipe.replies()) as replies, asyncio.timeout(TIMEOUT_S):
        first = asyncio.ensure_future(anext(replies))
        await server.until_begun(3)
        for _ in range(10):
            await asyncio.sleep(0)
        assert server.begun == [1, 2, 3]
        server.finish(1)
        assert await first == 10
        second = asyncio.ensure_future(anext(replies))
        await server.until_begun(4)
        server.finish(2)
        assert await second == 20
    assert sorted(server.cancelled) == [3, 4]


async def test_failure_in_order() -> None:
    """A frame's failure ends the stream after the replies before it; the frames behind it are cancelled."""
    server = Server()
    pipe = FramePipe(frames(4), server.serve)
    server.finish(1, 4)
    server.fail(2, ValueError("two"))
    seen: list[int] = []
    with pytest.raises(ValueError, match="two"):
        await read(pipe, seen)
    assert seen == [10]
    assert server.cancelled == [3]


async def test_reading_fails() -> None:
    """What reading raises is raised after everything that was read has been answered."""
    server = Server()
    pipe = FramePipe(frames(2, end=KeyError("malformed")), server.serve)
    server.finish(1, 2)
    seen: list[int] = []
    with pytest.raises(KeyError, match="malformed"):
        await read(pipe, seen)
    assert seen == [10, 20]


async def test_stop() -> None:
    """After `stop` what has been read is answered, and the caller is told to go elsewhere."""
    server = Server()
    pipe = FramePipe(frames(2, stay=True), server.serve)
    seen: list[int] = []
    reading = asyncio.ensure_future(read(pipe, seen))
    await server.until_begun(2)
    pipe.stop()
    server.finish(1, 2)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(reading, TIMEOUT_S)
    assert seen == [10, 20]


async def test_stop_before_start() -> None:
    """A pipe that was stopped before it began reads nothing."""
    server = Server()
    pipe = FramePipe(frames(2), server.serve)
    pipe.stop()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(anext(pipe.replies()), TIMEOUT_S)
    assert server.begun == []


async def test_left_early() -> None:
    """When the replies are left, nothing goes on."""
    server = Server()
    pipe = FramePipe(frames(3, stay=True), server.serve)
    async with aclosing(pipe.replies()) as replies:
        server.finish(1)
        assert await asyncio.wait_for(anext(replies), TIMEOUT_S) == 10
        await server.until_begun(3)
    assert sorted(server.cancelled) == [2, 3]
    assert len(asyncio.all_tasks()) == 1
