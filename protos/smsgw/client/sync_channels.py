"""gRPC channels for blocking code, exchanged for new ones when the identity changes. Thread-safe."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import suppress
from typing import Any, NamedTuple

import grpc

from smsgw.client.errors import NotRecognised, ServerNotVerified, SmsgwError
from smsgw.client.explaining import explain
from smsgw.client.link import AGAIN_S, NOT_OPEN, READY_S, RENEWED_S, Link
from smsgw.client.pool import Lease, Pool
from smsgw.v1.audit_service_pb2_grpc import AuditServiceStub
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub

log = logging.getLogger(__name__)


class SyncChannel(NamedTuple):
    """A channel, and the stubs on it."""

    channel: grpc.Channel
    stub: MessageServiceStub
    audit: AuditServiceStub

    def call(self, method: str) -> Any:
        """Return the method of this name, of whichever service has it."""
        return getattr(self.audit if hasattr(self.audit, method) else self.stub, method)


class SyncChannels:
    """The channel of now."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._pool: Pool[SyncChannel] | None = None
        self._thread: threading.Thread | None = None
        self.rotations = 0  # how often the channel was exchanged

    def open(self) -> None:
        """Get the identity; the server is connected to when the first call is made. Raises IdentityUnusable."""
        self.link.open(self._changed.set)
        self._pool = Pool(self._new(), lambda channel: channel.channel.close())
        self._thread = threading.Thread(target=self._rotate, name="smsgw-client-rotation", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every call and connection. Idempotent."""
        self._closed.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join()
        if self._pool is not None:
            for channel in self._pool.everything():
                channel.channel.close()
        self.link.close()

    @property
    def closed(self) -> bool:
        """Whether the client has ended."""
        return self._closed.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the end of the client."""
        self._closed.wait(seconds)

    def lease(self) -> Lease[SyncChannel]:
        """Return the use of the channel of now. Raises RuntimeError before `open`."""
        if self._pool is None or self.closed:
            raise RuntimeError(NOT_OPEN)
        return self._pool.lease()

    def explain(self, error: grpc.RpcError) -> SmsgwError:
        """Return what an error of a call says."""
        return explain(error, self.link.server.target, self.link.trouble)  # type: ignore[arg-type]  # it is its call

    def renewed(self, failed: SmsgwError, lease: Lease[SyncChannel]) -> bool:
        """Say whether `failed` is about who we are, or who the node is, and a channel with a newer identity is there.

        It looks for one at once.
        """
        if not isinstance(failed, NotRecognised | ServerNotVerified):
            return False
        if not lease.retired and self.link.source.refresh():
            exchanged = threading.Event()
            lease.when_retired(exchanged.set)
            exchanged.wait(RENEWED_S)
        return lease.retired

    def _new(self) -> SyncChannel:
        channel = grpc.insecure_channel(self.link.target, options=self.link.options())
        return SyncChannel(channel, MessageServiceStub(channel), AuditServiceStub(channel))

    def _rotate(self) -> None:
        """Exchange the channel after each change, when the new one stands; until then the old one serves."""
        while self._changed.wait() and not self._closed.is_set():
            self._changed.clear()
            try:
                if self._exchange() or self._closed.is_set():
                    continue
                log.warning("channel_not_exchanged", extra={"why": type(self.link.trouble).__name__})
            except Exception:  # a client that renews no more would fail in an hour, and nobody would know why
                log.exception("channel_not_exchanged")
            self._changed.set()
            self._closed.wait(AGAIN_S * (0.5 + random.random()))  # noqa: S311 -- spreads clients, keeps no secret

    def _exchange(self) -> bool:
        """Open a channel, and use it when it stands in time; says whether it does."""
        fresh = self._new()
        if self._ready(fresh) and self._pool is not None:
            self._pool.swap(fresh)
            self.rotations += 1
            return True
        fresh.channel.close()
        return False

    def _ready(self, fresh: SyncChannel) -> bool:
        """Say whether the channel stands in time; looks up now and then whether the client has ended."""
        ready = grpc.channel_ready_future(fresh.channel)
        try:
            for _ in range(int(READY_S / 0.1)):
                with suppress(grpc.FutureTimeoutError):
                    ready.result(0.1)
                    return True
                if self._closed.is_set():
                    return False
            return False
        finally:
            ready.cancel()
