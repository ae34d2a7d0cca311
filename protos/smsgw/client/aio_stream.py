"""A flow of messages over StreamMessages, for asyncio: frames, backpressure, lost connections, changed identities.

Three hands, which wait for one another by one event: one takes messages from the caller, a few in advance; one writes
frames while fewer than eight are unanswered; the generator itself reads the answers. What is lost with a connection
goes out again under its keys.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

import grpc
import grpc.aio

from smsgw.client.aio_channels import AioChannel, AioChannels
from smsgw.client.batching import Frames, Outcome
from smsgw.client.errors import CallFailed, SmsgwError
from smsgw.client.explaining import lost, silent
from smsgw.client.flow import ANSWER_S, FlowOptions
from smsgw.client.messages import Message
from smsgw.client.pool import Lease

Results = AsyncGenerator[tuple[Message, Outcome], None]


class AioFlow:
    """One flow, from the caller's messages to their outcomes."""

    def __init__(
        self,
        channels: AioChannels,
        messages: AsyncIterable[Message] | Iterable[Message],
        options: FlowOptions,
        seal: Callable[[Message], Awaitable[Message]],
    ) -> None:
        """`seal` encrypts the contents of those messages that ask for it."""
        self._seal = seal
        self._channels = channels
        self._messages = messages
        self._options = options
        self._frames = Frames(options.policy, options.frame_size)
        self._moved = asyncio.Event()

    async def results(self) -> Results:
        """Yield the outcomes as they come. Raises like `AsyncClient.stream`."""
        taking = asyncio.get_running_loop().create_task(self._take())
        attempts, may_renew = self._options.attempts(time.monotonic()), True
        try:
            while not self._frames.done:
                failed: SmsgwError | None = None
                lease = self._channels.lease()
                async with aclosing(self._over(lease)) as results:
                    try:
                        async for result in results:
                            attempts, may_renew = self._options.attempts(time.monotonic()), True
                            yield result
                    except SmsgwError as error:
                        failed = error
                if failed is None:
                    continue
                self._frames.lost()
                if may_renew and await self._channels.renewed(failed, lease):
                    may_renew = False
                elif isinstance(failed, CallFailed):
                    await asyncio.sleep(attempts.pause_s(failed, time.monotonic(), random.random()))  # noqa: S311 -- no secret
                else:
                    raise failed
            await taking  # it raises what the caller's iterator raised
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._moved.clear()
            await self._moved.wait()

    async def _take(self) -> None:
        """Take messages from the caller, at most two frames of them in advance."""
        try:
            if isinstance(self._messages, AsyncIterable):
                async for message in self._messages:
                    await self._keep(message)
            else:
                for message in self._messages:
                    await self._keep(message)
        finally:
            self._frames.taken()
            self._moved.set()

    async def _keep(self, message: Message) -> None:
        self._frames.take(await self._seal(message) if message.to_be_sealed else message)
        self._moved.set()
        await self._until(lambda: self._frames.room)

    async def _over(self, lease: Lease[AioChannel]) -> Results:
        """Yield outcomes over one channel, until all is done or another channel has taken its place."""
        with lease:
            call = lease.channel.stub.StreamMessages(metadata=self._options.metadata)
            lease.when_retired(self._moved.set)
            writing = asyncio.get_running_loop().create_task(self._write(call, lease))
            writing.add_done_callback(lambda _: self._moved.set())
            try:
                while True:
                    await self._until(lambda: self._frames.out > 0 or writing.done())
                    if not self._frames.out:
                        return
                    for result in self._answered(await self._read(call, lease)):
                        yield result
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                call.cancel()

    def _answered(self, response: Any) -> list[tuple[Message, Outcome]]:
        results = self._frames.answered(response, time.monotonic())
        self._moved.set()
        return results

    async def _read(self, call: Any, lease: Lease[AioChannel]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S):
                response = await call.read()
        except TimeoutError:
            raise silent(self._channels.link.server.target) from None
        except asyncio.CancelledError:
            self._channels.cancelled(lease)
            raise
        except grpc.aio.AioRpcError as error:
            raise self._channels.explain(error) from error
        if response is grpc.aio.EOF:
            raise lost(self._channels.link.server.target)
        return response

    async def _write(self, call: Any, lease: Lease[AioChannel]) -> None:
        """Write frames until all is done or the channel is retired; a broken call is the reader's business."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._until(lambda: lease.retired or self._frames.done or self._frames.ready)
                if lease.retired or self._frames.done:
                    break
                await asyncio.sleep(self._frames.pause_s(time.monotonic()))
                request = self._frames.next()
                self._moved.set()  # its answer is awaited from now on, also while it is still being written
                await call.write(request)
            await call.done_writing()
