"""smsgw.v1.MessageService: each RPC in a line or two. The work is in sending, streaming, reading and watching.

Every method acts within the tenant of the caller that the guards have found; no request can name another.
"""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from gateway.api.cursors import Cursors
from gateway.api.estimating import estimate_content
from gateway.api.hub import EventHub
from gateway.api.interceptors import Context, current_call
from gateway.api.limiting import monotonic_us
from gateway.api.reading import CancelAtCarrier, Reading, too_late
from gateway.api.sending import MessageIntake, Sending
from gateway.api.streaming import FramePipe
from gateway.api.unreadable import Damage
from gateway.api.watching import Watching
from gateway.errors import ShuttingDown
from gateway.limits.messages import MessageLimits
from gateway.payload import PayloadBox
from gateway.policy.authorizer import Authorizer
from gateway.records import IndexKeys
from gateway.store.contract import Store
from gateway.usage.caps import CapRules, Caps
from gateway.validation import Validator
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceServicer
from visibility.alerts import NOBODY, AlertSink

NO_KEYS = '{"keys":[]}'
_KEYS_MAX_AGE_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageServiceParts:
    """What the composition root hands to the service. `now` gives microseconds since the Unix epoch."""

    intake: MessageIntake
    store: Store
    box: PayloadBox
    validator: Validator
    authorizer: Authorizer
    limits: MessageLimits
    keys: IndexKeys
    cursors: Cursors
    hub: EventHub
    now: Callable[[], int]
    ticks: Callable[[], int] = monotonic_us  # for the limits
    cancel_at_carrier: CancelAtCarrier = too_late
    payload_keys: Callable[[int], str] = lambda _now: NO_KEYS  # the JWK set that is published at a time
    caps: Caps | None = None  # without any, nothing is capped
    denied: Callable[[str], None] = lambda _reason: None  # told of each message that is refused among others
    alerts: AlertSink = NOBODY


class MessageService(MessageServiceServicer):
    """The servicer. Its methods run behind `gateway.api.serving` only."""

    def __init__(self, parts: MessageServiceParts) -> None:
        self._sending = Sending(
            intake=parts.intake,
            validator=parts.validator,
            authorizer=parts.authorizer,
            limits=parts.limits,
            now=parts.now,
            ticks=parts.ticks,
            denied=parts.denied,
            caps=parts.caps or Caps(CapRules(), parts.now()),
        )
        damage = Damage(parts.alerts)
        self._reading = Reading(
            store=parts.store,
            box=parts.box,
            keys=parts.keys,
            cursors=parts.cursors,
            now=parts.now,
            cancel_at_carrier=parts.cancel_at_carrier,
            damage=damage,
        )
        self._watching = Watching(store=parts.store, box=parts.box, cursors=parts.cursors, hub=parts.hub, damage=damage)
        self._validator = parts.validator
        self._payload_keys = parts.payload_keys
        self._now = parts.now
        self._hub = parts.hub
        self._streams: set[FramePipe[pb.StreamMessagesRequest, pb.StreamMessagesResponse]] = set()
        self._closing: Callable[[], ShuttingDown] | None = None

    def close(self, refusal: Callable[[], ShuttingDown]) -> None:
        """End the long calls: watches at once, streams when the frames they have read are answered. Each is told what
        `refusal` says then."""
        self._closing = refusal
        self._hub.close(refusal)
        for stream in self._streams:
            stream.stop(refusal)

    async def SendMessage(self, request: pb.SendMessageRequest, context: Context) -> pb.SendMessageResponse:
        """Accept one message; the reply comes after the commit."""
        return pb.SendMessageResponse(accepted=await self._sending.one(current_call.get(), request))

    async def SendMessages(self, request: pb.SendMessagesRequest, context: Context) -> pb.SendMessagesResponse:
        """Accept a batch, with a result for each message."""
        response = pb.SendMessagesResponse()
        await self._sending.batch(current_call.get(), request.messages, response)
        return response

    async def StreamMessages(
        self, request_iterator: AsyncIterator[pb.StreamMessagesRequest], context: Context
    ) -> AsyncIterator[pb.StreamMessagesResponse]:
        """Accept batches, answered in order."""
        call = current_call.get()
        pipe = FramePipe(request_iterator, lambda frame: self._sending.frame(call, frame))
        if self._closing is not None:
            pipe.stop(self._closing)
        self._streams.add(pipe)
        try:
            async with aclosing(pipe.replies()) as replies:
                async for reply in replies:
                    yield reply
        finally:
            self._streams.discard(pipe)

    async def EstimateMessage(self, request: pb.EstimateMessageRequest, context: Context) -> pb.EstimateMessageResponse:
        """Say how content would be encoded and split."""
        return estimate_content(request, self._validator.counting)

    async def GetPayloadKeys(self, request: pb.GetPayloadKeysRequest, context: Context) -> pb.GetPayloadKeysResponse:
        """Publish the keys that content may be sealed to."""
        response = pb.GetPayloadKeysResponse(
            jwk_set=self._payload_keys(self._now()), tenant=current_call.get().caller.tenant
        )
        response.max_age.FromSeconds(_KEYS_MAX_AGE_S)
        return response

    async def GetMessage(self, request: pb.GetMessageRequest, context: Context) -> pb.GetMessageResponse:
        """Return one message."""
        tenant = current_call.get().caller.tenant
        return pb.GetMessageResponse(message=await self._reading.get(tenant, request.message_id))

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Context) -> pb.ListMessagesResponse:
        """Return a page of messages, newest first."""
        return await self._reading.page(current_call.get().caller.tenant, request)

    async def CancelMessage(self, request: pb.CancelMessageRequest, context: Context) -> pb.CancelMessageResponse:
        """Withdraw a message, at its carrier when it has left."""
        call = current_call.get()
        return pb.CancelMessageResponse(message=await self._reading.cancel(call.caller, request.message_id, call.audit))

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Follow the tenant's events."""
        call = current_call.get()
        async with aclosing(self._watching.watch(call.caller.tenant, request, call.message)) as responses:
            async for response in responses:
                yield response
