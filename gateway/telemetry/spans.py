"""How this node's spans are named, and what may stand in them; the one place that makes them.

Conventions: OpenTelemetry's for RPC (`rpc.*`), messaging (`messaging.*`) and databases (`db.*`) as they are now, and
for SMPP, which has none, CLIENT spans with `network.protocol.name` and attributes under `smpp.`. docs/telemetry.md has
every span and attribute.

Values are enumerations, counts, ids of our own, and names from the configuration. No attribute takes a text that a
caller, a carrier or a handset wrote, and no exception's text: those may hold a number or a body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from gateway.telemetry.context import SAMPLED, TraceContext

Value = str | int | bool

RPC_SYSTEM = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS = "rpc.response.status_code"
MESSAGING_SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
BATCH_COUNT = "messaging.batch.message_count"
DB_SYSTEM = "db.system.name"
DB_OPERATION = "db.operation.name"
DB_BATCH = "db.operation.batch.size"
PROTOCOL = "network.protocol.name"
PROTOCOL_VERSION = "network.protocol.version"
ERROR_TYPE = "error.type"
SMPP_CARRIER = "smpp.carrier"
SMPP_LINK = "smpp.link"
SMPP_PDU = "smpp.pdu"
SMPP_PARTS = "smpp.parts"
SMPP_PARTS_SENT = "smpp.parts.sent"
SMPP_STATUS = "smpp.command_status"
TENANT = "smsgw.tenant"
SEGMENTS = "smsgw.segments"
ATTEMPT = "smsgw.attempt"
VERDICT = "smsgw.verdict"
REASON = "smsgw.reason"
STATE = "smsgw.state"
PART_STATE = "smsgw.part.state"

SYSTEM = "smsgw"
_FLAGS = 0x03  # sampled, and W3C's random-trace-id: all that is defined


def remote(context: TraceContext) -> SpanContext:
    """Return a context that came from elsewhere, or from the store. It is traced: somebody decided so here."""
    flags = TraceFlags((context.flags | SAMPLED) & _FLAGS)
    return SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=flags)


def parent(context: SpanContext | None) -> Context:
    """Return the surroundings of a new span: below `context`, or a trace of its own."""
    return set_span_in_context(NonRecordingSpan(context), Context()) if context is not None else Context()


def address(span: Span) -> TraceContext:
    """Return where a span is to be found."""
    context = span.get_span_context()
    return TraceContext(context.trace_id, context.span_id, int(context.trace_flags) | SAMPLED)


def begin(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    at: int,
    *,
    below: SpanContext | None,
    links: Sequence[SpanContext] = (),
    attributes: Mapping[str, Value] | None = None,
) -> Span:
    """Begin a span at `at`, microseconds since the Unix epoch."""
    return tracer.start_span(
        name,
        parent(below),
        kind,
        attributes=dict(attributes or {}),
        links=[Link(linked) for linked in links],
        start_time=at * 1000,
        record_exception=False,
        set_status_on_exception=False,
    )


def step(
    tracer: Tracer,
    name: str,
    below: Span,
    began: int,
    ended: int,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, Value] | None = None,
    error: str = "",
) -> None:
    """Add a span that is over, from `began` to `ended`. `error`: its type, when it failed."""
    span = begin(tracer, name, kind, began, below=below.get_span_context(), attributes=attributes)
    if error:
        fail(span, error)
    span.end(ended * 1000)


def commit(tracer: Tracer, operation: str, rows: int, below: Span, began: int, ended: int, error: str = "") -> None:
    """Add the span of one store operation: handed over at `began`, on disk at `ended`."""
    attributes: dict[str, Value] = {DB_SYSTEM: "sqlite", DB_OPERATION: operation}
    if rows > 1:
        attributes[DB_BATCH] = rows
    name = f"store {operation}"
    step(tracer, name, below, began, ended, kind=SpanKind.CLIENT, attributes=attributes, error=error)


def fail(span: Span, error: str) -> None:
    """Mark a span as failed; `error` is a class of errors or a stable reason, never a text."""
    span.set_attribute(ERROR_TYPE, error)
    span.set_status(Status(StatusCode.ERROR))
