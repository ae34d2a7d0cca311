"""What is traced: the decision, which comes first, and the spans that follow from it.

A call is sampled when it comes in, before anything is made; its one message belongs to its trace then, and keeps that
one trace id to the receipt. A batch or a stream may hold a thousand messages: those that are sampled get a trace of
their own, linked to the call. What is not sampled gets None, and costs a look at a variable of the context.

Calls that send share one rate; the others, which nobody wants to crowd out messages, have the same one again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar

from opentelemetry.trace import Span, SpanContext, SpanKind, Tracer

from gateway.store.contract import TracedReceipt, Waiting
from gateway.telemetry import spans
from gateway.telemetry.context import TraceContext, callers_context, current_span, unpack
from gateway.telemetry.journey import Acceptance, AttemptTrace, receipt_span
from gateway.telemetry.sampling import RateSampler, spread

Metadata = Iterable[tuple[str, str | bytes]]


class CallKind(enum.Enum):
    """What a call means for the traces of messages."""

    SINGLE = 1  # sends one message, which belongs to the call's trace
    BATCH = 2  # sends many at once
    STREAM = (
        3  # sends many over a long time: its messages are sampled as they come, whether or not the stream itself is
    )
    OTHER = 4  # sends none


# The codes that mean that the server failed (semantic conventions for gRPC); the others are the caller's own.
_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class CallTrace:
    """A call that is traced, or whose messages may be."""

    __slots__ = ("_now", "kind", "link", "span")

    def __init__(self, kind: CallKind, now: Callable[[], int], span: Span | None, caller: TraceContext | None) -> None:
        self.kind = kind
        self._now = now
        self.span = span
        # What the traces of its messages link to: the call; for a stream that is not sampled, the caller's own span.
        self.link: SpanContext | None = None
        if span is not None:
            self.link = span.get_span_context()
        elif caller is not None:
            self.link = spans.remote(caller)

    def end(self, code: str, reason: str) -> None:
        """The call is over, with this gRPC status and, when it failed, a stable reason."""
        span = self.span
        if span is None:
            return
        span.set_attribute(spans.RPC_STATUS, code)
        if reason:
            span.set_attribute(spans.REASON, reason)
        if code in _SERVER_ERRORS:
            spans.fail(span, code)
        span.end(self._now() * 1000)


current_call_trace: ContextVar[CallTrace | None] = ContextVar("current_call_trace", default=None)


class Tracing:
    """Makes the traces of one node; belongs to its event loop."""

    def __init__(self, tracer: Tracer | None, per_s: int, now: Callable[[], int]) -> None:
        """`tracer` None traces nothing; so does a rate of 0. `now` gives microseconds since the Unix epoch."""
        self._tracer = tracer
        rate = 0 if tracer is None else per_s
        self._on = rate > 0
        self._messages = RateSampler(rate)
        self._others = RateSampler(rate)
        self._now = now

    @classmethod
    def off(cls) -> Tracing:
        """Return what traces nothing."""
        return cls(None, 0, lambda: 0)

    def call(self, name: str, kind: CallKind, metadata: Callable[[], Metadata | None]) -> CallTrace | None:
        """Decide about a call that has just come in; `name` is /package.Service/Method. None: it is not traced.

        `metadata` is only asked for when it is: for the caller's traceparent, and nothing else.
        """
        if not self._on:
            return None
        now = self._now()
        sampled = (self._others if kind is CallKind.OTHER else self._messages).take(now)
        if not sampled and kind is not CallKind.STREAM:
            return None
        caller = callers_context(metadata() or ())
        span = self._server_span(name, caller, now) if sampled else None
        trace = CallTrace(kind, self._now, span, caller)
        current_call_trace.set(trace)
        return trace

    def _server_span(self, name: str, caller: TraceContext | None, now: int) -> Span | None:
        if self._tracer is None:
            return None
        method = name.removeprefix("/")
        attributes: dict[str, spans.Value] = {spans.RPC_SYSTEM: "grpc", spans.RPC_METHOD: method}
        below = None if caller is None else spans.remote(caller)
        span = spans.begin(self._tracer, method, SpanKind.SERVER, now, below=below, attributes=attributes)
        current_span.set(spans.address(span))
        return span

    def accepting(self, count: int) -> Acceptance | None:
        """Return the traces of a batch of `count` messages that this call is about to store; mostly None."""
        call = current_call_trace.get()
        if call is None or self._tracer is None:
            return None
        if call.kind is CallKind.SINGLE:
            return Acceptance(self._tracer, self._now, (0,), below=call.link, link=None)
        granted = self._messages.take(self._now(), count)
        if not granted:
            return None
        return Acceptance(self._tracer, self._now, spread(count, granted), below=None, link=call.link)

    def attempt(self, message: Waiting, began: int, rows: int) -> AttemptTrace | None:
        """Return the trace of an attempt for a message with a stored context: SENDING is on disk, with `rows` in all,
        and `began` is when that was begun. None when nothing is traced here (any more)."""
        context = unpack(message.trace)
        if context is None or self._tracer is None:
            return None
        return AttemptTrace(self._tracer, self._now, message, spans.remote(context), began, rows)

    def receipts(self, receipts: Sequence[TracedReceipt]) -> None:
        """Add the spans of receipts whose effect is on disk."""
        if self._tracer is None:
            return
        now = self._now()
        for receipt in receipts:
            receipt_span(self._tracer, receipt, now)
