"""From the call to the wire: when a message's call began, and when its submit_sm reached the carrier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench import traffic


def arrivals(log: Path) -> dict[str, int]:
    """Return when each recipient's first submit_sm came, CLOCK_MONOTONIC in nanoseconds, from the log of a sink."""
    found: dict[str, int] = {}
    with log.open() as lines:
        for line in lines:
            recipient, _, at_ns = line.partition("\t")
            found.setdefault(recipient.lstrip("+"), int(at_ns))
    return found


def to_submit_us(starts: Iterable[Sequence[int]], batch: int, came: Mapping[str, int], end: int) -> list[int]:
    """Return for each message the microseconds from the beginning of its call to its submit_sm.

    Args:
        starts: the number of each call's first message, and when it began.
        batch: messages a call.
        came: as `arrivals` returns it.
        end: the number behind the last message.

    Raises ValueError when a message has not come, or came before its call.
    """
    spans = [
        (came.get(traffic.recipient(number).lstrip("+"), 0) - began_ns) // 1000
        for first, began_ns in starts
        for number in range(first, min(first + batch, end))
    ]
    if min(spans, default=0) < 0:
        raise ValueError("the sink's log has no arrival of some message, or one from before its call")
    return spans
