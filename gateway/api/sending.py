"""From requests to committed messages: one, a batch, or a stream of batches.

Each message is validated, then authorized: who may call may not therefore send every category under every sender to
every country. That holds for an idempotent replay too. Then it needs room in the limits, which a replay does not: what
a limit refuses is looked up by its idempotency key before it is refused. A bad message of a batch does not stop the
others. A batch is handled in slices, so that a large one does not hold the event loop. Storing is the intake's work: it
returns when everything is on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from google.rpc import status_pb2  # type: ignore[import-untyped]  # it ships no types

from gateway.api.authorizing import denial
from gateway.api.status import to_status
from gateway.audit.records import Record
from gateway.errors import (
    FieldViolation,
    GatewayError,
    IdempotencyConflict,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    SealedTooLate,
    Unavailable,
    Unsupported,
)
from gateway.identity import Caller
from gateway.ids import to_text
from gateway.limits.messages import Admission, MessageLimits
from gateway.policy.authorizer import Authorizer, SendingRights
from gateway.policy.requests import SEND_ACTIONS
from gateway.store.contract import Accepted, Verdict
from gateway.usage.caps import Caps, Charge
from gateway.validation import Draft, Validator
from smsgw.v1 import message_pb2, message_service_pb2

if TYPE_CHECKING:
    from gateway.api.interceptors import Call

MAX_BATCH = 1000
_SLICE = 100  # messages handled without giving way to other calls: about 0.6 ms
_PATHS = tuple([f"messages[{index}]" for index in range(MAX_BATCH)])
_MISS_WEIGHT = 10  # a decision that is not in the cache takes the time of so many messages

Results = message_service_pb2.SendMessagesResponse | message_service_pb2.StreamMessagesResponse
Refusal = Overloaded | SealedTooLate  # of what may be a replay all the same
_Messages = Sequence[message_pb2.OutboundMessage]
_state = message_pb2.MessageState.ValueType


class MessageIntake(Protocol):
    """What takes drafts in (`gateway.pipeline.intake`)."""

    async def accept(self, caller: Caller, drafts: Sequence[Draft], audit: Sequence[Record] = ()) -> list[Accepted]:
        """Commit drafts, and `audit` with them; an answer for each, in order. Raises Overloaded or StoreUnavailable
        for all of them."""

    async def replays(self, caller: Caller, drafts: Sequence[Draft]) -> list[Accepted | None]:
        """Return the answers to drafts whose idempotency key is known, None for the others; stores nothing."""


class Batch(NamedTuple):
    """The messages of a call, sorted by what is to become of them. All but `drafts` by their index in the call."""

    drafts: list[Draft]  # to be stored, in order
    errors: dict[int, GatewayError]
    refused: dict[int, tuple[Draft, Refusal]]  # by a limit, or as too late, but with a key: they may be replays
    known: dict[int, tuple[Accepted, Draft]]  # replays of those


class Sending:
    """Validates, asks the policies, hands to the intake, and words the answers.

    What was decided about the call, and about its messages, is committed with the messages, or recorded alone when
    there are none. `now` gives microseconds since the Unix epoch.
    """

    def __init__(
        self,
        *,
        intake: MessageIntake,
        validator: Validator,
        authorizer: Authorizer,
        limits: MessageLimits,
        now: Callable[[], int],
        ticks: Callable[[], int],
        denied: Callable[[str], None],
        caps: Caps,
    ) -> None:
        """`ticks` gives microseconds of a clock that never goes back, for the limits. `denied` is told the reason of
        each message that is refused among others."""
        self._intake = intake
        self._validator = validator
        self._authorizer = authorizer
        self._limits = limits
        self._now = now
        self._ticks = ticks
        self._denied = denied
        self._caps = caps

    async def one(self, call: Call, request: message_service_pb2.SendMessageRequest) -> message_pb2.AcceptedMessage:
        """Accept one message. Raises what is wrong with it, PermissionDenied, and what the intake raises."""
        if not request.HasField("message"):
            raise InvalidRequest((FieldViolation("message", "is required", "MESSAGE_REQUIRED"),))
        now = self._now()
        rights = self._authorizer.sending(call.caller, call.address, now, 1)
        try:
            draft = self._validator.draft(request.message, now, "message")
        except SealedTooLate as late:
            draft, answer = await self._sealed_before(call.caller, rights, request.message, now, late)
            return _accepted(answer, draft)
        self._authorize(rights, draft)
        with self._admission(call.caller, 1) as admission, self._caps.charge(call.caller.tenant, now) as charge:
            draft, refused = _hold(draft, admission, charge)
            if refused is None:
                (answer,) = await self._accept(call, (draft,), (), admission, charge)
            else:
                answer = await self._replay(call.caller, draft, refused)
        return _accepted(answer, draft)

    async def batch(self, call: Call, messages: _Messages, into: Results) -> None:
        """Accept a batch and put a result for each message into `into`.

        Raises InvalidRequest for a batch of the wrong size, and what the intake raises for all of it.
        """
        check_batch_size(len(messages))
        tenant = call.caller.tenant
        with self._admission(call.caller, len(messages)) as admission, self._caps.charge(tenant, self._now()) as charge:
            batch = await self._sorted(call, messages, admission, charge)
            if batch.refused:
                await self._find_replays(call.caller, batch)
            answers = await self._accept(call, batch.drafts, batch.errors.values(), admission, charge)
        stored = zip(answers, batch.drafts, strict=True)
        statuses = _Statuses()
        for index in range(len(messages)):
            if index and not index % _SLICE:
                await asyncio.sleep(0)
            result, error = into.results.add(), batch.errors.get(index)
            if error is None:
                answer, draft = batch.known.get(index) or next(stored)
                if answer.verdict is not Verdict.CONFLICT:
                    _fill(result.accepted, answer, draft)
                    continue
                error = _conflict()
            result.error.CopyFrom(statuses.of(error))

    async def frame(
        self, call: Call, frame: message_service_pb2.StreamMessagesRequest
    ) -> message_service_pb2.StreamMessagesResponse:
        """Accept one frame of a stream.

        When the node cannot take it, each of its messages gets that error and the stream goes on: the frames before and
        behind it may fare better. Raises InvalidRequest for a frame of the wrong size.
        """
        response = message_service_pb2.StreamMessagesResponse(tag=frame.tag)
        try:
            await self.batch(call, frame.messages, response)
        except (Overloaded, Unavailable) as error:
            status = to_status(error)
            for _ in frame.messages:
                response.results.add().error.CopyFrom(status)
        return response

    def _admission(self, caller: Caller, messages: int) -> Admission:
        return self._limits.admission(caller.tenant, caller.spiffe_id, messages, self._ticks())

    async def _accept(
        self,
        call: Call,
        drafts: Sequence[Draft],
        errors: Iterable[GatewayError],
        admission: Admission,
        charge: Charge,
    ) -> list[Accepted]:
        """Commit the drafts with what was decided, and take their room. Raises what the intake raises, and Unavailable
        for a decision that cannot be recorded."""
        if not drafts:
            await call.audit.record(errors)
            return []
        try:
            answers = await self._intake.accept(call.caller, drafts, call.audit.take(errors))
        except GatewayError:  # nothing has been stored
            call.audit.give_back()
            raise
        except BaseException:  # something may have been
            admission.settle([True] * len(drafts), self._ticks())
            charge.settle([True] * len(drafts))
            raise
        stored = [answer.verdict is Verdict.STORED for answer in answers]
        admission.settle(stored, self._ticks())
        charge.settle(stored)
        return answers

    async def _sorted(self, call: Call, messages: _Messages, admission: Admission, charge: Charge) -> Batch:
        """Return which messages may be sent, and why the others may not."""
        batch = Batch([], {}, {}, {})
        now, authorizer = self._now(), self._authorizer
        validated, authorize = self._validator.draft, self._authorize
        rights = authorizer.sending(call.caller, call.address, now, len(messages))
        done, misses = 0, authorizer.misses
        for index, message in enumerate(messages):
            if done >= _SLICE:
                await asyncio.sleep(0)
                done, misses = 0, authorizer.misses
            try:
                draft = validated(message, now, _PATHS[index])
                authorize(rights, draft)
            except SealedTooLate as late:
                self._perhaps_before(batch, index, message, now, rights, late)
            except (InvalidRequest, Unsupported, PermissionDenied, Overloaded) as error:
                self._refuse(batch, index, error)
            else:
                draft, refused = _hold(draft, admission, charge)
                if refused is None:
                    batch.drafts.append(draft)
                elif draft.idempotency_key:
                    batch.refused[index] = draft, refused
                else:
                    self._refuse(batch, index, refused)
            done += 1
            if misses != authorizer.misses:
                done += _MISS_WEIGHT
                misses = authorizer.misses
        return batch

    def _refuse(self, batch: Batch, index: int, error: GatewayError) -> None:
        if isinstance(error, PermissionDenied | Overloaded):
            self._denied(error.reason)
        batch.errors[index] = error

    def _perhaps_before(
        self,
        batch: Batch,
        index: int,
        message: message_pb2.OutboundMessage,
        now: int,
        rights: SendingRights,
        late: SealedTooLate,
    ) -> None:
        """Have sealed content that comes too late looked up: it may have been in time when it first came."""
        try:
            draft = self._validator.draft(message, now, f"messages[{index}]", accepted_before=True)
            self._authorize(rights, draft)
        except (InvalidRequest, PermissionDenied, Overloaded) as error:
            self._refuse(batch, index, error)
            return
        if draft.idempotency_key:
            batch.refused[index] = draft, late
        else:
            self._refuse(batch, index, late)

    async def _sealed_before(
        self,
        caller: Caller,
        rights: SendingRights,
        message: message_pb2.OutboundMessage,
        now: int,
        late: SealedTooLate,
    ) -> tuple[Draft, Accepted]:
        """Return the answer to sealed content that comes too late, if it is a replay. Raises `late` otherwise."""
        draft = self._validator.draft(message, now, "message", accepted_before=True)
        self._authorize(rights, draft)
        return draft, await self._replay(caller, draft, late)

    async def _find_replays(self, caller: Caller, batch: Batch) -> None:
        """Sort what was refused, and has a key, into replays and refusals."""
        found = await self._intake.replays(caller, [draft for draft, _ in batch.refused.values()])
        for (index, (draft, refused)), answer in zip(batch.refused.items(), found, strict=True):
            if answer is None:
                self._refuse(batch, index, refused)
            else:
                batch.known[index] = answer, draft

    async def _replay(self, caller: Caller, draft: Draft, refused: Refusal) -> Accepted:
        """Return the answer to a message that was refused, if it is a replay. Raises `refused` otherwise."""
        found = await self._intake.replays(caller, (draft,)) if draft.idempotency_key else [None]
        if found[0] is None:
            raise refused
        return found[0]

    def _authorize(self, rights: SendingRights, draft: Draft) -> None:
        """Raise PermissionDenied unless the message may be sent, and Overloaded when the question costs too much."""
        decision = rights.decide(draft.category, draft.sender, draft.country, draft.segments)
        if not decision.allowed:
            action = SEND_ACTIONS[draft.category]
            self._authorizer.denied(action, decision)
            raise denial(action, decision)


def _hold(draft: Draft, admission: Admission, charge: Charge) -> tuple[Draft, Overloaded | None]:
    """Hold room under the caps and the rates, under all or none; why there is no room, or None (hot)."""
    draft, refused = charge.hold(draft)
    if refused is not None:
        return draft, refused
    limited = admission.hold(draft.recipient)
    if limited is not None:
        charge.drop()
    return draft, limited


def check_batch_size(count: int) -> None:
    """Raise InvalidRequest (BATCH_SIZE) unless a batch of `count` messages may be sent."""
    if not 1 <= count <= MAX_BATCH:
        text = f"has {count} messages: a batch has 1 to {MAX_BATCH}"
        raise InvalidRequest((FieldViolation("messages", text, "BATCH_SIZE"),))


class _Statuses:
    """The statuses of one batch: an error that messages share, one after the other, is put into words once."""

    __slots__ = ("_error", "_status")

    def __init__(self) -> None:
        self._error: GatewayError | None = None
        self._status = status_pb2.Status()

    def of(self, error: GatewayError) -> status_pb2.Status:
        """Return the status of `error`."""
        if error is not self._error:
            self._error, self._status = error, to_status(error)
        return self._status


def _accepted(answer: Accepted, draft: Draft) -> message_pb2.AcceptedMessage:
    """Return the answer of a call with one message. Raises IdempotencyConflict."""
    if answer.verdict is Verdict.CONFLICT:
        raise _conflict()
    accepted = message_pb2.AcceptedMessage()
    _fill(accepted, answer, draft)
    return accepted


def _fill(accepted: message_pb2.AcceptedMessage, answer: Accepted, draft: Draft) -> None:
    accepted.message_id = to_text(answer.id)
    accepted.state = _state(answer.state)
    if answer.segments:
        accepted.segments = answer.segments
    accepted.masked_recipient = draft.masked_recipient
    if answer.verdict is Verdict.REPLAYED:
        accepted.replayed = True


def _conflict() -> IdempotencyConflict:
    return IdempotencyConflict(
        "the idempotency key was used within the last 72 hours for a message with other content: "
        "use a new key for a new message, and the same content for a retry"
    )
