"""Trace contexts: as callers send them, as they are kept beside a message, and which one is current.

W3C Trace Context §3.2 is the form of callers; 25 octets (trace id, span id, flags) are ours. `tracestate` and `baggage`
are never read: they are other people's words, and would leave the node with every span.

Knows no OpenTelemetry, so that the log can ask for the current ids without loading it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import NamedTuple

STORED_OCTETS = 25
SAMPLED = 0x01  # W3C Trace Context §3.2.2.5.1
TRACEPARENT = "traceparent"

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MAX_CHARACTERS = 256


class TraceContext(NamedTuple):
    """A span's address: the ids are never 0."""

    trace_id: int
    span_id: int
    flags: int

    @property
    def trace_text(self) -> str:
        """The trace id, 32 hexadecimal digits."""
        return f"{self.trace_id:032x}"

    @property
    def span_text(self) -> str:
        """The span id, 16 hexadecimal digits."""
        return f"{self.span_id:016x}"


# The span that this task works under, for the log; None for work that is not sampled.
current_span: ContextVar[TraceContext | None] = ContextVar("current_span", default=None)


def pack(context: TraceContext) -> bytes:
    """Return the 25 octets under which a context is stored."""
    return context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big") + bytes((context.flags,))


def unpack(octets: bytes) -> TraceContext | None:
    """Return the stored context; None for none, and for octets that are none: a trace is never worth a message."""
    if len(octets) != STORED_OCTETS:
        return None
    trace_id, span_id = int.from_bytes(octets[:16], "big"), int.from_bytes(octets[16:24], "big")
    return TraceContext(trace_id, span_id, octets[24]) if trace_id and span_id else None


def parse_traceparent(text: str) -> TraceContext | None:
    """Return what a traceparent header says, None when it is not one (W3C Trace Context §3.2.2, §4.3)."""
    if len(text) > _MAX_CHARACTERS:
        return None
    found = _TRACEPARENT.fullmatch(text)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return TraceContext(trace_id, span_id, int(found[4], 16)) if trace_id and span_id else None


def callers_context(metadata: Iterable[tuple[str, str | bytes]]) -> TraceContext | None:
    """Return the caller's context from a call's metadata; None unless there is exactly one traceparent."""
    texts = [value for key, value in metadata if key == TRACEPARENT]
    return parse_traceparent(texts[0]) if len(texts) == 1 and isinstance(texts[0], str) else None
