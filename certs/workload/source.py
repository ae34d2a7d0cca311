"""An X.509 source on an event loop: follows a Workload API for as long as it runs.

    async with X509Source.of_environment() as source:       # SPIFFE_ENDPOINT_SOCKET
        await source.ready(30.0)
        ... server_credentials(source, source.bundles), or channel_credentials(source.svid, bundle) ...

An owner with a TaskGroup of its own calls `run` instead. What is made of messages is `certs.workload.following`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from certs.errors import NoIdentity
from certs.spiffe_id import TrustDomain
from certs.workload.endpoint import Endpoint
from certs.workload.following import Following, Standing, accept_any
from certs.workload.messages import HEADER, MAX_UPDATE_BYTES, METHOD, REQUEST
from certs.workload.state import Pick, WorkloadState

_LOG = logging.getLogger(__name__)
CHANNEL_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment has no business with private keys
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", MAX_UPDATE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
)


def utc_now() -> dt.datetime:
    """Return the present time."""
    return dt.datetime.now(dt.UTC)


class X509Source(Following):
    """Follows FetchX509SVID. Belongs to the event loop it runs on; what it holds may be read on any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        pick: Pick | None = None,
        federated: frozenset[TrustDomain] | None = None,
        accept: Callable[[WorkloadState], None] = accept_any,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        """Args as those of `Following`, and
        endpoint: where the Workload API is.
        clock: the present time, aware.
        """
        super().__init__(pick, federated, accept)
        self.endpoint = endpoint
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @classmethod
    def of_environment(cls, pick: Pick | None = None) -> Self:
        """Return a source of the Workload API that SPIFFE_ENDPOINT_SOCKET names. Raises BadEndpoint."""
        return cls(Endpoint.from_environment(os.environ), pick)

    async def __aenter__(self) -> Self:
        """Begin to follow."""
        self._task = asyncio.create_task(self.run(), name="workload-api")
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End: what is held can still be read."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def ready(self, timeout_s: float) -> None:
        """Return once there is an SVID. Raises NoIdentity, with why, when there is none within `timeout_s` seconds,
        and at once when the Workload API does not serve this client."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.has_identity and self.standing is not Standing.STOPPED:
                    await self._news.wait()
        if not self.has_identity:
            raise NoIdentity(f"no SVID from the Workload API at {self.endpoint}: {self.why_not()}")

    async def run(self) -> None:
        """Follow until cancelled, or until the Workload API says that it does not serve this client."""
        while self.standing is not Standing.STOPPED:
            self.opened()
            try:
                await self._stream()
            except Exception:  # the top of the task: a defect does not end the following, and what is held stays
                _LOG.exception("workload_api_failed")
                self.failed()
            self._tell_waiting()
            await asyncio.sleep(self.pause_s(random.random()))  # noqa: S311 -- spreads clients, and keeps no secret

    async def _stream(self) -> None:
        """Follow one stream to its end."""
        async with grpc.aio.insecure_channel(self.endpoint.target, options=CHANNEL_OPTIONS) as channel:
            method: Any = channel.unary_stream(METHOD)
            call = method(REQUEST, metadata=HEADER)
            try:
                while True:
                    async with asyncio.timeout(self.patience_s(self._clock())):
                        octets = await call.read()
                    if octets is grpc.aio.EOF:
                        self.ended("OK", "it ended the stream without an answer", time.monotonic())
                        return
                    self.received(octets, self._clock(), time.monotonic())
                    self._tell_waiting()
            except TimeoutError:
                self.overdue()
            except grpc.aio.AioRpcError as refused:
                self.ended(refused.code().name, refused.details() or "", time.monotonic())
            finally:
                call.cancel()

    def _tell_waiting(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
