"""The socket that workloads connect to, and what stands behind it.

gRPC does not tell who is at the other end of a Unix socket. So this front accepts, asks the kernel, and connects on to
gRPC's own socket, which lies in a directory that only the agent can enter, from a name that is used once. The servicer
sees that name as its peer, and finds the facts by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from certs.agent.processes import Attestor, ProcessFacts
from certs.errors import AttestationRefused, SvidFileError
from visibility.listening import stop_accepting

MAX_CONNECTIONS: Final = 1024
MAX_OF_USER: Final = 128
ATTEST_S: Final = 30.0
_CHUNK: Final = 64 * 1024
_CLOSE_S: Final = 1.0
_LOG = logging.getLogger(__name__)


class Front:
    """Accepts workloads between `start` and `stop`. Everything runs on one event loop."""

    def __init__(self, path: Path, attestor: Attestor, wants_digest: Callable[[], bool]) -> None:
        self._path = path
        self._attestor = attestor
        self._wants_digest = wants_digest
        self._home = Path(tempfile.mkdtemp(prefix="smsgw-agent-"))  # 0700; its path is short, as a socket's must be
        self._facts: dict[str, ProcessFacts] = {}
        self._of_user: Counter[int] = Counter()
        self._count = 0
        self._open = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def inner(self) -> str:
        """gRPC's address: only this front reaches it."""
        return f"unix:{self._home}/grpc"

    def facts_of(self, peer: str) -> ProcessFacts | None:
        """Return who is behind a gRPC peer name; None for a name that is none of ours."""
        return self._facts.get(peer.removeprefix("unix:"))

    async def start(self) -> None:
        """Listen. Whoever may enter the socket's directory may connect: who it is, decides. Raises SvidFileError."""
        try:
            if self._path.exists():
                if not self._path.is_socket():
                    raise SvidFileError(f"{self._path} exists and is no socket: name another path")
                await self._refuse_living()
                self._path.unlink()
            self._server = await asyncio.start_unix_server(self._accepted, path=str(self._path), limit=_CHUNK)
            self._path.chmod(0o666)
        except OSError as refused:
            raise SvidFileError(f"{self._path}: cannot be listened at: {refused.strerror or refused}") from refused

    async def _refuse_living(self) -> None:
        """Raise SvidFileError when somebody listens at the path already."""
        try:
            _, writer = await asyncio.open_unix_connection(str(self._path))
        except OSError:
            return
        writer.close()
        raise SvidFileError(f"{self._path}: another agent listens there: stop it, or name another path")

    async def stop(self) -> None:
        """End every connection, and take the sockets away."""
        if self._server is not None:
            await stop_accepting(self._server)
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._home, ignore_errors=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._served(reader, writer)
        except asyncio.CancelledError:  # by `stop`: asyncio calls a handler that is cancelled an error, in Python 3.11
            _LOG.debug("a connection was ended")

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                facts = await self._attested(writer)
                await self._admitted(facts, reader, writer)
        except (AttestationRefused, OSError, TimeoutError) as refused:
            _LOG.warning("a connection was refused", extra={"error": str(refused)})
        finally:
            self._open -= 1
            await _close(writer)

    async def _attested(self, writer: asyncio.StreamWriter) -> ProcessFacts:
        connection = writer.get_extra_info("socket")
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))  # the thread's own: the loop may close its one
        try:
            async with asyncio.timeout(ATTEST_S):
                return await asyncio.to_thread(self._attestor.attest, duplicate, digest=self._wants_digest())
        finally:
            duplicate.close()

    async def _admitted(self, facts: ProcessFacts, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect on to gRPC, and carry octets both ways until one side ends."""
        if self._of_user[facts.uid] >= MAX_OF_USER:
            raise AttestationRefused(f"user {facts.uid} has {MAX_OF_USER} connections")
        self._count += 1
        name = f"{self._home}/{self._count}"
        self._of_user[facts.uid] += 1
        self._facts[name] = facts
        try:
            await self._joined(name, reader, writer)
        finally:
            del self._facts[name]
            self._of_user[facts.uid] -= 1
            Path(name).unlink(missing_ok=True)  # noqa: ASYNC240 -- a name in memory's file system, in microseconds

    async def _joined(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            onward.setblocking(False)
            onward.bind(name)
            await asyncio.get_running_loop().sock_connect(onward, f"{self._home}/grpc")
            inner_reader, inner_writer = await asyncio.open_unix_connection(sock=onward, limit=_CHUNK)
        except BaseException:
            onward.close()
            raise
        ways = [
            asyncio.ensure_future(_carry(reader, inner_writer)),
            asyncio.ensure_future(_carry(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            try:
                await asyncio.gather(*ways, return_exceptions=True)
                await _close(inner_writer)
            finally:
                inner_writer.transport.abort()  # where `stop` came in between; else it is closed already


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection and see it closed: what its other end does not take within a second is given up."""
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        _LOG.debug("a connection did not close by itself")
    finally:
        writer.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry octets one way, at the pace of the slower side, until the first ends."""
    while octets := await reader.read(_CHUNK):
        writer.write(octets)
        await writer.drain()
