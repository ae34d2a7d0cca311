"""From the lanes to the links: who sends what, when.

The dispatcher takes messages for links that have room, commits them as SENDING, and only then opens, encodes and hands
them over. A link's SENDING slots are counted here, in PDUs: two windows at most, and a slot is free again only when the
commit that settles it is on disk, so that no more than two windows a bind can be in doubt after a crash. A fifth of the
slots is kept for OTP.

At most `_COMMITS_AHEAD` commits a link run at a time: what becomes possible meanwhile goes together into the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from carrier.contract import Link, LinkState, Submission
from carrier.errors import TextError
from gateway.errors import GatewayError, StoreCorrupt, Unavailable
from gateway.pipeline.lanes import Lanes, Room
from gateway.pipeline.outcomes import Attempt, postponed, unsendable
from gateway.states import PartState
from gateway.store.contract import Sending, Settlement, Store, Waiting

log = logging.getLogger(__name__)

_UNREADABLE = "its stored payload cannot be opened; the operators find out why in the log"
_COMMITS_AHEAD = 2
_RETRY_STORE_S = 0.5

# (message, now, carrier) → submit_sm bodies, one a part. Raises TextError, StoreCorrupt or Unavailable.
Encoder = Callable[[Waiting, int, str], tuple[bytes, ...]]


class Settling(Protocol):
    """Where outcomes go that the dispatcher finds by itself."""

    def settle(self, settlement: Settlement, released: Callable[[], None]) -> None:
        """Record it; `released` is called when it is on disk."""


class Berth:
    """A link, and the slots that its messages occupy."""

    __slots__ = ("commits", "link", "slots")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.slots = 0
        self.commits = 0

    def room(self) -> Room:
        """Return the free slots."""
        if self.link.state is not LinkState.BOUND or self.commits >= _COMMITS_AHEAD:
            return Room(0, 0)
        slots = 2 * self.link.window
        return Room(slots - self.slots, slots - slots // 5 - self.slots)


class Router:
    """Chooses the link: the first carrier in the order of the configuration that is bound, its freest bind."""

    def __init__(self, berths: Sequence[Berth]) -> None:
        self._berths = berths
        self._carriers = tuple(dict.fromkeys(berth.link.carrier for berth in berths))

    def choose(self) -> Berth | None:
        """Return where the next messages go, None while no link has room."""
        for carrier in self._carriers:
            bound = [b for b in self._berths if b.link.carrier == carrier and b.link.state is LinkState.BOUND]
            if bound:
                best = max(bound, key=lambda berth: berth.room().otp)
                return best if best.room().otp > 0 else None
        return None


class Dispatcher:
    """Moves messages from the lanes to the links; `pump` may be called at any time, and works in the next loop turn."""

    def __init__(
        self, *, store: Store, lanes: Lanes, encode: Encoder, settling: Settling, now: Callable[[], int], batch: int
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._encode = encode
        self._settling = settling
        self._now = now
        self._batch = batch
        self._berths: dict[int, Berth] = {}
        self._router = Router(())
        self._tasks: asyncio.TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._stopping = False
        self._commits: set[asyncio.Task[None]] = set()

    def start(self, links: Sequence[Link], tasks: asyncio.TaskGroup) -> None:
        """Begin to serve `links`, with tasks of the owner's group."""
        self._berths = {id(link): Berth(link) for link in links}
        self._router = Router(tuple(self._berths.values()))
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self.pump()

    async def stop(self) -> None:
        """Take nothing more from the lanes; return when what was being committed has been handed to its link."""
        self._stopping = True
        await asyncio.gather(*self._commits)

    def pump(self) -> None:
        """Look for work in the next turn of the loop."""
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._serve)

    def slots(self, link: Link) -> int:
        """Return the PDUs that may be in doubt on `link`."""
        return self._berths[id(link)].slots

    def _serve(self) -> None:
        self._scheduled = False
        while not self._stopping and self._tasks is not None and len(self._lanes):
            berth = self._router.choose()
            if berth is None:
                return
            messages = self._lanes.take(berth.room(), self._batch, idle=berth.slots == 0)
            if not messages:
                return
            berth.slots += sum(message.segments or 1 for message in messages)
            berth.commits += 1
            commit = self._tasks.create_task(self._commit_and_send(berth, messages))
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)

    async def _commit_and_send(self, berth: Berth, messages: list[Waiting]) -> None:
        link, now = berth.link, self._now()
        batch = [Sending(message.tenant, message.id, link.carrier, now) for message in messages]
        try:
            moved = await self._store.sending(batch)
        except GatewayError as error:
            log.warning("sending_not_committed", extra={"link": link.name, "messages": len(batch), "why": str(error)})
            await self._put_back(berth, messages)
            return
        finally:
            berth.commits -= 1
        submissions: list[Submission] = []
        for message, ours in zip(messages, moved, strict=True):
            if ours:
                submissions += self._attempt(berth, message, now)
            else:  # cancelled or expired while it waited here
                berth.slots -= message.segments or 1
        if submissions:
            link.submit(submissions)
        self.pump()

    async def _put_back(self, berth: Berth, messages: list[Waiting]) -> None:
        """The store did not take it: nothing has been sent. Keep the order, and do not spin."""
        for message in reversed(messages):
            self._lanes[message.category].put_back(message)
            berth.slots -= message.segments or 1
        await asyncio.sleep(_RETRY_STORE_S)
        self.pump()

    def _attempt(self, berth: Berth, message: Waiting, now: int) -> list[Submission]:
        slots = message.segments or 1
        try:
            bodies = self._encode(message, now, berth.link.carrier)
        except (TextError, StoreCorrupt, Unavailable) as error:
            log.error("message_unsendable", extra={"why": str(error)})
            self._settling.settle(_unsent(message, error, now), lambda: self._release(berth, slots))
            return []
        if len(bodies) == 1:
            attempt = Attempt(message, berth.link.carrier, slots, 1, [""], [PartState.UNSENT.value], link=berth)
            return [Submission(attempt, 0, bodies[0], message.category)]
        return self._attempt_parts(berth, message, bodies, slots)

    def _attempt_parts(self, berth: Berth, message: Waiting, bodies: tuple[bytes, ...], slots: int) -> list[Submission]:
        """Send the parts that the same carrier has not answered yet."""
        count = len(bodies)
        again = message.carrier == berth.link.carrier and len(message.part_states) == count
        states = list(message.part_states) if again else [PartState.UNSENT.value] * count
        ids = message.carrier_ids.split("\n") if again else [""] * count
        todo = [part for part, state in enumerate(states) if state == PartState.UNSENT.value]
        attempt = Attempt(message, berth.link.carrier, slots, len(todo), ids, states, link=berth)
        return [Submission(attempt, part, bodies[part], message.category) for part in todo]

    def release(self, attempt: Attempt) -> None:
        """The attempt is settled on disk: its slots are free."""
        if isinstance(attempt.link, Berth):
            self._release(attempt.link, attempt.slots)

    def _release(self, berth: Berth, slots: int) -> None:
        berth.slots -= slots
        self.pump()


def _unsent(message: Waiting, error: TextError | GatewayError, now: int) -> Settlement:
    """Return what to record of a message that could not be put into PDUs."""
    if isinstance(error, Unavailable):
        return postponed(message, now)
    if isinstance(error, TextError):
        return unsendable(message, "CONTENT_UNSENDABLE", str(error), now)
    return unsendable(message, "PAYLOAD_UNREADABLE", _UNREADABLE, now)
