"""A flow of messages over StreamMessages, for blocking code: frames, backpressure, lost connections, new identities.

Three hands, which wait for one another by one condition: a thread takes messages from the caller, a few in advance;
gRPC's own thread takes frames to write while fewer than eight are unanswered; the generator itself reads the answers. A
watch ends a call whose answers stay away.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from smsgw.client.batching import Frames, Outcome
from smsgw.client.errors import CallFailed, SmsgwError
from smsgw.client.explaining import lost, silent
from smsgw.client.flow import ANSWER_S, FlowOptions
from smsgw.client.messages import Message
from smsgw.client.pool import Lease
from smsgw.client.sync_channels import SyncChannel, SyncChannels
from smsgw.v1 import message_service_pb2 as api

_LOOK_S = 1.0

Results = Iterator[tuple[Message, Outcome]]


class SyncFlow:
    """One flow, from the caller's messages to their outcomes."""

    def __init__(
        self,
        channels: SyncChannels,
        messages: Iterable[Message],
        options: FlowOptions,
        seal: Callable[[Message], Message],
    ) -> None:
        """`seal` encrypts the contents of those messages that ask for it."""
        self._seal = seal
        self._channels = channels
        self._messages = messages
        self._options = options
        self._moved = threading.Condition()  # guards all below
        self._frames = Frames(options.policy, options.frame_size)
        self._left = False  # nobody wants further outcomes
        self._source_error: BaseException | None = None
        self._heard_at = 0.0  # monotonic: the last answer, or the frame since which one is owed
        self._silent = False  # the call was ended for staying silent

    def results(self) -> Results:
        """Yield the outcomes as they come. Raises like `AsyncClient.stream`."""
        taking = threading.Thread(target=self._take, name="smsgw-client-stream", daemon=True)
        taking.start()
        attempts, may_renew = self._options.attempts(time.monotonic()), True
        try:
            while not self._done():
                lease = self._channels.lease()
                try:
                    for result in self._over(lease):
                        attempts, may_renew = self._options.attempts(time.monotonic()), True
                        yield result
                    continue
                except SmsgwError as error:
                    failed = error
                with self._moved:
                    self._frames.lost()
                if may_renew and self._channels.renewed(failed, lease):
                    may_renew = False
                elif isinstance(failed, CallFailed) and not self._channels.closed:
                    chance = random.random()  # noqa: S311 -- spreads retries, and keeps no secret
                    self._channels.sleep(attempts.pause_s(failed, time.monotonic(), chance))
                else:
                    raise failed
            if self._source_error is not None:
                raise self._source_error
        finally:
            with self._moved:
                self._left = True
                self._moved.notify_all()

    def _done(self) -> bool:
        with self._moved:
            return self._frames.done

    def _take(self) -> None:
        """Take messages from the caller, at most two frames of them in advance."""
        try:
            for message in self._messages:
                ready = self._seal(message) if message.to_be_sealed else message
                with self._moved:
                    self._frames.take(ready)
                    self._moved.notify_all()
                    self._moved.wait_for(lambda: self._left or self._frames.room)
                    if self._left:
                        return
        except BaseException as error:  # it is raised where the outcomes are read
            self._source_error = error
        finally:
            with self._moved:
                self._frames.taken()
                self._moved.notify_all()

    def _over(self, lease: Lease[SyncChannel]) -> Results:
        """Yield outcomes over one channel, until all is done or another channel has taken its place."""
        with lease:
            lease.when_retired(self._wake)
            ended = threading.Event()
            call: Any = lease.channel.stub.StreamMessages(self._requests(lease, ended), metadata=self._options.metadata)
            self._heard_at, self._silent = time.monotonic(), False
            left = threading.Event()
            watching = threading.Thread(target=self._watch, args=(call, left), name="smsgw-client-watch", daemon=True)
            watching.start()
            try:
                while self._expects(ended):
                    yield from self._answered(self._read(call))
            finally:
                ended.set()
                left.set()
                call.cancel()
                self._wake()
                watching.join()

    def _wake(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def _expects(self, ended: threading.Event) -> bool:
        """Wait until there is a frame to be answered: True; or no further one on this call: False."""
        with self._moved:
            self._moved.wait_for(lambda: self._frames.out > 0 or ended.is_set())
            return self._frames.out > 0

    def _requests(self, lease: Lease[SyncChannel], ended: threading.Event) -> Iterator[api.StreamMessagesRequest]:
        """Yield frames, on gRPC's thread, until all is done, the channel is retired, or the call has ended."""
        try:
            while True:
                with self._moved:
                    self._moved.wait_for(lambda: self._stops(lease, ended) or self._frames.ready)
                    if self._stops(lease, ended):
                        return
                    pause_s = self._frames.pause_s(time.monotonic())
                    if pause_s > 0:
                        self._moved.wait(pause_s)
                        continue
                    if not self._frames.out:
                        self._heard_at = time.monotonic()  # nothing was owed until now
                    request = self._frames.next()
                    self._moved.notify_all()
                yield request
        finally:
            ended.set()
            self._wake()

    def _stops(self, lease: Lease[SyncChannel], ended: threading.Event) -> bool:
        return self._frames.done or self._left or lease.retired or ended.is_set() or self._channels.closed

    def _answered(self, response: Any) -> list[tuple[Message, Outcome]]:
        with self._moved:
            self._heard_at = time.monotonic()
            results = self._frames.answered(response, self._heard_at)
            self._moved.notify_all()
        return results

    def _read(self, call: Any) -> Any:
        try:
            response = next(call, None)
        except grpc.RpcError as error:
            if self._silent:
                raise silent(self._channels.link.server.target) from error
            raise self._channels.explain(error) from error
        if response is None:
            raise lost(self._channels.link.server.target)
        return response

    def _watch(self, call: Any, ended: threading.Event) -> None:
        """End a call on which frames have been unanswered for too long."""
        while not ended.wait(_LOOK_S):
            with self._moved:
                self._silent = self._frames.out > 0 and time.monotonic() - self._heard_at > ANSWER_S
            if self._silent:
                call.cancel()
                return
