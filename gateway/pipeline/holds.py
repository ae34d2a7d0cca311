"""Messages that operators hold back: told apart where the dispatcher has taken them, and put away in the store. So are
those whose carriers are away, when they are in the way of others (`gateway.pipeline.clearing`).

A hold costs nothing where there is none, and to make one moves nothing: what waits is put away (`park`) when its turn
comes, and comes back (`unpark`) in steps, beside everything else. What has been taken and not put away yet is claimed:
after a crash it waits again, and meets the hold again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gateway.errors import GatewayError
from gateway.store.contract import Waiting
from gateway.store.operating import Place, Selection, Unparked

log = logging.getLogger(__name__)

_BATCH = 500
_STEP = 2_000
_RETRY_S = 0.5


class Holds:
    """The selections that are held. Belongs to one event loop; `any` is looked at for each batch.

    Those that name an owner may be many, and are found by it.
    """

    __slots__ = ("_general", "_of_owner", "any", "selections")

    def __init__(self) -> None:
        self.any = False
        self.selections: tuple[Selection, ...] = ()
        self._general: list[Selection] = []
        self._of_owner: dict[str, list[Selection]] = {}

    def use(self, selections: Sequence[Selection]) -> None:
        """Hold these from now on."""
        self.selections = tuple(selections)
        self.any = bool(self.selections)
        self._general = [selection for selection in self.selections if not selection.owner]
        self._of_owner = {}
        for selection in self.selections:
            if selection.owner:
                self._of_owner.setdefault(selection.owner, []).append(selection)

    def cover(self, message: Waiting) -> bool:
        """Say whether a message is held back."""
        who = (message.tenant, message.category, message.carrier, message.recipient_hash, message.owner, message.id)
        return any(selection.covers(*who) for selection in (*self._general, *self._of_owner.get(message.owner, ())))


class ParkingStore(Protocol):
    """The part of the store that is needed here."""

    async def park(self, batch: Sequence[tuple[str, bytes]]) -> int:
        """Move claimed messages (tenant, id) to the held queues."""

    async def unpark(self, holds: Sequence[Selection], after: Place | None, limit: int) -> Unparked:
        """Move held messages that none of `holds` covers back into their waiting queue."""


class Parking:
    """Puts messages away, and brings back those that nothing holds any more; `run` is its task.

    What waits here to be put away is bounded by what the lanes hold.
    """

    def __init__(self, store: ParkingStore, holds: Holds, returned: Callable[[], Awaitable[None]]) -> None:
        """`returned` is told when messages have come back: they wait in the store."""
        self._store = store
        self._holds = holds
        self._returned = returned
        self._taken: list[tuple[str, bytes]] = []
        self._look = True  # a start looks whether an earlier run has left any that nothing holds
        self._work = asyncio.Event()
        self._work.set()

    def park(self, message: Waiting) -> None:
        """Take a message that is held back."""
        self._taken.append((message.tenant, message.id))
        self._work.set()

    @property
    def busy(self) -> bool:
        """Whether messages wait here to be put away."""
        return bool(self._taken)

    def look(self) -> None:
        """A hold has ended: bring back what nothing holds any more."""
        self._look = True
        self._work.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._put_away()
                if self._look:
                    self._look = False
                    await self._bring_back()
            except GatewayError as error:
                log.warning("held_messages_not_moved", extra={"why": str(error)})
                self._look = True
                self._work.set()
                await asyncio.sleep(_RETRY_S)

    async def _put_away(self) -> None:
        while self._taken:
            batch = self._taken[:_BATCH]
            await self._store.park(batch)
            del self._taken[: len(batch)]

    async def _bring_back(self) -> None:
        after: Place | None = None
        moved = 0
        while True:
            step = await self._store.unpark(self._holds.selections, after, _STEP)
            moved += step.moved
            if step.moved:
                await self._returned()
            if step.after is None:
                break
            after = step.after
            await self._put_away()  # what was taken meanwhile does not wait for the end of this
        if moved:
            log.info("held_messages_returned", extra={"messages": moved})
