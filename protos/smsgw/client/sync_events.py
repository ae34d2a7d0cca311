"""Following events for blocking code: from a cursor, across lost connections and changed identities."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from smsgw.client import convert
from smsgw.client.errors import SmsgwError
from smsgw.client.explaining import lost, silent
from smsgw.client.following import ATTACH_S, Position
from smsgw.client.messages import Event, Start
from smsgw.client.pool import Lease
from smsgw.client.sync_channels import SyncChannel, SyncChannels
from smsgw.v1 import message_service_pb2 as api

log = logging.getLogger(__name__)


class Events:
    """The tenant's events, for ever. A context manager, which is entered when the node follows; or iterated at once.

    `cursor` is where it stands: that of the last event it gave. `close` may be called on another thread: it ends the
    iteration.
    """

    def __init__(self, channels: SyncChannels, cursor: str, start: Start, patience_s: float) -> None:
        self._channels = channels
        self._position = Position(cursor, f"WATCH_START_{start}", patience_s=patience_s)
        self._responses = self._follow()
        self._waiting: deque[Event] = deque()
        self._call: Any = None
        self._ended = threading.Event()
        self.cursor = cursor

    def __enter__(self) -> Self:
        """Begin to follow: what happens from now on is seen."""
        self._more()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Follow no further."""
        self.close()

    def close(self) -> None:
        """Follow no further: who iterates gets no more. Idempotent."""
        self._ended.set()
        call = self._call
        if call is not None:
            call.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._waiting:
            if not self._more():
                raise StopIteration
        event = self._waiting.popleft()
        self.cursor = event.cursor
        return event

    def _more(self) -> bool:
        response = next(self._responses, None)
        if response is None:
            return False
        self._waiting.extend(convert.event(event) for event in response.events)
        if not response.events and response.cursor:
            self.cursor = response.cursor
        return True

    def _over(self) -> bool:
        return self._ended.is_set() or self._channels.closed

    def _follow(self) -> Iterator[api.WatchEventsResponse]:
        """Yield what WatchEvents sends, until closed. Raises SmsgwError."""
        position = self._position
        while not self._over():
            position.opened(time.monotonic())
            lease = self._channels.lease()
            try:
                yield from self._once(lease)
                if lease.retired:
                    continue  # the identity has changed: on with the new one, from the cursor
                failed: SmsgwError = lost(self._channels.link.server.target)
            except SmsgwError as error:
                failed = error
            if self._over():
                return
            if position.may_renew and self._channels.renewed(failed, lease):
                position.may_renew = False
                continue
            pause_s = position.pause_s(failed, time.monotonic(), random.random())  # noqa: S311 -- keeps no secret
            log.info("events_lost", extra={"why": type(failed).__name__, "again_in_s": round(pause_s, 3)})
            self._ended.wait(pause_s)

    def _once(self, lease: Lease[SyncChannel]) -> Iterator[api.WatchEventsResponse]:
        """Yield the responses of one stream, until it or its channel ends. Raises SmsgwError."""
        with lease:
            call: Any = lease.channel.stub.WatchEvents(self._position.request())
            self._call = call
            if self._ended.is_set():
                call.cancel()
            lease.when_retired(call.cancel)
            overdue = threading.Timer(ATTACH_S, call.cancel)  # the first response comes at once
            overdue.daemon = True
            overdue.start()
            try:
                for response in call:
                    overdue.cancel()
                    self._position.at(response.cursor)
                    yield response
            except grpc.RpcError as error:
                if lease.retired or self._over():
                    return
                if overdue.finished.is_set() and not self._position.attached:
                    raise silent(self._channels.link.server.target) from error
                raise self._channels.explain(error) from error
            finally:
                overdue.cancel()
                call.cancel()
