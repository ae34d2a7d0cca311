"""gRPC channels for asyncio, exchanged for new ones when the identity changes."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import grpc.aio

from smsgw.client.errors import NotRecognised, ServerNotVerified, SmsgwError
from smsgw.client.explaining import explain
from smsgw.client.link import AGAIN_S, NOT_OPEN, READY_S, RENEWED_S, Link
from smsgw.client.pool import Lease, Pool
from smsgw.v1.audit_service_pb2_grpc import AuditServiceStub
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub

if TYPE_CHECKING:
    from smsgw.v1.audit_service_pb2_grpc import AuditServiceAsyncStub  # known to the stubs' types only
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub

log = logging.getLogger(__name__)


class AioChannel(NamedTuple):
    """A channel, and the stubs on it."""

    channel: grpc.aio.Channel
    stub: MessageServiceAsyncStub
    audit: AuditServiceAsyncStub

    def call(self, method: str) -> Any:
        """Return the method of this name, of whichever service has it."""
        return getattr(self.audit if hasattr(self.audit, method) else self.stub, method)


class AioChannels:
    """The channel of now. Belongs to the event loop that opens it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._pool: Pool[AioChannel] | None = None
        self._rotating: asyncio.Task[None] | None = None
        self._closed = False
        self.rotations = 0  # how often the channel was exchanged

    async def open(self) -> None:
        """Get the identity; the server is connected to when the first call is made. Raises IdentityUnusable."""
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._changed.set)

        opening = loop.run_in_executor(None, self.link.open, changed)
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:  # the thread goes on
            opening.add_done_callback(self._given_up)
            raise
        self._pool = Pool(self._new(), self._close_soon)
        self._rotating = loop.create_task(self._rotate())

    def _given_up(self, opening: asyncio.Future[None]) -> None:
        """Close what was opened for nobody."""
        if opening.cancelled() or opening.exception() is None:
            asyncio.get_running_loop().run_in_executor(None, self.link.close)

    async def close(self) -> None:
        """End every call and connection. Idempotent."""
        self._closed = True
        if self._rotating is not None:
            self._rotating.cancel()
            await asyncio.gather(self._rotating, return_exceptions=True)
        if self._pool is not None:
            for channel in self._pool.everything():
                await channel.channel.close()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await asyncio.to_thread(self.link.close)

    def lease(self) -> Lease[AioChannel]:
        """Return the use of the channel of now. Raises RuntimeError before `open`."""
        if self._pool is None or self._closed:
            raise RuntimeError(NOT_OPEN)
        return self._pool.lease()

    def cancelled(self, lease: Lease[AioChannel]) -> None:
        """Tell why a call was cancelled. Returns when its channel was retired; raises RuntimeError when the client was
        closed under it, and CancelledError when its task is to end."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if self._closed:
            raise RuntimeError(NOT_OPEN)
        if not lease.retired:
            raise asyncio.CancelledError

    def explain(self, error: grpc.aio.AioRpcError) -> SmsgwError:
        """Return what an error of a call says."""
        return explain(error, self.link.server.target, self.link.trouble)

    async def renewed(self, failed: SmsgwError, lease: Lease[AioChannel]) -> bool:
        """Say whether `failed` is about who we are, or who the node is, and a channel with a newer identity is there.

        It looks for one at once.
        """
        if not isinstance(failed, NotRecognised | ServerNotVerified):
            return False
        if not lease.retired and await asyncio.to_thread(self.link.source.refresh):
            exchanged = asyncio.Event()
            lease.when_retired(exchanged.set)
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEWED_S):
                    await exchanged.wait()
        return lease.retired

    def _new(self) -> AioChannel:
        channel = grpc.aio.insecure_channel(self.link.target, options=self.link.options())
        return AioChannel(channel, MessageServiceStub(channel), AuditServiceStub(channel))

    def _close_soon(self, channel: AioChannel) -> None:
        task = asyncio.get_running_loop().create_task(channel.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _rotate(self) -> None:
        """Exchange the channel after each change, when the new one stands; until then the old one serves."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if await self._exchange():
                    continue
                log.warning("channel_not_exchanged", extra={"why": type(self.link.trouble).__name__})
            except Exception:  # a client that renews no more would fail in an hour, and nobody would know why
                log.exception("channel_not_exchanged")
            self._changed.set()
            await asyncio.sleep(AGAIN_S * (0.5 + random.random()))  # noqa: S311 -- spreads clients, keeps no secret

    async def _exchange(self) -> bool:
        """Open a channel, and use it when it stands in time; says whether it does."""
        fresh = self._new()
        if await self._ready(fresh) and self._pool is not None:
            self._pool.swap(fresh)
            self.rotations += 1
            return True
        await fresh.channel.close()
        return False

    async def _ready(self, fresh: AioChannel) -> bool:
        try:
            async with asyncio.timeout(READY_S):
                await fresh.channel.channel_ready()
        except TimeoutError:
            return False
        except BaseException:
            await fresh.channel.close()
            raise
        return True
