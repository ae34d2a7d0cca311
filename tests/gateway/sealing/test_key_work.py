"""Work on keys in threads: bounded in number and in time, and nothing of it comes too late."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.sealing.key_work import KeyWork, TooSlow


async def test_done_in_a_thread() -> None:
    """What the work returns or raises comes to who waits."""
    work = KeyWork()
    assert await work.do(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await work.do(lambda: 1 // 0)


async def test_threads_that_hang_are_counted() -> None:
    """No thread is begun while as many as there may be hang; when they come back, work goes on."""
    work, go = KeyWork(threads=2, deadline_s=0.05), threading.Event()
    others = set(threading.enumerate())  # of other tests: they may end meanwhile
    try:
        for _ in range(5):
            with pytest.raises(TooSlow):
                await work.do(lambda: go.wait(20))
        assert len(set(threading.enumerate()) - others) == 2
    finally:
        go.set()
    async with asyncio.timeout(20):
        while set(threading.enumerate()) - others:
            await asyncio.sleep(0.001)
    assert await KeyWork().do(lambda: 7) == 7
    work._deadline_s = 20
    assert await work.do(lambda: 7) == 7


async def test_who_waited_went_away() -> None:
    """Cancelling who waits leaves the thread to end by itself, and its place is free then."""
    work, go = KeyWork(threads=1), threading.Event()
    waiting = asyncio.create_task(work.do(lambda: go.wait(20)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    assert await work.do(lambda: 7) == 7
