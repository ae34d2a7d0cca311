"""The caller's trace context, as W3C `traceparent`: that of its current OpenTelemetry span, where there is one.

The API is never imported here: where nobody else has imported it, there is no current span.
"""

from __future__ import annotations

import re
import sys

_API = "opentelemetry.trace"

# W3C Trace Context §3.2: version, trace-id, parent-id, flags; all-zero ids are invalid.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def metadata(traceparent: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call within `traceparent`, or within the current span when that is None.

    Raises ValueError for a text that is no traceparent.
    """
    if traceparent is None:
        traceparent = _current()
    elif traceparent and not _TRACEPARENT.fullmatch(traceparent):
        raise ValueError("traceparent is 00-<32 hex digits>-<16 hex digits>-<2 hex digits> (W3C Trace Context)")
    return (("traceparent", traceparent),) if traceparent else ()


def _current() -> str:
    api = sys.modules.get(_API)
    if api is None:
        return ""
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"
