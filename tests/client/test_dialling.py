"""The first address that answers is connected to, and no socket is forgotten, whenever it is given up."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from smsgw.client.dialling import alternated, connected, race

V4, V6 = socket.AF_INET, socket.AF_INET6


async def test_the_first_that_answers() -> None:
    """An address at which nobody listens is passed over at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = server.getsockname()
        for addresses in ([(V4, where)], [(V4, ("127.0.0.1", 1)), (V4, where)]):
            async with asyncio.timeout(10):
                with await race(addresses) as connection:
                    assert connection.getpeername() == where


async def test_one_that_is_silent() -> None:
    """An address that does not answer holds up the next for a moment only, and its socket is closed."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as full, socket.create_server(("127.0.0.1", 0)) as server:
        silent, where = full.getsockname(), server.getsockname()
        with socket.create_connection(silent):  # its queue is full now: what comes after waits
            async with asyncio.timeout(10):
                with await race([(V4, silent), (V4, where)]) as connection:
                    assert connection.getpeername() == where


async def test_nobody_answers() -> None:
    """What the first address said is raised; a host without addresses is told of, too."""
    with pytest.raises(ConnectionRefusedError):
        await race([(V4, ("127.0.0.1", 1)), (V4, ("127.0.0.2", 1))])
    with pytest.raises(OSError, match="no address"):
        await race([])


def test_families_by_turns() -> None:
    """A network without one of the families costs one wait, however many addresses that has."""
    a, b, c, d = (V6, ("a", 1)), (V6, ("b", 1)), (V6, ("c", 1)), (V4, ("d", 1))
    assert alternated([a, b, c, d]) == [a, d, b, c]
    assert alternated([]) == []


@pytest.mark.parametrize("turns", range(8))
async def test_who_is_cancelled_leaves_nothing_open(turns: int) -> None:
    """In whichever turn of the loop that comes: what was connected is closed, and is the caller's only when it has it.
    A socket that is forgotten is an error of the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        dialling = asyncio.create_task(connected(*server.getsockname()))
        while not dialling.done() and turns:
            await asyncio.sleep(0)
            turns -= 1
        dialling.cancel()
        await asyncio.wait([dialling])
        if not dialling.cancelled():
            dialling.result().close()
        await asyncio.sleep(0)
    gc.collect()
