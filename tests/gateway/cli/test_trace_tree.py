"""The tree that `dev` draws."""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.cli.trace_tree import as_json, trace_lines

MS = 1_000_000


def span(name: str, number: int, parent: int, start_ms: float, ms: float, **attributes: str | int) -> Span:
    """Return a span."""
    pairs = [
        KeyValue(
            key=key.replace("__", "."),
            value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value),
        )
        for key, value in attributes.items()
    ]
    start = int(start_ms * MS)
    return Span(
        name=name,
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        start_time_unix_nano=start,
        end_time_unix_nano=start + int(ms * MS),
        attributes=pairs,
    )


def text(spans: list[Span]) -> list[str]:
    """Return the lines as a file has them."""
    return [line.plain for line in trace_lines(spans, "head")]


def test_a_tree() -> None:
    """Children stand below their parents in the order of their beginning, with durations and what is worth showing."""
    call = span("call", 1, 99, 1000, 4, rpc__response__status_code="OK")
    call.kind = Span.SPAN_KIND_SERVER
    late = span("receipt", 4, 1, 3000, 0.25)
    failed = span("submit", 3, 2, 1002, 1500, smpp__command_status="ESME_RTHROTTLED", smpp__parts=2)
    failed.status.code = Status.STATUS_CODE_ERROR
    assert text([late, failed, span("process", 2, 1, 1001, 1600), call]) == [
        "head",
        "└─ call  4.0 ms  +0 µs  SERVER  OK",
        "   ├─ process  1.60 s  +1.0 ms",
        "   │  └─ submit  1.50 s  +2.0 ms  ESME_RTHROTTLED  parts 2",
        "   └─ receipt  250 µs  +2.00 s",
    ]


def test_what_a_sender_wrote_cannot_act() -> None:
    """Names and values of spans are escaped."""
    (_, line) = text([span("\x1b[31mred\n", 1, 0, 0, 1, smsgw__state="\x07")])
    assert "\x1b" not in line
    assert "\n" not in line
    assert "\x07" not in line


def test_ids_in_a_circle() -> None:
    """Spans that are their own ancestors are left out, instead of drawn for ever."""
    circle = [span("a", 1, 2, 0, 1), span("b", 2, 1, 0, 1), span("c", 3, 3, 0, 1)]
    assert text([*circle, span("root", 4, 0, 0, 1)]) == ["head", "└─ root  1.0 ms  +0 µs"]
    assert text([span("twice", 5, 0, 0, 1), span("twice", 5, 5, 0, 1)])[0] == "head"


def test_for_machines() -> None:
    """JSON has ids, times and attributes."""
    (first, second) = as_json([span("b", 2, 1, 5, 1), span("a", 1, 0, 1, 1, x="y")])
    assert (first["name"], first["attributes"], first["duration_ns"]) == ("a", {"x": "y"}, MS)
    assert second["parent_span_id"] == "0000000000000001"
