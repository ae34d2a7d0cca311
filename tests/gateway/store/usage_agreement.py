"""Does the usage say what happened? Its sums against the events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from gateway.states import FINAL, State
from gateway.store.contract import EventRow
from gateway.store.usage import DAY, By, Usage, UsageFilter

EVER = UsageFilter(0, 1_000_000)
EACH = By(tenant=True, day=True, category=True, carrier=True)
_Key = tuple[str, int, int, str]  # tenant, day, category, carrier


def told_by_events(events: Mapping[str, Iterable[EventRow]]) -> dict[_Key, list[int]]:
    """Return what the events of tenants add up to: messages and segments accepted, messages submitted, messages and
    segments delivered, and failed."""
    sums: dict[_Key, list[int]] = defaultdict(lambda: [0] * 7)
    for tenant, rows in events.items():
        for event in rows:
            row = sums[tenant, event.at // DAY, event.category, event.carrier]
            if event.state == State.ACCEPTED:
                row[0] += 1
                row[1] += event.segments
            elif event.state == State.SUBMITTED:
                row[2] += 1
            elif event.state in FINAL:
                at = 3 if event.state == State.DELIVERED else 5
                row[at] += 1
                row[at + 1] += event.segments
    return {key: row for key, row in sums.items() if any(row)}


def told_by_usage(rows: Sequence[Usage]) -> dict[_Key, list[int]]:
    """Return the same of an answer that tells apart `EACH`."""
    return {
        (row.tenant, row.day, row.category, row.carrier): told for row in rows if any(told := [*row[6:9], *row[10:14]])
    }
