"""Listeners that end while somebody connects: who was accepted is told."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import warnings

import pytest

from visibility.listening import stop_accepting


async def _ended(turns: int, *, carefully: bool) -> list[str]:
    """Connect, let so many turns of the loop pass, end the listener; what Python finds left behind."""
    begun: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        begun.append(writer)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()[:2], timeout=5):
            for _ in range(turns):
                await asyncio.sleep(0)
            if carefully:
                await stop_accepting(server)
            server.close()
            for writer in begun:
                writer.transport.abort()
            for _ in range(8):
                await asyncio.sleep(0)
        await server.wait_closed()
        del server
        gc.collect()
    return [str(warning.message) for warning in found if warning.category is ResourceWarning]


@pytest.mark.parametrize("turns", range(8))
async def test_nobody_is_forgotten(turns: int) -> None:
    """Whenever the listener ends, nothing is left open."""
    assert await _ended(turns, carefully=True) == []


async def test_another_loop_is_left_alone() -> None:
    """A listener that has ended already has nobody to wait for."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    server.close()
    await stop_accepting(server)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python closes them itself")
async def test_the_check_finds_who_is_forgotten() -> None:
    """Without the care that is taken here, there is a moment at which a connection stays open."""
    assert any([await _ended(turns, carefully=False) for turns in range(8)])
