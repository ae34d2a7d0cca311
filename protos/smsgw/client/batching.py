"""Which messages of a batch, or of a stream's frames, have an answer, and which are to be sent again. Sans-IO.

Messages keep their idempotency keys however often they are sent, so the gateway makes one of each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import grpc

from smsgw.client import convert
from smsgw.client.errors import CallFailed, RateLimited, ServerFault, Unavailable
from smsgw.client.messages import Message, Sent
from smsgw.client.retrying import RetryPolicy
from smsgw.v1 import message_service_pb2 as api

Outcome = Sent | CallFailed
FRAMES_OUT = 8  # without an answer: as many as a node serves at a time


def _short(expected: int, got: int) -> ServerFault:
    return ServerFault(grpc.StatusCode.INTERNAL, "", f"the node answered {got} of {expected} messages")


def may_be_repeated(outcome: Outcome) -> bool:
    """Whether sending this one message again may help: the node was short of room or time for it."""
    return isinstance(outcome, Unavailable) or (isinstance(outcome, RateLimited) and outcome.retry_after_s is not None)


class Batch:
    """Up to 1,000 messages on their way through SendMessages."""

    def __init__(self, messages: Sequence[Message], refused: Mapping[int, CallFailed] | None = None) -> None:
        """`refused`: what cannot be sent at all, by its place, and why."""
        refused = refused or {}
        self._messages = messages
        self._outcomes: list[Outcome | None] = [refused.get(index) for index in range(len(messages))]
        self._pending = [index for index in range(len(messages)) if index not in refused]

    @property
    def pending(self) -> bool:
        """Whether there is something to be sent."""
        return bool(self._pending)

    def request(self) -> api.SendMessagesRequest:
        """Return the request for what has no answer that stands."""
        return api.SendMessagesRequest(messages=[convert.outbound(self._messages[index]) for index in self._pending])

    def answered(self, response: api.SendMessagesResponse) -> CallFailed | None:
        """Take the answers; returns the failure to wait for before the rest is sent again, None when all is done."""
        if len(response.results) != len(self._pending):
            self.failed(_short(len(self._pending), len(response.results)))
            return None
        again: list[int] = []
        slowest: CallFailed | None = None
        for index, result in zip(self._pending, response.results, strict=True):
            outcome = self._outcomes[index] = convert.outcome(result, self._messages[index])
            if isinstance(outcome, CallFailed) and may_be_repeated(outcome):
                again.append(index)
                if slowest is None or (outcome.retry_after_s or 0) > (slowest.retry_after_s or 0):
                    slowest = outcome
        self._pending = again
        return slowest

    def failed(self, failure: CallFailed) -> None:
        """The call failed for good: so did what has no answer yet."""
        for index in self._pending:
            self._outcomes[index] = self._outcomes[index] or failure
        self._pending = []

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of each message, in order."""
        return [outcome for outcome in self._outcomes if outcome is not None]


class Frames:
    """The frames of a flow: messages taken in advance, frames that are out, and what is to go out again before any new.

    Time is monotonic seconds, an argument.
    """

    def __init__(self, policy: RetryPolicy, frame_size: int = 100) -> None:
        """`policy`: how often one message may be refused for now before that is its outcome, and the longest pause."""
        self._policy = policy
        self._frame_size = frame_size
        self._taken: deque[Message] = deque()
        self._all_taken = False
        self._hold_until = 0.0  # a node asked for a pause
        self._tag = 0
        self._out: dict[int, list[Message]] = {}  # in the order they were sent, and are answered
        self._again: deque[list[Message]] = deque()
        self._refused: dict[str, int] = {}  # idempotency key → how often, of messages that wait to be sent again

    @property
    def out(self) -> int:
        """How many frames have no answer."""
        return len(self._out)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to wait for and nothing to send again."""
        return not self._out and not self._again

    @property
    def done(self) -> bool:
        """Whether the caller has no more messages, and all have their outcome."""
        return self._all_taken and not self._taken and self.empty

    @property
    def room(self) -> bool:
        """Whether further messages may be taken from the caller: two frames in advance at most."""
        return len(self._taken) < 2 * self._frame_size

    @property
    def ready(self) -> bool:
        """Whether there is a frame to write, and a node has room for it."""
        return len(self._out) < FRAMES_OUT and bool(self._again or self._taken)

    def pause_s(self, now: float) -> float:
        """Return the seconds for which a node wants no frame; 0 for none."""
        return max(0.0, self._hold_until - now)

    def take(self, message: Message) -> None:
        """Take a message from the caller."""
        self._taken.append(message)

    def taken(self) -> None:
        """The caller has no more."""
        self._all_taken = True

    def next(self) -> api.StreamMessagesRequest:
        """Return the next frame, when `ready`, and expect its answer: first what goes out again."""
        if not self._again:
            found = [self._taken.popleft() for _ in range(min(len(self._taken), self._frame_size))]
            self._again.extend(convert.batches(found))  # more than one where they are large
        messages = self._again.popleft()
        self._tag += 1
        self._out[self._tag] = messages
        return api.StreamMessagesRequest(tag=self._tag, messages=[convert.outbound(message) for message in messages])

    def answered(self, response: api.StreamMessagesResponse, now: float) -> list[tuple[Message, Outcome]]:
        """Return the outcomes in an answer; messages for which there was no room go out again, after a pause.

        Raises ServerFault for an answer to nothing, or to too few.
        """
        messages = self._out.get(response.tag, [])
        if not messages or len(messages) != len(response.results):
            raise _short(len(messages), len(response.results))
        del self._out[response.tag]
        done: list[tuple[Message, Outcome]] = []
        again: list[Message] = []
        for message, result in zip(messages, response.results, strict=True):
            outcome = convert.outcome(result, message)
            if isinstance(outcome, CallFailed) and may_be_repeated(outcome) and self._once_more(message):
                again.append(message)
                pause_s = min(outcome.retry_after_s or self._policy.backoff_min_s, self._policy.retry_after_max_s)
                self._hold_until = max(self._hold_until, now + pause_s)
            else:
                self._refused.pop(message.idempotency_key, None)
                done.append((message, outcome))
        if again:
            self._again.append(again)
        return done

    def lost(self) -> None:
        """The stream is lost: what has no answer goes out again, first and in its order."""
        self._again.extendleft(reversed(self._out.values()))
        self._out = {}

    def _once_more(self, message: Message) -> bool:
        refused = self._refused[message.idempotency_key] = self._refused.get(message.idempotency_key, 0) + 1
        return refused < self._policy.attempts
