"""The trace context of a call: the current span's, one that is given, or none."""

from __future__ import annotations

import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from smsgw.client.tracing import metadata

GIVEN = f"00-{'ab' * 16}-{'cd' * 8}-01"


def test_the_current_span() -> None:
    """A call within a span carries its ids and whether it is sampled; without one, nothing."""
    assert metadata(None) == ()
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    with trace.use_span(NonRecordingSpan(context)):
        assert metadata(None) == (("traceparent", f"00-{0xABC:032x}-{0xDEF:016x}-01"),)
        assert metadata("") == ()
        assert metadata(GIVEN) == (("traceparent", GIVEN),)


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has imported OpenTelemetry, a given context is sent all the same."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert metadata(None) == ()
    assert metadata(GIVEN) == (("traceparent", GIVEN),)


@pytest.mark.parametrize("bad", ["x", GIVEN.upper(), f"00-{'0' * 32}-{'cd' * 8}-01", GIVEN + "\n"])
def test_what_is_no_traceparent(bad: str) -> None:
    """A text that is none is refused before anything is sent."""
    with pytest.raises(ValueError, match="traceparent"):
        metadata(bad)
