"""Whether the lease of this node is over, so that its links must end: their binds may be another node's by now.

It waits for nothing but time and the end of the links: neither for the database, whose absence is the usual reason, nor
for any work that may be waiting for that. A node that finds itself fenced, as after its process or its event loop has
stood still, does not wait at all; its next registration may follow at once, and begins without links. A node whose
database is its own has a lease that never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

from gateway.pipeline.sharing import Sharing
from gateway.store.nodes import News

log = logging.getLogger(__name__)

_EVERY_S = 0.25
_OVER_S = 1.0  # after the last moment at which this node may write to carriers: then its lease is over


class LinkOwner(Protocol):
    """Who has the links."""

    async def let_go(self) -> None:
        """End all links, and make none until `lease_holds`; waits for nobody else's work."""

    def lease_holds(self) -> None:
        """Links may be made again; News.BACK follows."""


class LeaseWatch:
    """Ends the links when the lease is over; `run` is its task."""

    def __init__(self, sharing: Sharing, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives the seconds that have passed."""
        self._sharing = sharing
        self._clock = clock
        self._owner: LinkOwner | None = None
        self._since: float | None = None  # when the node was first seen not to be allowed to write
        self._over = False
        self._lost = False
        self._news = asyncio.Event()
        sharing.react_at_once(News.LOST, self._lose)

    def attach(self, owner: LinkOwner) -> None:
        """Have the links of `owner` ended."""
        self._owner = owner

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._news.wait()
            self._news.clear()

    async def look(self) -> None:
        """Look once."""
        lost, self._lost = self._lost, False
        if lost and not self._over:
            await self._end_links()
        elif self._sharing.may_write():
            self._since = None
            if self._over:
                self._begin_again()
        elif self._since is None:
            self._since = self._clock()
        elif not self._over and self._clock() - self._since >= _OVER_S:
            await self._end_links()

    def _lose(self) -> None:
        self._lost = True
        self._news.set()

    async def _end_links(self) -> None:
        self._over = True
        log.warning("lease_over_links_end")
        if self._owner is not None:
            await self._owner.let_go()

    def _begin_again(self) -> None:
        self._over = False
        if self._owner is not None:
            self._owner.lease_holds()
        self._sharing.hear(News.BACK)
