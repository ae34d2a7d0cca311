"""Trace contexts as callers send them and as they are stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.context import TraceContext, callers_context, pack, parse_traceparent, unpack

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
CONTEXT = TraceContext(int(TRACE, 16), int(SPAN, 16), 1)

contexts = st.builds(TraceContext, st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.integers(0, 255))


@given(context=contexts)
def test_stored_and_back(context: TraceContext) -> None:
    """25 octets hold a context exactly."""
    octets = pack(context)
    assert len(octets) == 25
    assert unpack(octets) == context


@given(octets=st.binary(max_size=40))
def test_octets_that_are_none(octets: bytes) -> None:
    """Anything else gives no context, and never an error: a message is worth more than its trace."""
    found = unpack(octets)
    assert found is None or pack(found) == octets


@pytest.mark.parametrize(
    ("text", "flags"),
    [(PARENT, 1), (f"00-{TRACE}-{SPAN}-00", 0), (f"cc-{TRACE}-{SPAN}-03-later-versions-have-more", 3)],
)
def test_traceparent(text: str, flags: int) -> None:
    """Version 00 as the specification has it, and what is known of later ones."""
    assert parse_traceparent(text) == CONTEXT._replace(flags=flags)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        f" {PARENT}",
        f"{PARENT}\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"cc-{TRACE}-{SPAN}-01" + "-x" * 200,
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent(text: str) -> None:
    """Everything else is ignored as a whole (W3C Trace Context §3.2.2)."""
    assert parse_traceparent(text) is None


@given(text=st.text(max_size=80))
def test_any_text_is_read_without_an_error(text: str) -> None:
    """A caller may send anything."""
    assert parse_traceparent(text) is None or text.count("-") >= 3


def test_metadata() -> None:
    """One traceparent is taken; two, octets, or other headers are not."""
    others = [("tracestate", "vendor=1"), ("baggage", "number=+4915112345678")]
    assert callers_context([*others, ("traceparent", PARENT)]) == CONTEXT
    assert callers_context(others) is None
    assert callers_context([("traceparent", PARENT), ("traceparent", PARENT)]) is None
    assert callers_context([("traceparent", PARENT.encode())]) is None


def test_ids_as_text() -> None:
    """Ids are written with all their zeros."""
    context = TraceContext(1, 2, 1)
    assert (context.trace_text, context.span_text) == ("0" * 31 + "1", "0" * 15 + "2")
