"""Wakes the watchers of a tenant's events after each commit that wrote some.

Nothing is queued for a watcher: a commit sets its flag, and it reads the store from where it stands. A slow reader
costs its own lag and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gateway.errors import Overloaded, ShuttingDown
from gateway.store.nodes import Membership, News

DEFAULT_MAX_WATCHES = 10_000
DEFAULT_MAX_WATCHES_A_TENANT = 200
_RETRY_AFTER_S = 10.0


class Watch:
    """One watcher's flag."""

    __slots__ = ("_closing", "_woken")

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._closing: Callable[[], ShuttingDown] | None = None

    def arm(self) -> None:
        """Begin to note commits: before the store is read, so that none falls between. ShuttingDown at the end."""
        if self._closing is not None:
            raise self._closing()
        self._woken.clear()

    async def wait(self, timeout_s: float) -> bool:
        """Return True after a commit since `arm`, or at the end of the node; False after `timeout_s` without either."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """Something was committed."""
        self._woken.set()

    def close(self, refusal: Callable[[], ShuttingDown]) -> None:
        """The node ends: `refusal` says what the watcher is told."""
        self._closing = refusal
        self._woken.set()


class EventHub:
    """All watches of this node. `committed` is what `Store.on_commit` takes; all calls come from the event loop."""

    def __init__(
        self,
        *,
        max_watches: int = DEFAULT_MAX_WATCHES,
        max_watches_a_tenant: int = DEFAULT_MAX_WATCHES_A_TENANT,
    ) -> None:
        self._max_watches = max_watches
        self._max_watches_a_tenant = max_watches_a_tenant
        self._watches: dict[str, set[Watch]] = {}
        self._count = 0
        self._closing: Callable[[], ShuttingDown] | None = None

    @contextmanager
    def watch(self, tenant: str) -> Iterator[Watch]:
        """Register a watch for the time of the block. Raises Overloaded when there are too many."""
        of_tenant = self._watches.get(tenant, set())
        if self._count >= self._max_watches or len(of_tenant) >= self._max_watches_a_tenant:
            raise Overloaded(
                f"{len(of_tenant)} watches are open; close some, or share one",
                retry_after_s=_RETRY_AFTER_S,
                reason="TOO_MANY_WATCHES",
            )
        watch = Watch()
        if self._closing is not None:
            watch.close(self._closing)
        self._watches.setdefault(tenant, of_tenant).add(watch)
        self._count += 1
        try:
            yield watch
        finally:
            self._count -= 1
            of_tenant.discard(watch)
            if not of_tenant:
                self._watches.pop(tenant, None)

    def committed(self, tenants: frozenset[str]) -> None:
        """Wake the watches of these tenants."""
        for tenant in tenants:
            for watch in self._watches.get(tenant, ()):
                watch.wake()

    def heard(self, tenants: frozenset[str]) -> None:
        """Another node has committed events of these tenants, or, where none is named, of any."""
        self.committed(tenants or frozenset(self._watches))

    def close(self, refusal: Callable[[], ShuttingDown] = ShuttingDown) -> None:
        """End every watch: each is told what `refusal` says then."""
        self._closing = refusal
        for of_tenant in self._watches.values():
            for watch in of_tenant:
                watch.close(refusal)


class EventStore(Protocol):
    """The part of the store by which nodes tell each other of events."""

    @property
    def membership(self) -> Membership:
        """This node among the others."""

    def on_commit(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call `listener` after each commit that wrote events."""


def share_events(store: EventStore, hub: EventHub) -> None:
    """Tell the other nodes of events that this one has committed, and wake the watches here for theirs."""
    membership = store.membership
    store.on_commit(lambda tenants: membership.tell(News.EVENTS, tenants))
    membership.listen(lambda news, names: hub.heard(names) if news is News.EVENTS else None)
