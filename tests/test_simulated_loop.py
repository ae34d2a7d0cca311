"""The tests' own event loop: time jumps when nothing is left to do, and stands still while a thread works."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulated_loop import SimulatedLoop


def run(loop: SimulatedLoop, work: object) -> None:
    """Run a coroutine on the loop, and close it."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)  # type: ignore[arg-type]  # a coroutine


def test_a_day_passes_at_once_and_in_order() -> None:
    """Timers ring in the order of their times, each at its time."""
    loop = SimulatedLoop()
    rung: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        rung.append((name, loop.time()))

    async def work() -> None:
        began = loop.time()
        await asyncio.gather(sleep("day", 86_400), sleep("hour", 3600), sleep("minute", 60))
        assert [(name, round(at - began, 6)) for name, at in rung] == [("minute", 60), ("hour", 3600), ("day", 86_400)]

    began = time.monotonic()
    run(loop, work())
    assert time.monotonic() - began < 60


def test_time_stands_still_while_a_thread_works() -> None:
    """What a thread does in real time takes none here; a deadline of a second is not missed by it."""
    loop = SimulatedLoop()

    async def work() -> None:
        began = loop.time()
        async with asyncio.timeout(1):
            await asyncio.to_thread(time.sleep, 0.3)
        assert loop.time() == began
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(2)

    run(loop, work())


def test_connections_are_served_or_refused() -> None:
    """In memory, and by whoever listens now."""
    loop = SimulatedLoop()

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(data)

    async def work() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("anywhere.example", 1)
        loop.listen(Echo)
        reader, writer = await asyncio.open_connection("anywhere.example", 1)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()

    run(loop, work())
