"""A TCP connection to the first address of a host that answers (RFC 8305 §5).

asyncio has the same (`happy_eyeballs_delay`), and up to Python 3.11 at least forgets to close a socket whose connection
stands in the moment in which it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias

_NEXT_S = 0.25  # until the next address is tried, too (RFC 8305 §8)
_MAX_ADDRESSES = 16

_Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


async def connected(host: str, port: int) -> socket.socket:
    """Return a connected socket, which is the caller's to close. Raises OSError: that of the first address."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await race([(family, address) for family, _, _, _, address in found])


async def race(addresses: Sequence[_Address]) -> socket.socket:
    """Connect to these addresses, each begun when the one before has failed or been silent for a moment."""
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    waiting = alternated(addresses)[:_MAX_ADDRESSES]
    try:
        while winner is None:
            if waiting:
                attempts.append(asyncio.create_task(_connect(waiting.pop(0))))
            going = [attempt for attempt in attempts if not attempt.done()]
            if going:
                await asyncio.wait(going, timeout=_NEXT_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            winner = next((each for each in attempts if each.done() and each.exception() is None), None)
            if winner is None and not waiting and all(each.done() for each in attempts):
                raise (attempts[0].exception() if attempts else None) or OSError("the host has no address")
        return winner.result()
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_close)


def alternated(addresses: Sequence[_Address]) -> list[_Address]:
    """Return the addresses with those of the first one's family and the others by turns, each in their order."""
    family = addresses[0][0] if addresses else None
    first = [address for address in addresses if address[0] == family]
    other = [address for address in addresses if address[0] != family]
    return [address for pair in zip_longest(first, other) for address in pair if address is not None]


async def _connect(to: _Address) -> socket.socket:
    family, address = to
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
