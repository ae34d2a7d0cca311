"""Decisions that have been made, by tenant.

A key holds the question as it was asked, whole; a cache belongs to one set of policies, and a new set gets a new cache:
so there is nothing to invalidate. Each tenant has a partition of its own, which only its own questions fill: no tenant
can push out another's. A partition keeps two generations of at most half its size; when the younger is full, it becomes
the older, and what is asked for again moves back. That costs nothing at a hit.
"""

from __future__ import annotations

from typing import Generic, TypeVar

DEFAULT_DECISIONS = 8192  # of one tenant: about 3 MB when full
DEFAULT_TENANTS = 2048  # more than the configuration can have

V = TypeVar("V")
Key = tuple[object, ...]


class Partition(Generic[V]):
    """The decisions of one tenant. `recent` may be looked into directly; it stays the same dictionary."""

    __slots__ = ("_half", "_older", "recent")

    def __init__(self, limit: int) -> None:
        """`limit` is how many decisions are kept at most; 0 keeps none."""
        self._half = limit // 2
        self._older: dict[Key, V] = {}
        self.recent: dict[Key, V] = {}

    def __len__(self) -> int:
        return len(self.recent) + len(self._older)

    def find(self, key: Key) -> V | None:
        """Return the decision of `key`, None when there is none."""
        found = self.recent.get(key)
        if found is None:
            found = self._older.pop(key, None)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: Key, decision: V) -> None:
        """Keep a decision, at the cost of the oldest."""
        if len(self.recent) >= self._half:
            if not self._half:
                return
            self._older = self.recent.copy()
            self.recent.clear()
        self.recent[key] = decision


class DecisionCache(Generic[V]):
    """The partitions, one a tenant."""

    def __init__(self, *, decisions: int = DEFAULT_DECISIONS, tenants: int = DEFAULT_TENANTS) -> None:
        """Args:
        decisions: how many a tenant may have at most.
        tenants: how many may have any; a further one is decided anew each time, rather than at another's cost.
        """
        self._decisions = decisions
        self._tenants = tenants
        self._partitions: dict[str, Partition[V]] = {}
        self._none: Partition[V] = Partition(0)

    def __len__(self) -> int:
        return sum(len(partition) for partition in self._partitions.values())

    def of(self, tenant: str) -> Partition[V]:
        """Return the partition of a tenant."""
        found = self._partitions.get(tenant)
        if found is None:
            if len(self._partitions) >= self._tenants:
                return self._none
            found = self._partitions[tenant] = Partition(self._decisions)
        return found
