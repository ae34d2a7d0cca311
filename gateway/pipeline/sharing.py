"""What a node does about the others on the same database: puts down what it has lost, takes up what they have left.

News come from the store's membership; here they become work, one piece after the other. A node that is alone hears
none. What must not be missed is looked for again by the others of the pipeline's clocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.errors import GatewayError
from gateway.states import Category
from gateway.store.nodes import Membership, News, Recovered
from visibility.alerts import AlertSink
from visibility.catalogue import NODE_LEASE_LOST, NODE_LOST

log = logging.getLogger(__name__)

_RETRY_S = 0.5
_LOOK_EVERY_S = 5.0

# What is done about a piece of news, by others than the pipeline.
Reaction = Callable[[], Awaitable[None]]


class SharingStore(Protocol):
    """The part of the store that is needed here."""

    @property
    def membership(self) -> Membership:
        """This node among the others."""

    async def take_over(self, now: int, resend: frozenset[Category]) -> Recovered:
        """Move on what nodes that are gone had in their hands."""


class Sharing:
    """Turns news into work; `run` is its task."""

    def __init__(
        self,
        *,
        store: SharingStore,
        resend: Callable[[], frozenset[Category]],
        now: Callable[[], int],
        put_down: Callable[[], None],
        look: Reaction,
    ) -> None:
        """`put_down` forgets what this node has in its hands; `look` looks what waits in the store."""
        self._store = store
        self._resend = resend
        self._now = now
        self._put_down = put_down
        self._reactions: dict[News, list[Reaction]] = {
            News.LOST: [self._begin_anew],
            News.ORPHANS: [self._take_over],
            News.WAITING: [look],
            News.BACK: [look],
        }
        self._at_once: dict[News, Callable[[], None]] = {}
        self._heard: set[News] = set()
        self._work = asyncio.Event()
        store.membership.listen(self._hear)

    @property
    def nodes(self) -> int:
        """How many nodes there are, this one included."""
        return max(1, len(self._store.membership.peers))

    @property
    def alone(self) -> bool:
        """Whether there is no other node."""
        return len(self._store.membership.peers) < 2

    def react(self, news: News, reaction: Reaction) -> None:
        """Do this too when such news come."""
        self._reactions.setdefault(news, []).append(reaction)

    def react_at_once(self, news: News, reaction: Callable[[], None]) -> None:
        """Call this the moment such news come, whatever work is still under way about others: it must not wait."""
        self._at_once[news] = reaction

    def tell(self, news: News) -> None:
        """Tell the other nodes, if there are any."""
        self._store.membership.tell(news)

    def may_write(self) -> bool:
        """Say whether this node may write to carriers."""
        return self._store.membership.may_write()

    def hear(self, news: News) -> None:
        """Take news that were found here."""
        self._hear(news, frozenset())

    def _hear(self, news: News, names: frozenset[str]) -> None:
        del names
        if news in self._at_once:
            self._at_once[news]()
        if news in self._reactions:
            self._heard.add(news)
            self._work.set()

    async def run(self) -> None:
        """Work until cancelled."""
        self.hear(News.PEERS)  # who was there before
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._work.wait()
            except TimeoutError:
                if not self.alone:  # what was told may not have been heard
                    self._heard |= {News.HOLDS, News.PEERS} & self._reactions.keys()
            self._work.clear()
            heard, self._heard = self._heard, set()
            for news in News:  # in one order, whatever came first
                if news in heard:
                    await self._do(news)

    async def _do(self, news: News) -> None:
        for reaction in self._reactions[news]:
            try:
                await reaction()
            except GatewayError as error:
                log.warning("news_not_followed", extra={"news": news.name, "why": str(error)})
                self._heard.add(news)
                self._work.set()
                await asyncio.sleep(_RETRY_S)
                return

    async def _begin_anew(self) -> None:
        log.error("node_puts_down_its_messages")
        self._put_down()
        await asyncio.sleep(0)  # what the links give back is told in the next turn
        self._store.membership.register_again()

    async def _take_over(self) -> None:
        found = await self._store.take_over(self._now(), self._resend())
        if found.reclaimed or found.in_doubt:
            log.warning("messages_taken_over", extra={"reclaimed": found.reclaimed, "in_doubt": found.in_doubt})
            self.tell(News.WAITING)
            for look in self._reactions[News.WAITING]:
                await look()


def raise_alerts(sharing: Sharing, alerts: AlertSink) -> None:
    """Raise an alert when another node is gone, and when this one was."""

    async def gone() -> None:
        alerts.raise_alert(NODE_LOST)

    async def lost() -> None:
        alerts.raise_alert(NODE_LEASE_LOST)

    sharing.react(News.GONE, gone)
    sharing.react(News.LOST, lost)
