"""What waits, as `smsgw status` shows it."""

from __future__ import annotations

from typing import NamedTuple

from gateway import backlog
from gateway.pipeline.queues import Size
from gateway.states import Category
from gateway.store.operating import Backlog

NOW = 1_000_000_000


class Link(NamedTuple):
    """A bind."""

    name: str
    unanswered: int
    staged: int


def test_lanes() -> None:
    """Each lane has its sizes, and for how long something has been due; what is due later has no age."""
    sizes = [Size(Category.OTP, 1, 2, 3, NOW - 2_500_000), Size(Category.PROMOTIONAL, 0, 4, 0, NOW + 60_000_000)]
    assert backlog.lanes(sizes, NOW) == [
        {"lane": "OTP", "held": 1, "waiting": 2, "in_memory": 3, "oldest_due_s": 2.5},
        {"lane": "PROMOTIONAL", "held": 0, "waiting": 4, "in_memory": 0, "oldest_due_s": 0.0},
    ]


def test_carriers() -> None:
    """The binds of a carrier are added up; what can go by none is a row of its own."""
    links = [Link("acme/0", 3, 1), Link("acme/1", 2, 0), Link("idle/0", 0, 0)]
    assert backlog.carriers({"acme": (7, NOW - 1_000_000), "": (2, NOW)}, links, NOW) == [
        {"carrier": "(none)", "in_memory": 2, "oldest_due_s": 0.0, "on_links": 0},
        {"carrier": "acme", "in_memory": 7, "oldest_due_s": 1.0, "on_links": 6},
        {"carrier": "idle", "in_memory": 0, "oldest_due_s": 0.0, "on_links": 0},
    ]


def test_tenants() -> None:
    """A number that may be too small says so."""
    rows = [Backlog("WAITING_OTP", "acme", 9, NOW, True), Backlog("AWAITING", "shop", 3, NOW - 1_000_000, False)]
    assert backlog.tenants(rows, NOW) == [
        {"tenant": "acme", "queue": "WAITING_OTP", "messages": "9+", "oldest_due_s": 0.0},
        {"tenant": "shop", "queue": "AWAITING", "messages": 3, "oldest_due_s": 1.0},
    ]
