"""The way to the server: TLS connections of our own, verified one by one, that gRPC reaches over a private Unix socket.

gRPC for Python checks a server by DNS name alone and has no place for another check (docs/adr). So gRPC speaks plain
HTTP/2 to a socket that only this process can reach, and each connection to that socket becomes a TLS connection to the
server. Octets pass only after the server's SPIFFE ID was verified on that very connection; else both are closed.

One thread of its own drives all of it, for asyncio and blocking clients alike. The socket lies in a fresh directory of
mode 0700, and whoever connects is asked for its process id, which has to be ours.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from certs.workload.endpoint import MAX_PATH_BYTES
from smsgw.client.dialling import connected
from smsgw.client.errors import IdentityUnusable, ServerNotVerified, SmsgwError
from smsgw.client.server import Server
from smsgw.client.tls import presented

_DIAL_S = 10.0
_END_S = 10.0
_MAX_CONNECTIONS = 64  # of one client: it has one, and two while it changes its identity
_SOCKET = "s"
_LAST_RESORT = "/dev/shm"  # noqa: S108 -- a fresh directory of mode 0700 in it
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid (unix(7))

_T = TypeVar("_T")


class Trust(Protocol):
    """What the tunnel asks before each connection."""

    def context(self) -> ssl.SSLContext:
        """Return the context to connect with. Raises IdentityUnusable."""

    def verify(self, presented_pem: list[bytes], now: dt.datetime) -> None:
        """Raise ServerNotVerified unless this is the server."""


class Tunnel:
    """A private socket, and behind it the server. Made and ended on any thread."""

    def __init__(self, server: Server, trust: Trust) -> None:
        """Listen. Raises SmsgwError when there is no place for a socket."""
        self.server = server
        self.trust = trust
        self.trouble: Exception | None = None  # why the last connection failed; None since one stands
        self._connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None
        self._emptied = asyncio.Event()
        self._directory = _private_directory()
        self._path = self._directory / _SOCKET
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="smsgw-client", daemon=True)
        self._thread.start()
        try:
            self._do(self._listen())
        except BaseException:
            self.close()
            raise

    @property
    def target(self) -> str:
        """Where gRPC is to connect."""
        return f"unix:{self._path}"

    def close(self) -> None:
        """Close the socket and every connection. Idempotent."""
        if self._loop.is_closed():
            return
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        path = str(self._path)
        self._listener = await self._loop.create_unix_server(lambda: _Connection(self).near, path, backlog=16)

    async def _end(self) -> None:
        listening = self._listener.sockets if self._listener is not None else ()
        for each in listening:
            self._loop.remove_reader(each.fileno())  # nobody more is accepted
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._end_connections()
        if self._listener is not None:
            self._listener.close()  # not before: Python 3.11 forgets what it accepted and has no transport for

    async def _end_connections(self) -> None:
        """End all connections: those that stand, that are being dialled, and that the loop has just accepted, of which
        nobody has told us yet."""
        this = {asyncio.current_task()}
        while True:
            for connection in tuple(self._connections):
                connection.end()
            working = asyncio.all_tasks() - this
            if not working:
                break
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        if self._connections:
            await self._emptied.wait()  # a transport that was aborted closes its socket in the next round of the loop

    def opened(self, connection: _Connection) -> bool:
        """Take up a connection; False when there are too many."""
        self._connections.add(connection)
        self._emptied.clear()
        return len(self._connections) <= _MAX_CONNECTIONS

    def closed(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()


class _Connection:
    """A connection of gRPC's, and the one to the server for it."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.near, self.far = _Near(self), _Far(self)
        self.near.other, self.far.other = self.far, self.near
        self._dialling: asyncio.Task[None] | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """gRPC has connected: connect to the server."""
        if not self.tunnel.opened(self) or not _is_ours(transport.get_extra_info("socket")):
            transport.abort()
            return
        transport.pause_reading()
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        server, loop = self.tunnel.server, asyncio.get_running_loop()
        try:
            context = self.tunnel.trust.context()
            async with asyncio.timeout(_DIAL_S):
                connection = await connected(server.host, server.port)
                name = server.dns_name or server.host
                await loop.create_connection(lambda: self.far, sock=connection, ssl=context, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            text = f"what answers at {server.target} could not prove who it is: {error.verify_message}"
            self.failed(ServerNotVerified(f"{text}; is the bundle that of its trust domain, and current?"))
        except (OSError, TimeoutError, IdentityUnusable) as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """There is no connection to the server, for this reason."""
        self.tunnel.trouble = error
        self.end()

    def lost(self) -> None:
        """One side has ended: what it said goes out, then the other ends too."""
        ends = [side.transport for side in (self.near, self.far) if side.transport is not None]
        for transport in ends:
            transport.close()
        if self._dialling is not None:
            self._dialling.cancel()
        if not ends:
            self.tunnel.closed(self)

    def end(self) -> None:
        """End both sides at once."""
        if self._dialling is not None:
            self._dialling.cancel()
        for side in (self.near, self.far):
            if side.transport is not None:
                side.transport.abort()


class _Side(asyncio.Protocol):
    """One side of a connection: what comes here goes out at `other`, no faster than that takes it."""

    other: _Side

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Read no more at the other side: this one does not take it."""
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on at the other side."""
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio gives it
        """End the other side too."""
        self.transport = None
        self.connection.lost()


class _Near(_Side):
    """gRPC's side."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the server."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- for the types: a stream's transport is one
        self.transport = transport
        self.connection.begin(transport)


class _Far(_Side):
    """The server's side. Nothing was sent when `connection_made` comes, and nothing is before it returns."""

    _spoke = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Verify who answers; only then let gRPC's octets pass."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- for the types: a stream's transport is one
        near = self.other.transport
        if near is None:
            transport.abort()  # gRPC has given up meanwhile
            return
        try:
            shown = presented(transport.get_extra_info("ssl_object"))
            self.connection.tunnel.trust.verify(shown, dt.datetime.now(dt.UTC))
        except Exception as refused:
            transport.abort()
            known = isinstance(refused, ServerNotVerified | IdentityUnusable)
            self.connection.failed(refused if known else ServerNotVerified("the server's certificate is unreadable"))
            return
        self.transport = transport
        near.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass it on; the first octets say that the server has taken our certificate."""
        if not self._spoke:
            self._spoke, self.connection.tunnel.trouble = True, None
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember why, when the server never spoke: it has then refused our certificate, as a rule."""
        if not self._spoke and self.transport is not None:
            self.connection.tunnel.trouble = exc or ConnectionResetError("the server closed the connection")
        super().connection_lost(exc)


def _is_ours(connection: socket.socket) -> bool:
    """Say whether the other end is a socket of this process (SO_PEERCRED, unix(7))."""
    octets = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(octets)
    return bool(pid == os.getpid() and uid == os.geteuid())


def _private_directory() -> Path:
    """Return a fresh directory of mode 0700 in which a socket can be, also where the file system is read-only.

    Raises SmsgwError when there is none.
    """
    for place in (None, _LAST_RESORT):  # None: TMPDIR, or what stands for it
        with suppress(OSError):
            directory = Path(tempfile.mkdtemp(prefix="smsgw-", dir=place))
            if len(os.fsencode(directory / _SOCKET)) <= MAX_PATH_BYTES:
                return directory
            directory.rmdir()
    raise SmsgwError("there is no place for a private socket: set TMPDIR to a short path that can be written")
