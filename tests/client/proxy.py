"""A TCP proxy between client and node, at which a test cuts connections, swallows answers, or moves to another node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Proxy:
    """Passes octets on, both ways, until it is told otherwise."""

    upstream: int | None  # the node's port; None: connections are closed at once
    port: int = 0
    connections: int = 0
    swallowing: bool = False  # what the node says is thrown away
    swallowed: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """End every connection at once."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect to the node, and pass on until either side ends."""
        self.connections += 1
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if self.upstream is None:
                return
            answers, far = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._writers.add(far)
            up = asyncio.create_task(self._pass(reader, far, down=False))
            down = asyncio.create_task(self._pass(answers, writer, down=True))
            _, left = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except OSError:
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    self._writers.discard(end)
                    end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, down: bool) -> None:
        while octets := await reader.read(65536):
            if down and self.swallowing:
                self.swallowed.set()
                continue
            writer.write(octets)
            await writer.drain()


@asynccontextmanager
async def proxy(upstream: int) -> AsyncIterator[Proxy]:
    """Run a proxy to the node on this port."""
    made = Proxy(upstream)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
        await server.wait_closed()
        for _ in range(3):
            await asyncio.sleep(0)
