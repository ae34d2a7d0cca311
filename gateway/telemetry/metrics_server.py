"""Prometheus' page: a small HTTP/1.1 server for one path, over mutual TLS, or in plain text on loopback.

Over TLS the node shows its SVID, and whoever reads shows one of the node's own trust domain whose SPIFFE ID is among
the readers. The page is made on a thread of its own, one at a time: making it takes longer than the event loop may
wait. Sizes, times and connections are bounded.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from cryptography import x509

from certs.errors import CertsError
from certs.leaf import read_leaf
from certs.svid import X509Svid
from gateway.config.kinds import Address

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


def server_context(svid: X509Svid, bundle_pem: str) -> ssl.SSLContext:
    """Return a context for a server that demands certificates of one trust domain.

    It trusts that domain's roots alone, so that no other domain's authority can make up a reader. No tickets: a session
    that is resumed is not verified again.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _present(context, svid)
    context.load_verify_locations(cadata=bundle_pem)
    return context


def _present(context: ssl.SSLContext, svid: X509Svid) -> None:
    """Load an SVID into a context. Python reads it from a file only: this one is in memory, and nobody else's."""
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(svid.key_pem() + svid.chain_pem())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def may_read(leaf_der: bytes, domain: str, readers: tuple[str, ...], now: dt.datetime) -> bool:
    """Say whether a leaf, which TLS has verified, is a reader's: of this trust domain, valid, and named."""
    try:
        facts = read_leaf(x509.load_der_x509_certificate(leaf_der))
    except (CertsError, ValueError):
        return False
    spiffe_id = str(facts.spiffe_id)
    named = any(spiffe_id == reader or spiffe_id.startswith(f"{reader}/") for reader in readers)
    return named and facts.spiffe_id.trust_domain.name == domain and facts.not_before <= now <= facts.not_after


class MetricsServer:
    """Serves the page. `render` is called on a thread."""

    def __init__(self, address: Address, render: Callable[[], bytes], security: Security | None) -> None:
        """`security` None is plain text, which the configuration allows on loopback only."""
        self._address = address
        self._render = render
        self._security = security
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._rendering = asyncio.Lock()

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        try:
            self._socket = socket.create_server(self._address, family=family)
        except OSError as error:
            text = f"telemetry.metrics.listen: {self._address} cannot be had: {error.strerror}"
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
        if self._server is not None:
            self._server.close()
            self._server = None
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
            await _write(writer, "403 Forbidden", b"telemetry.metrics.readers does not name this certificate\n")
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
