"""What waits, for `smsgw status`: by lane, carrier and tenant, each with how long its oldest message has been due.

Carriers are those for which messages in memory are at present: what waits in the database may go by any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from gateway.pipeline.queues import Size
from gateway.store.operating import Backlog

MOST = 20  # tenants and queues
_NONE = "(none)"  # messages in memory that can go by no carrier now


class LinkSize(Protocol):
    """How much of a bind's window is used."""

    @property
    def name(self) -> str:
        """Carrier and number of the bind: `acme/0`."""

    @property
    def unanswered(self) -> int:
        """Unanswered PDUs."""

    @property
    def staged(self) -> int:
        """PDUs that wait for their pace."""


def lanes(sizes: Sequence[Size], now: int) -> list[dict[str, object]]:
    """Return the lanes. `now`, here and below: microseconds since the Unix epoch."""
    return [
        {
            "lane": size.category.name,
            "held": size.held,
            "waiting": size.waiting,
            "in_memory": size.in_memory,
            "oldest_due_s": _age(size.oldest_due_at, now),
        }
        for size in sizes
    ]


def carriers(waiting: Mapping[str, tuple[int, int]], links: Iterable[LinkSize], now: int) -> list[dict[str, object]]:
    """Return what is for each carrier (`Pipeline.waiting`), and what its links have not had answered."""
    unanswered: Counter[str] = Counter()
    for link in links:
        unanswered[link.name.rpartition("/")[0]] += link.unanswered + link.staged
    names = sorted({*waiting, *unanswered})
    return [
        {
            "carrier": name or _NONE,
            "in_memory": waiting[name][0] if name in waiting else 0,
            "oldest_due_s": _age(waiting[name][1] if name in waiting else None, now),
            "on_links": unanswered[name],
        }
        for name in names
    ]


def tenants(backlog: Iterable[Backlog], now: int) -> list[dict[str, object]]:
    """Return who has most messages in which queue. A number ends in "+" when the queue is longer than was looked at."""
    return [
        {
            "tenant": row.tenant,
            "queue": row.queue,
            "messages": f"{row.messages}+" if row.at_least else row.messages,
            "oldest_due_s": _age(row.oldest_due_at, now),
        }
        for row in backlog
    ]


def _age(due_at: int | None, now: int) -> float:
    """Return for how many seconds something has been due; 0 for what is not, or not yet."""
    return 0.0 if due_at is None else round(max(0, now - due_at) * 1e-6, 1)
