"""A bundle endpoint: one document over TLS, on a thread of its own, with everything about it bounded.

What it serves and by which certificate are exchanged while it runs, each in one step; the next handshake and the next
request see it. It knows no authority: `certs.service.publishing` says what is served. `PageServer` below it serves any
public documents, and without TLS where these are signed themselves: revocation lists, by `certs.service.crl_http`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import logging
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from certs.errors import AuthorityError, SvidFileError
from certs.federation.answering import Answerer, Page

_LOG = logging.getLogger(__name__)
_CONNECTIONS: Final = 256  # at a time
_CONNECTIONS_OF_ONE: Final = 16  # address, or /64 of IPv6
_DEADLINE_S: Final = 10.0  # of a connection, handshake and answer together
_READ: Final = 4096
_START_S: Final = 10.0
_PAUSE_S: Final = 0.1


def server_context(chain_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Return a context that presents a certificate to clients that show none; TLS 1.2 or 1.3.

    The key goes to OpenSSL through memory, and to no file. Raises SvidFileError when the two cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET  # nothing is gained by resuming a connection of one request
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    descriptor = os.memfd_create("endpoint", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, key_pem + b"\n" + chain_pem)  # a few KiB: memory takes them whole
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except OSError as refused:  # ssl.SSLError is one
        raise SvidFileError(f"the endpoint's certificate and key cannot be used: {refused.strerror}") from refused
    finally:
        os.close(descriptor)
    return context


class PageServer:
    """Serves what `pages` returns at one address, from `start` to `stop`. `context`: of TLS, None for plain HTTP."""

    def __init__(
        self,
        pages: Callable[[], Mapping[str, Page]],
        context: ssl.SSLContext | None,
        clock: Callable[[], dt.datetime],
        *,
        name: str,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        """`pages`, by path, is called for each request, from another thread; `name` is that of the thread."""
        self.context: ssl.SSLContext | None = context
        self._pages, self._clock, self._name, self._deadline_s = pages, clock, name, deadline_s
        self.answered: Counter[str] = Counter()  # by kind: "answered", "refused" (no room), "lost"
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._clients: dict[asyncio.Task[None], str] = {}

    def start(self, listen: str) -> int:
        """Listen at host:port (port 0 chooses one); returns the port. Raises AuthorityError."""
        listener = _listener(listen)
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listener, started), name=self._name, daemon=True)
        self._thread.start()
        started.result(_START_S)
        return int(listener.getsockname()[1])

    def stop(self) -> None:
        """End it, with every connection. Idempotent."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_S)
        self._thread = None

    def _run(self, listener: socket.socket, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listener, started))
        except Exception as defect:  # the top of the thread
            _LOG.exception("%s ended", self._name)
            if not started.done():
                started.set_exception(defect)

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        accepting = self._loop.create_task(self._accept(listener))
        started.set_result(None)
        try:
            await self._stopping.wait()
        finally:
            for task in (accepting, *self._clients):
                task.cancel()
            await asyncio.gather(accepting, *self._clients, return_exceptions=True)
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        """Take connections, and count them before they have sent anything: a silent one has a place as well."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as refused:  # no descriptor is free, or the client has left already
                _LOG.warning("a connection could not be taken", extra={"why": refused.strerror})
                await asyncio.sleep(_PAUSE_S)
                continue
            client = _client_of(str(address[0]))
            of_one = sum(1 for other in self._clients.values() if other == client)
            if len(self._clients) >= _CONNECTIONS or of_one >= _CONNECTIONS_OF_ONE:
                self.answered["refused"] += 1
                connection.close()
                continue
            task = loop.create_task(self._connected(connection))
            self._clients[task] = client
            task.add_done_callback(lambda done: self._clients.pop(done, None))

    async def _connected(self, connection: socket.socket) -> None:
        """Own a connection to its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self.context)
                await self._answer(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
            self.answered["answered"] += 1
        except (OSError, TimeoutError):
            self.answered["lost"] += 1
        except Exception:  # the top of the connection's task
            _LOG.exception("a request failed at %s", self._name)
        finally:
            if transport is not None:
                transport.abort()
            connection.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answerer, pages = Answerer(), self._pages()
        octets: bytes | None = None
        while octets is None:
            octets = answerer.received(await reader.read(_READ), pages, self._clock())
        writer.write(octets)
        writer.close()  # says goodbye in TLS, so that the client knows that the answer is whole
        await writer.wait_closed()


class BundleServer(PageServer):
    """Serves `page` over TLS; `page` and `context` may be set from any thread."""

    def __init__(self, page: Page, context: ssl.SSLContext, clock: Callable[[], dt.datetime]) -> None:
        super().__init__(lambda: {self.page.path: self.page}, context, clock, name="bundle-endpoint")
        self.page = page


def _client_of(host: str) -> str:
    """Return whom a connection counts for: an IPv4 address, or the /64 of an IPv6 one."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not host:  # else it would be every address of this machine
            raise ValueError("no host")
        if not 0 <= int(port) <= 65_535:  # create_server would leave a socket behind
            raise ValueError("no port")
        found = socket.create_server((host, int(port)), family=family, backlog=128)
    except (OSError, ValueError) as refused:
        raise AuthorityError(f"{listen} cannot be listened at: host:port was expected, with a free port") from refused
    found.setblocking(False)
    return found
