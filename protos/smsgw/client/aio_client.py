"""The client for asyncio.

async with AsyncClient("gateway.internal:8443", server_id="spiffe://example.org/gateway") as sms:
    sent = await sms.send(to="+4915112345678", sender="ACME", category="OTP", text="Your code is 4711")
    done = await sms.wait(sent.id)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc.aio
from google.protobuf.message import Message as Proto

from smsgw.client import convert, sealing
from smsgw.client.aio_channels import AioChannels
from smsgw.client.aio_events import AsyncEvents
from smsgw.client.aio_stream import AioFlow
from smsgw.client.base import Base
from smsgw.client.batching import Batch, Outcome
from smsgw.client.errors import CallFailed
from smsgw.client.fields import MessageFields, message_of
from smsgw.client.link import CALL_TIMEOUT_S, WAIT_TIMEOUT_S, Link
from smsgw.client.messages import Binary, Estimate, Message, MessageStatus, Sent, Start, State
from smsgw.client.tracing import metadata
from smsgw.client.waiting import Looks, not_final
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.audit_service_pb2 import GetMessageProofRequest

_SEALED_AT_ONCE = 16  # without giving way to others: about 2 ms


class AsyncClient(Base[AioChannels]):
    """A client of the gateway, for one event loop. Every method raises a SmsgwError, or ValueError for what no gateway
    would take; `timeout_s` is for the whole of it, retries included."""

    def _over(self, link: Link) -> AioChannels:
        self._sealing = asyncio.Lock()
        return AioChannels(link)

    async def __aenter__(self) -> Self:
        """Get the identity. Raises IdentityUnusable. The gateway is connected to by the first call."""
        await self._channels.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every call and connection."""
        await self._channels.close()

    async def send(
        self,
        message: Message | None = None,
        /,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        traceparent: str | None = None,
        **fields: Unpack[MessageFields],
    ) -> Sent:
        """Send one message: a Message, or its fields. Returns when the gateway has it on disk."""
        given = message_of(message, fields)
        try:
            if given.to_be_sealed:
                deadline = time.monotonic() + timeout_s
                given = await self.seal(given, timeout_s=timeout_s)
                timeout_s = max(0.0, deadline - time.monotonic())
            request = api.SendMessageRequest(message=convert.outbound(given))
            response = await self._call("SendMessage", request, timeout_s, traceparent)
        except CallFailed as failed:
            failed.message = given
            raise
        return convert.sent(response.accepted, given)

    async def send_many(
        self, messages: Iterable[Message], *, timeout_s: float = 60.0, traceparent: str | None = None
    ) -> list[Outcome]:
        """Send any number of messages in batches; a Sent or a CallFailed for each, in their order.

        One that fails stops no other. Those that the gateway has no room for at the moment are sent again within
        `timeout_s`; it is for all batches together.
        """
        deadline = time.monotonic() + timeout_s
        outcomes: list[Outcome] = []
        for messages_of_batch in convert.batches(messages):
            batch = await self._batch(messages_of_batch, deadline)
            await self._send_batch(batch, deadline, traceparent)
            outcomes += batch.outcomes()
        return outcomes

    async def seal(self, message: Message, *, timeout_s: float = CALL_TIMEOUT_S) -> Message:
        """Return the message with its content encrypted to the gateway's payload key, for its recipient and under its
        idempotency key: what is to be stored where a message is to be sent again later. Raises CannotSeal."""
        if message.sealed_jwe is not None:
            return message
        async with self._sealing:
            keys = self._payload_keys
            if keys is None or keys.until <= time.monotonic():
                response = await self._call("GetPayloadKeys", api.GetPayloadKeysRequest(), timeout_s)
                keys = self._payload_keys = sealing.read_keys(response, time.monotonic())
        return sealing.seal(message, keys, time.time())

    async def _batch(self, messages: Sequence[Message], deadline: float) -> Batch:
        """Return a batch in which is sealed what is to be; what cannot be has failed."""
        sealed, refused = list(messages), dict[int, CallFailed]()
        for index, message in enumerate(messages):
            if message.to_be_sealed:
                try:
                    sealed[index] = await self.seal(message, timeout_s=max(0.0, deadline - time.monotonic()))
                except CallFailed as failed:
                    refused[index] = failed
                if not index % _SEALED_AT_ONCE:
                    await asyncio.sleep(0)
        return Batch(sealed, refused)

    async def _send_batch(self, batch: Batch, deadline: float, traceparent: str | None) -> None:
        attempts = self._attempts(deadline)
        try:
            while batch.pending:
                left_s = max(0.0, deadline - time.monotonic())
                response = await self._call("SendMessages", batch.request(), left_s, traceparent)
                failed = batch.answered(response)
                if failed is None:
                    return
                await asyncio.sleep(attempts.pause_s(failed, time.monotonic(), _chance()))
        except CallFailed as failed:
            batch.failed(failed)

    def stream(
        self,
        messages: AsyncIterable[Message] | Iterable[Message],
        *,
        patience_s: float = 60.0,
        frame_size: int = 100,
        traceparent: str | None = None,
    ) -> AsyncIterator[tuple[Message, Outcome]]:
        """Send a steady flow over one call; yields each message with its Sent or CallFailed.

        Messages are taken as the gateway has room for them, and put together into frames of at most `frame_size`
        without waiting for one to be full. A lost connection is made anew, and what had no answer goes out again under
        its key. Raises what `messages` raises, after the answers to those before; or CallFailed when there was no
        answer for `patience_s` seconds.
        """
        options = self._flow(patience_s, frame_size, traceparent)
        return AioFlow(self._channels, messages, options, self.seal).results()

    async def estimate(self, text: str | None = None, *, binary: Binary | None = None) -> Estimate:
        """Say how a content would be encoded and split, without sending it."""
        request = api.EstimateMessageRequest(content=convert.content(text, binary))
        return convert.estimate(await self._call("EstimateMessage", request))

    async def get(self, message_id: str, *, timeout_s: float = CALL_TIMEOUT_S) -> MessageStatus:
        """Return a message as it stands. Raises NotFound."""
        request = api.GetMessageRequest(message_id=message_id)
        return convert.status((await self._call("GetMessage", request, timeout_s)).message)

    async def list(
        self, *, states: Iterable[State | str] = (), recipient: str = "", page_size: int = 100
    ) -> AsyncIterator[MessageStatus]:
        """Yield the tenant's messages, newest first, a page at a time as they are asked for."""
        request = api.ListMessagesRequest(page_size=page_size, states=convert.states(states), recipient=recipient)
        while True:
            page = await self._call("ListMessages", request)
            for message in page.messages:
                yield convert.status(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def proof(self, message_id: str, *, include_sending: bool = False, timeout_s: float = CALL_TIMEOUT_S) -> str:
        """Return the receipt of a message, as JSON: what the audit log proves of it, for `verify_receipt`.

        A message's last records are in the log after a second or so; it waits for them. `include_sending`: with the
        records that list other messages of the tenant too. Raises NotFound, and Unavailable when the log takes longer.
        """
        request = GetMessageProofRequest(message_id=message_id, include_sending=include_sending)
        return convert.receipt((await self._call("GetMessageProof", request, timeout_s)).receipt)

    async def cancel(self, message_id: str, *, timeout_s: float = CALL_TIMEOUT_S) -> MessageStatus:
        """Withdraw a message, where need be at its carrier. Raises WrongState when it is too late."""
        request = api.CancelMessageRequest(message_id=message_id)
        return convert.status((await self._call("CancelMessage", request, timeout_s)).message)

    def events(self, cursor: str = "", *, start: Start | str = Start.NOW, patience_s: float = 60.0) -> AsyncEvents:
        """Follow the tenant's events after `cursor`, or from `start` without one; for ever, across lost connections.

            async with sms.events(cursor) as events:     # follows from here on
                async for event in events:
                    ...                                  # handle it, then store event.cursor

        Raises CallFailed when no node could be followed for `patience_s` seconds, and when it refuses.
        """
        return AsyncEvents(self._channels, cursor, Start(start), patience_s)

    async def wait(self, message_id: str, *, timeout_s: float = WAIT_TIMEOUT_S) -> MessageStatus:
        """Return the message when its state is final. Raises TimedOut when it is not within `timeout_s`.

        It asks again and again, less and less often; `events` is for those who follow many messages.
        """
        looks = Looks(time.monotonic() + timeout_s)
        while True:
            status = await self.get(message_id, timeout_s=max(0.1, looks.left_s(time.monotonic())))
            if status.state.final:
                return status
            pause_s = looks.pause_s(time.monotonic())
            if pause_s is None:
                raise not_final(status)
            await asyncio.sleep(pause_s)

    async def _call(
        self, method: str, request: Proto, timeout_s: float = CALL_TIMEOUT_S, traceparent: str | None = None
    ) -> Any:
        """Call a method that can be repeated: it reads, or its messages have keys, or it cancels."""
        deadline = time.monotonic() + timeout_s
        call_metadata = metadata(traceparent)
        attempts, renewed = self._attempts(deadline), False
        while True:
            with self._channels.lease() as lease:
                try:
                    call = lease.channel.call(method)
                    left_s = max(0.0, deadline - time.monotonic())
                    response = await call(request, timeout=left_s, metadata=call_metadata)
                except asyncio.CancelledError:
                    self._channels.cancelled(lease)
                    raise
                except grpc.aio.AioRpcError as error:
                    failed = self._channels.explain(error)
                    if not renewed and await self._channels.renewed(failed, lease):
                        renewed = True
                        continue
                    if not isinstance(failed, CallFailed):
                        raise failed from error
                else:
                    self._budget.succeeded()
                    return response
            await asyncio.sleep(attempts.pause_s(failed, time.monotonic(), _chance()))


def _chance() -> float:
    return random.random()  # noqa: S311 -- spreads retries, and keeps no secret
