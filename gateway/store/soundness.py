"""What holds between the rows of a sound database, on either engine: asked in SQL that both understand.

No table declares a foreign key (each would cost every message), so that these are looked at when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.states import State
from gateway.store.contract import Queue

Fetch = Callable[[str], list[Any]]

# The rows that break a rule, counted.
RULES: tuple[tuple[str, str], ...] = (
    (
        "messages whose state and queue contradict each other",
        (
            "SELECT count(*) FROM message WHERE NOT (CASE WHEN state IN (4, 5, 6, 7, 8) THEN queue IS NULL"
            " WHEN queue IS NULL THEN false WHEN state = 1 THEN queue IN (category, 10 + category, 20)"
            " WHEN state = 2 THEN queue = 20 WHEN state = 3 THEN queue = 40"
            " WHEN state = 9 THEN queue IN (category, 10 + category, 20, 40) ELSE false END)"
        ),
    ),
    (
        "messages without the part that was written once",
        (
            "SELECT count(*) FROM message AS m WHERE NOT EXISTS"
            " (SELECT 1 FROM body AS b WHERE b.tenant_no = m.tenant_no AND b.id = m.id)"
        ),
    ),
    (
        "bodies without a message",
        (
            "SELECT count(*) FROM body AS b WHERE NOT EXISTS"
            " (SELECT 1 FROM message AS m WHERE m.tenant_no = b.tenant_no AND m.id = b.id)"
        ),
    ),
    (
        "messages of a tenant without a name",
        "SELECT count(*) FROM message WHERE tenant_no NOT IN (SELECT no FROM tenant)",
    ),
    (
        "messages of a carrier without a name",
        "SELECT count(*) FROM message WHERE carrier_no NOT IN (SELECT no FROM carrier)",
    ),
    ("events of a tenant without a name", "SELECT count(*) FROM event WHERE tenant_no NOT IN (SELECT no FROM tenant)"),
    ("events with the number of another one", "SELECT count(*) - count(DISTINCT seq) FROM event"),
    (
        "ids of carriers that lead to no message",
        (
            "SELECT count(*) FROM carrier_ref AS r WHERE NOT EXISTS"
            " (SELECT 1 FROM message AS m WHERE m.tenant_no = r.tenant_no AND m.id = r.message_id)"
        ),
    ),
    (
        "rows of the audit that are missing",
        "SELECT CASE WHEN count(*) = 0 THEN 0 ELSE max(seq) - min(seq) + 1 - count(*) END FROM audit_commit",
    ),
)

_BY_STATE = "SELECT state, queue, count(*) FROM message GROUP BY state, queue"
_TOTALS = (("events", "SELECT count(*) FROM event"), ("audit_commits", "SELECT count(*) FROM audit_commit"))


class Broken(NamedTuple):
    """A rule that does not hold, and how many rows break it."""

    rule: str
    rows: int


def broken(fetch: Fetch) -> list[Broken]:
    """Return the rules that do not hold. Raises what the database raises."""
    counted = [Broken(rule, int(fetch(text)[0][0])) for rule, text in RULES]
    return [found for found in counted if found.rows]


def counts(fetch: Fetch) -> dict[str, int]:
    """Return how many messages there are in each state and queue, events, and rows of the audit.

    Raises what the database raises.
    """
    found: dict[str, int] = {}
    for state, queue, number in fetch(_BY_STATE):
        for name in (f"messages.{_name(State, state)}", "" if queue is None else f"queues.{_queue(state, queue)}"):
            if name:
                found[name] = found.get(name, 0) + int(number)
    for name, text in _TOTALS:
        ((number,),) = fetch(text)
        found[name] = int(number)
    return dict(sorted(found.items()))


def _queue(state: int, queue: int) -> str:
    """A message that is SENDING stays in the queue CLAIMED: see the schema."""
    return Queue.SENDING.name if queue == Queue.CLAIMED and state == State.SENDING else _name(Queue, queue)


def _name(kind: type[State | Queue], number: int) -> str:
    try:
        return kind(number).name
    except ValueError:
        return str(number)
