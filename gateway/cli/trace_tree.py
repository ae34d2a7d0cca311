"""One trace as a tree for the terminal: each span with its duration, and when it began.

Pure: it is fed spans as they came, and gives lines. Names and values are escaped: a collector draws what it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from rich.text import Text

from gateway.cli.manners import shown

# What a line shows beside name and duration: attribute, and the word before it.
_DETAILS = (
    ("rpc.response.status_code", ""),
    ("smpp.command_status", ""),
    ("smpp.parts", "parts"),
    ("smsgw.verdict", ""),
    ("smsgw.part.state", "part"),
    ("smsgw.state", ""),
    ("error.type", "error"),
)
_MAX_INDENT = 60


def trace_lines(spans: Sequence[Span], head: str) -> list[Text]:
    """Return the lines of one trace; `head` is the line above it, which stands for whatever called."""
    known = {span.span_id for span in spans}
    first = min((span.start_time_unix_nano for span in spans), default=0)
    roots = [span for span in spans if span.parent_span_id not in known]
    return [Text(shown(head), style="bold"), *_branches(roots, spans, first, "")]


def _branches(children: Sequence[Span], spans: Sequence[Span], first: int, indent: str) -> Iterator[Text]:
    if len(indent) > _MAX_INDENT:  # ids that go in a circle
        return
    children = sorted(children, key=lambda child: (child.start_time_unix_nano, child.end_time_unix_nano))
    for number, span in enumerate(children, start=1):
        last = number == len(children)
        yield Text(indent + ("└─ " if last else "├─ "), style="dim").append_text(_line(span, first))
        below = [child for child in spans if child.parent_span_id == span.span_id]
        yield from _branches(below, spans, first, indent + ("   " if last else "│  "))


def _line(span: Span, first: int) -> Text:
    line = Text(shown(span.name), style="none")
    line.append(f"  {_span(span.end_time_unix_nano - span.start_time_unix_nano)}", style="cyan")
    line.append(f"  +{_span(span.start_time_unix_nano - first)}", style="dim")
    if span.kind > Span.SPAN_KIND_INTERNAL:
        line.append(f"  {Span.SpanKind.Name(span.kind).removeprefix('SPAN_KIND_')}", style="dim")
    style = "red" if span.status.code == Status.STATUS_CODE_ERROR else "green"
    for detail in _details(span):
        line.append(f"  {shown(detail)}", style=style)
    return line


def _details(span: Span) -> Iterator[str]:
    values = {pair.key: _text(pair.value) for pair in span.attributes}
    for key, word in _DETAILS:
        if key in values:
            yield f"{word} {values[key]}".strip()


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind))


def _span(nanoseconds: int) -> str:
    milliseconds = nanoseconds / 1e6
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.1f} ms" if milliseconds >= 1 else f"{milliseconds * 1000:.0f} µs"


def as_json(spans: Sequence[Span]) -> list[dict[str, object]]:
    """Return the spans in the order of their beginning, for machines."""
    return [
        {
            "name": span.name,
            "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            "span_id": span.span_id.hex(),
            "parent_span_id": span.parent_span_id.hex(),
            "start_unix_ns": span.start_time_unix_nano,
            "duration_ns": span.end_time_unix_nano - span.start_time_unix_nano,
            "attributes": {pair.key: _text(pair.value) for pair in span.attributes},
        }
        for span in sorted(spans, key=lambda one: one.start_time_unix_nano)
    ]
