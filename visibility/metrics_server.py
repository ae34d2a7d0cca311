"""Prometheus' page: a small HTTP/1.1 server for one path, over mutual TLS, or in plain text on loopback.

Which certificate it shows, and who may read, is told by `Security` (`certs.readers` makes what a node and an authority
need). The page is made on a thread of its own, one at a time: making it takes longer than the event loop may wait.
Sizes, times and connections are bounded.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from visibility.listening import stop_accepting

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_HEAD_BYTES = 8192
_MAX_CLIENTS = 8
_DEADLINE_S = 10.0
_HANDSHAKE_S = 5.0


class Security(NamedTuple):
    """What mutual TLS needs. `context` makes a new one from the SVID as it is now; `admit` is asked who may read,
    with the leaf's DER. Raises OSError or ssl.SSLError."""

    context: Callable[[], ssl.SSLContext]
    admit: Callable[[bytes], bool]


class MetricsServer:
    """Serves the page. `render` is called on a thread."""

    def __init__(
        self,
        address: tuple[str, int],
        render: Callable[[], bytes],
        security: Security | None,
        *,
        readers: str = "telemetry.metrics.readers",
    ) -> None:
        """`security` None is plain text, which is for loopback only. `readers`: the setting that says who may read."""
        self._address = address
        self._readers = readers
        self._render = render
        self._security = security
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._rendering = asyncio.Lock()

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server(self._address, family=family)
        except OSError as error:
            text = f"the metrics' address {host}:{port} cannot be had: {error.strerror}"
            raise OSError(error.errno, text) from error
        self._socket.setblocking(False)
        await self._listen(self._socket)
        return int(self._socket.getsockname()[1])

    async def reload(self) -> None:
        """Show new certificates and believe new roots, from the next connection on. Raises OSError, ssl.SSLError: then
        the old ones stay."""
        if self._socket is None or self._security is None:
            return
        old = self._server
        await self._listen(self._socket)
        if old is not None:
            await stop_accepting(old)
            old.close()

    async def _listen(self, listener: socket.socket) -> None:
        """Accept on a copy of the socket, so that the next server takes over without a moment of nobody listening."""
        secure = self._security is not None
        context = self._security.context() if self._security is not None else None
        copy = listener.dup()
        try:
            self._server = await asyncio.start_server(
                self._connected,
                sock=copy,
                limit=_MAX_HEAD_BYTES,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_S if secure else None,
            )
        except BaseException:
            copy.close()
            raise

    async def stop(self) -> None:
        """Stop listening, cut what is being answered. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await stop_accepting(server)
            server.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= _MAX_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            log.debug("metrics_client_lost")
        except Exception:  # the top of this connection's task
            log.exception("metrics_page_failed")
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            await _write(writer, "431 Request Header Fields Too Large", b"")
            return
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if not self._admitted(writer):
            await _write(writer, "403 Forbidden", f"{self._readers} does not name this certificate\n".encode())
        elif method not in (b"GET", b"HEAD"):
            await _write(writer, "405 Method Not Allowed", b"GET /metrics\n")
        elif path != b"/metrics":
            await _write(writer, "404 Not Found", b"GET /metrics\n")
        else:
            async with self._rendering:
                page = await asyncio.to_thread(self._render)
            await _write(writer, "200 OK", page, CONTENT_TYPE, body=method == b"GET")

    def _admitted(self, writer: asyncio.StreamWriter) -> bool:
        if self._security is None:
            return True
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        leaf = tls.getpeercert(binary_form=True) if tls is not None else None
        return bool(leaf) and self._security.admit(leaf or b"")


async def _write(
    writer: asyncio.StreamWriter, status: str, octets: bytes, kind: str = "text/plain", *, body: bool = True
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(octets)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + (octets if body else b""))
    await writer.drain()
