"""Following events for asyncio: from a cursor, across lost connections and changed identities."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Self

import grpc.aio

from smsgw.client import convert
from smsgw.client.aio_channels import AioChannel, AioChannels
from smsgw.client.errors import CallFailed, SmsgwError
from smsgw.client.explaining import lost, silent
from smsgw.client.following import ATTACH_S, Position
from smsgw.client.messages import Event, Start
from smsgw.client.pool import Lease
from smsgw.v1 import message_service_pb2 as api

log = logging.getLogger(__name__)


class AsyncEvents:
    """The tenant's events, for ever. A context manager, which is entered when the node follows; or iterated at once.

    `cursor` is where it stands: that of the last event it gave.
    """

    def __init__(self, channels: AioChannels, cursor: str, start: Start, patience_s: float) -> None:
        self._channels = channels
        self._position = Position(cursor, f"WATCH_START_{start}", patience_s=patience_s)
        self._responses = responses(channels, self._position)
        self._waiting: deque[Event] = deque()
        self.cursor = cursor

    async def __aenter__(self) -> Self:
        """Begin to follow: what happens from now on is seen."""
        await self._more()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Follow no further."""
        await self.aclose()

    async def aclose(self) -> None:
        """Follow no further."""
        await self._responses.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            await self._more()
        event = self._waiting.popleft()
        self.cursor = event.cursor
        return event

    async def _more(self) -> None:
        response = await anext(self._responses)
        self._waiting.extend(convert.event(event) for event in response.events)
        if not response.events and response.cursor:
            self.cursor = response.cursor


async def responses(
    channels: AioChannels,
    position: Position,
    on_lost: Callable[[CallFailed, float], None] = lambda _failed, _pause_s: None,
) -> AsyncGenerator[api.WatchEventsResponse, None]:
    """Yield what WatchEvents sends from `position` on, for ever. Raises SmsgwError.

    `on_lost` is told of each lost stream that is opened again, and in how many seconds.
    """
    while True:
        position.opened(time.monotonic())
        try:
            with channels.lease() as lease:
                call = lease.channel.stub.WatchEvents(position.request())
                lease.when_retired(call.cancel)
                try:
                    while (response := await _read(call, channels, lease, attached=position.attached)) is not None:
                        position.at(response.cursor)
                        yield response
                finally:
                    call.cancel()
            if lease.retired:
                continue  # the identity has changed: on with the new one, from the cursor
            failed: SmsgwError = lost(channels.link.server.target)
        except SmsgwError as error:
            failed = error
        if position.may_renew and await channels.renewed(failed, lease):
            position.may_renew = False
            continue
        pause_s = position.pause_s(failed, time.monotonic(), random.random())  # noqa: S311 -- keeps no secret
        log.info("events_lost", extra={"why": type(failed).__name__, "again_in_s": round(pause_s, 3)})
        if isinstance(failed, CallFailed):
            on_lost(failed, pause_s)
        await asyncio.sleep(pause_s)


async def _read(call: Any, channels: AioChannels, lease: Lease[AioChannel], *, attached: bool) -> Any:
    """Return the next response, None at the end of the stream, also where the channel was retired."""
    try:
        async with asyncio.timeout(None if attached else ATTACH_S):  # the first response comes at once
            response = await call.read()
    except TimeoutError:
        raise silent(channels.link.server.target) from None
    except asyncio.CancelledError:
        channels.cancelled(lease)
        return None
    except grpc.aio.AioRpcError as error:
        raise channels.explain(error) from error
    return None if response is grpc.aio.EOF else response
