"""Serves the revocation lists over plain HTTP, on an address of its own: moves octets for `certs.service.crl_http`.

Everybody may ask, so everything is bounded: connections, and those of one address; the head, by size and time; the
answer, by time. One request a connection. It runs in a thread of its own with a loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from certs.ca.crls import Crl
from certs.errors import AuthorityError
from certs.service.crl_http import MAX_HEAD_BYTES, answer, refusal
from certs.service.servicer import Clock

MAX_CONNECTIONS: Final = 128
MAX_OF_ADDRESS: Final = 16
_HEAD_S: Final = 10.0
_ANSWER_S: Final = 60.0
_START_S: Final = 30.0
_STOP_S: Final = 10.0


class CrlServer:
    """From `start` to `stop`. `published` is asked for each request."""

    def __init__(self, published: Callable[[], Mapping[str, Crl]], clock: Clock) -> None:
        self._published, self._clock = published, clock
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._open: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, address: str) -> int:
        """Serve at `address` (HOST:PORT; port 0 chooses one); returns the port. Raises AuthorityError."""
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise AuthorityError(f"{address!a} is no address to listen at: write HOST:PORT")
        started: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(host.strip("[]"), int(port), started)), name="crl-http"
        )
        self._thread.start()
        try:
            return started.result(_START_S)
        except OSError as refused:
            self._thread.join(_STOP_S)
            raise AuthorityError(f"{address} cannot be listened at: {refused.strerror or refused}") from refused

    def stop(self) -> None:
        """End it; answers under way are cut off."""
        if self._loop is not None and self._ending is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)

    async def _serve(self, host: str, port: int, started: Future[int]) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._connected, host, port, limit=MAX_HEAD_BYTES)
        except OSError as refused:
            started.set_exception(refused)
            return
        started.set_result(int(server.sockets[0].getsockname()[1]))
        await self._ending.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, and close it whatever happens."""
        task, peer = asyncio.current_task(), str((writer.get_extra_info("peername") or ("",))[0])
        if task is not None:
            self._tasks.add(task)
        self._open[peer] += 1
        try:
            with contextlib.suppress(OSError, TimeoutError):
                await self._answer(reader, writer, peer)
        finally:
            self._open -= Counter({peer: 1})  # forgets those that come to nothing
            writer.close()
            if task is not None:
                self._tasks.discard(task)
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        if self._open.total() > MAX_CONNECTIONS or self._open[peer] > MAX_OF_ADDRESS:
            said = refusal(503)
        else:
            said = await self._said(reader)
        if said:
            writer.write(said)
            async with asyncio.timeout(_ANSWER_S):
                await writer.drain()

    async def _said(self, reader: asyncio.StreamReader) -> bytes:
        """Read a head and return what is answered; nothing to who leaves before its end."""
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return refusal(408)
        except asyncio.LimitOverrunError:
            return refusal(431)
        except asyncio.IncompleteReadError:
            return b""
        return answer(head, self._published(), self._clock())
