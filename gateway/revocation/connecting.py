"""The way to the publisher: that of callers (`smsgw.client`), with the node's own identity.

A node is known by its SPIFFE ID, which gRPC for Python does not check. So gRPC speaks to the client package's tunnel
(ADR 34): what answers is verified on each connection, by the bundle of the publisher's own trust domain and nothing
else, and has to have the SPIFFE ID that is configured, before an octet passes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from certs.bundle import Trust
from certs.tls import SvidSource
from gateway.revocation.codec import MAX_BODY_BYTES
from smsgw.client.identity import Identity
from smsgw.client.link import Link
from smsgw.client.server import Server
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub

if TYPE_CHECKING:
    from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceAsyncStub  # known to the stubs' types only

DIAL_S = 5.0
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BODY_BYTES + 65_536),
    ("grpc.keepalive_time_ms", 20_000),
    # An attempt is one connection: when that is lost the attempt is over, and the next has a channel of its own.
    ("grpc.initial_reconnect_backoff_ms", 3_600_000),
    ("grpc.max_reconnect_backoff_ms", 3_600_000),
)


class _OwnIdentity:
    """The node's identity as it is at the moment (`smsgw.client.identity.IdentitySource`); others renew it."""

    def __init__(self, svid: SvidSource, bundles: Trust) -> None:
        self._svid = svid
        self._bundles = bundles

    def open(self, changed: Callable[[], None]) -> None:
        """There is nothing to wait for, and each connection takes what is there."""

    def current(self) -> Identity:
        """Return it."""
        return Identity(svid=self._svid.svid, bundles=self._bundles)

    def refresh(self) -> bool:
        """Others look."""
        return False

    def close(self) -> None:
        """There is nothing to end."""


class Connector:
    """Opens connections with the node's present SVID and bundles."""

    def __init__(self, publisher: Server, svid: SvidSource, bundles: Trust) -> None:
        self._publisher = publisher
        self._identity = _OwnIdentity(svid, bundles)

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[RevocationServiceAsyncStub]:
        """Return what the publisher is called by. Raises SmsgwError, OSError or TimeoutError when it cannot be reached,
        or is another."""
        link = Link(self._publisher, self._identity)
        try:
            await _in_a_thread(lambda: link.open(lambda: None))
            options = dict(link.options()) | dict(_OPTIONS)
            async with grpc.aio.insecure_channel(link.target, options=tuple(options.items())) as channel:
                await _stands(channel, link)
                yield RevocationServiceStub(channel)
        finally:
            await _in_a_thread(link.close)


async def _stands(channel: grpc.aio.Channel, link: Link) -> None:
    """Return when the publisher has answered and was verified. Raises what has kept it from that."""
    async with asyncio.timeout(DIAL_S):
        while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise link.trouble or ConnectionError("the connection to the publisher was lost")
            await channel.wait_for_state_change(state)


async def _in_a_thread(work: Callable[[], None]) -> None:
    """Do `work`, which blocks for milliseconds, to its end, also when whoever wanted it is cancelled meanwhile."""
    working = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
