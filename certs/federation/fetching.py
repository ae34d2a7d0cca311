"""Fetches a bundle from its endpoint: the only part of federation that opens connections.

The name is resolved once, every address is judged, and the connection goes to an address that was judged: a name that
answers differently a moment later (DNS rebinding) changes nothing. Proxies are not used, whatever the environment says.
The whole of it has one deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from certs.bundle import Bundle
from certs.errors import FetchFailed, Reason
from certs.federation.addresses import Address, permitted
from certs.federation.authentication import check_server, spiffe_context, tls_failure, web_context
from certs.federation.endpoint import Endpoint, Location
from certs.federation.exchange import READ_OCTETS, Exchange
from certs.spiffe_id import TrustDomain

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
BundleOf: TypeAlias = Callable[[TrustDomain], Bundle | None]
Clock: TypeAlias = Callable[[], dt.datetime]

_MOST_ADDRESSES: Final = 4  # that are tried, one after the other


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, by the system's resolver. Raises FetchFailed."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as refused:
        raise FetchFailed(f"{host} cannot be resolved: {ascii(str(refused))[1:-1]}") from refused
    return list(dict.fromkeys(_address_of(family, where) for family, _, _, _, where in found))


def _address_of(family: int, where: Sequence[object]) -> str:
    """Return an address as text, with its zone when it has one."""
    zone = where[3] if family == socket.AF_INET6 and len(where) > 3 else 0
    text = str(where[0])
    return f"{text}%{zone}" if zone and "%" not in text else text


class Fetcher:
    """Fetches bundles. `bundle_of` gives the bundles by which https_spiffe endpoints prove who they are."""

    def __init__(self, bundle_of: BundleOf, clock: Clock, resolver: Resolve = resolve) -> None:
        self._bundle_of, self._clock, self._resolve = bundle_of, clock, resolver

    async def fetch(self, endpoint: Endpoint) -> Bundle:
        """Return the bundle that an endpoint serves now.

        Raises FetchFailed, EndpointRefused for addresses that are not allowed, BundleError for what is no bundle.
        """
        try:
            async with asyncio.timeout(endpoint.timeout_s):
                return await self._fetch(endpoint)
        except TimeoutError:
            raise FetchFailed(f"the endpoint did not answer within {endpoint.timeout_s:g} s") from None

    async def _fetch(self, endpoint: Endpoint) -> Bundle:
        context = await self._context(endpoint)
        where = endpoint.location
        addresses = permitted(await self._resolve(where.host, where.port), endpoint.networks)[:_MOST_ADDRESSES]
        each_s = endpoint.timeout_s / (len(addresses) + 1)  # one that swallows packets leaves time for the others
        with await _connected(addresses, where.port, each_s) as connection:
            document = await self._ask(connection, context, endpoint)
        return await asyncio.to_thread(Bundle.from_jwks, endpoint.trust_domain, document)

    async def _context(self, endpoint: Endpoint) -> ssl.SSLContext:
        """Return the TLS context, made on a thread: reading roots takes longer than an event loop may wait."""
        if endpoint.server_id is None:
            return await asyncio.to_thread(web_context, endpoint.ca_file)
        bundle = self._bundle_of(endpoint.server_id.trust_domain)
        if bundle is None:
            raise FetchFailed(
                f"there is no bundle of {endpoint.server_id.trust_domain} to verify {endpoint.server_id} with: have "
                "one from its operator, and name the file in bootstrap_file",
                reason=Reason.ENDPOINT_IDENTITY,
            )
        return await asyncio.to_thread(spiffe_context, bundle)

    async def _ask(self, connection: socket.socket, context: ssl.SSLContext, endpoint: Endpoint) -> bytes:
        """Return the body of the answer to a GET. The socket is the transport's from here on."""
        try:
            reader, writer = await asyncio.open_connection(
                sock=connection, ssl=context, server_hostname=endpoint.location.host, limit=READ_OCTETS
            )
        except OSError as refused:
            raise tls_failure(refused) from refused
        try:
            tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
            if endpoint.server_id is not None:
                check_server(tls.getpeercert(binary_form=True), endpoint.server_id, self._clock())
            return await _get(endpoint.location, reader, writer)
        except OSError as refused:
            raise FetchFailed(f"the connection was lost: {refused.strerror or type(refused).__name__}") from refused
        finally:
            writer.transport.abort()  # nothing more is said or heard
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _get(location: Location, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    exchange = Exchange(location)
    writer.write(exchange.request())
    await writer.drain()
    while True:
        body = exchange.received(await reader.read(READ_OCTETS))
        if body is not None:
            return body


async def _connected(addresses: Sequence[Address], port: int, each_s: float) -> socket.socket:
    """Return a connection to the first address that takes one within `each_s` seconds. Raises FetchFailed."""
    loop = asyncio.get_running_loop()
    why = ""
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(each_s):
                await loop.sock_connect(connection, (str(address), port))
        except OSError as refused:  # TimeoutError is one
            connection.close()
            why = f"{address} port {port}: {refused.strerror or type(refused).__name__}"
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise FetchFailed(f"the endpoint cannot be reached: {why}")
