"""How the commands of this machine call a node: the client package, given what client.yaml says.

It adds nothing to `smsgw.client` but the channel for services that are not a caller's, and a watch that tells of lost
connections. No call is retried: who types a command decides that. It must not know how anything is printed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from certs.spiffe_id import SpiffeId
from gateway.config.client_file import ClientSettings
from gateway.config.identity_settings import FROM_ENVIRONMENT
from smsgw.client.aio_channels import AioChannels
from smsgw.client.aio_events import responses
from smsgw.client.errors import CallFailed, IdentityUnusable, ServerNotVerified, SmsgwError
from smsgw.client.explaining import explain
from smsgw.client.following import Position
from smsgw.client.identity import IdentityFiles, IdentitySource, WorkloadIdentity
from smsgw.client.link import CALL_TIMEOUT_S, Link
from smsgw.client.server import Server
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # known to the stubs' types only

__all__ = [
    "CALL_TIMEOUT_S",
    "CallFailed",
    "IdentityUnusable",
    "ServerNotVerified",
    "SmsgwError",
    "connect",
    "explained",
    "open_channel",
    "watch",
]

_IDENTITY_S = 10.0  # how long a Workload API may take to answer a command
_link: ContextVar[Link | None] = ContextVar("_link", default=None)  # that of the channel which this task opened last


def server_of(settings: ClientSettings) -> Server:
    """Return the server that client.yaml means: by its SPIFFE ID where it names one, and by its DNS name."""
    return Server(
        host=settings.target.host,
        port=settings.target.port,
        spiffe_id=None if settings.server_id is None else SpiffeId.parse(settings.server_id),
        dns_name=settings.server_name,
    )


def identity_of(settings: ClientSettings) -> IdentitySource:
    """Return where the caller's identity comes from. Raises IdentityUnusable when neither is given whole."""
    if settings.workload_api is not None:
        named = None if settings.workload_api == FROM_ENVIRONMENT else settings.workload_api
        return WorkloadIdentity(named, spiffe_id=settings.spiffe_id, timeout_s=_IDENTITY_S)
    if settings.svid_file is None or settings.svid_key_file is None or settings.bundle_file is None:
        raise IdentityUnusable("no identity: it takes SVID, key and bundle in files, or a Workload API")
    return IdentityFiles(settings.svid_file, settings.svid_key_file, settings.bundle_file)


@contextlib.asynccontextmanager
async def _channels(settings: ClientSettings) -> AsyncIterator[AioChannels]:
    """Take the caller's identity from where client.yaml says. Raises IdentityUnusable."""
    channels = AioChannels(Link(server_of(settings), identity_of(settings)))
    try:
        await channels.open()
        yield channels
    finally:
        await channels.close()


@contextlib.asynccontextmanager
async def open_channel(settings: ClientSettings) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel for the caller; nothing is sent before the first call. Raises IdentityUnusable."""
    async with _channels(settings) as channels:
        with channels.lease() as lease:
            before = _link.get()
            _link.set(channels.link)
            try:
                yield lease.channel.channel
            finally:
                _link.set(before)


@contextlib.asynccontextmanager
async def connect(settings: ClientSettings) -> AsyncIterator[MessageServiceAsyncStub]:
    """Open a channel for the caller, and return what it calls MessageService by. Raises IdentityUnusable."""
    async with open_channel(settings) as channel:
        yield MessageServiceStub(channel)


@contextlib.contextmanager
def explained(settings: ClientSettings) -> Iterator[None]:
    """Turn an RpcError inside into a SmsgwError: within `open_channel`, which knows why a connection failed."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        link = _link.get()
        raise explain(error, str(settings.target), None if link is None else link.trouble) from error


async def watch(
    settings: ClientSettings,
    request: api.WatchEventsRequest,
    *,
    on_lost: Callable[[CallFailed, float], None] = lambda _failed, _wait_s: None,
) -> AsyncGenerator[api.WatchEventsResponse, None]:
    """Yield what WatchEvents sends, from the request on, for ever; a lost stream goes on after the last cursor.

    Raises SmsgwError when the first stream cannot be opened, or when the node refuses. `on_lost` is told of each lost
    connection and of the seconds until the next attempt.
    """
    start = api.WatchStart.Name(request.start)
    position = Position(request.cursor, start, patience_s=math.inf, first_patience_s=0)
    async with _channels(settings) as channels:
        events = responses(channels, position, on_lost)
        async with contextlib.aclosing(events):
            async for response in events:
                yield response
