"""From the lanes to the links: who sends what, when.

The dispatcher takes messages for links that have room, asks the policies whether they may go that way, commits them as
SENDING, and only then opens, encodes and hands them over. A link's SENDING slots are counted here, in PDUs: two windows
at most, and a slot is free again only when the commit that settles it is on disk, so that no more than two windows a
bind can be in doubt after a crash. A fifth of the slots is kept for OTP.

At most `_COMMITS_AHEAD` commits a link run at a time: what becomes possible meanwhile goes together into the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Protocol

from carrier.contract import Link, LinkState, Submission
from carrier.errors import TextError
from gateway.errors import GatewayError, StoreCorrupt, Unavailable
from gateway.pipeline.lanes import Lanes, Room
from gateway.pipeline.outcomes import Attempt, RetryRules, denied_by_policy, elsewhere, postponed, unsendable
from gateway.pipeline.permits import Denied, Permits, Permitted
from gateway.pipeline.switches import CarrierSwitches
from gateway.states import Category, PartState
from gateway.store.contract import RouteDenial, Sending, Settlement, Store, Waiting
from gateway.telemetry.journey import AttemptTrace
from gateway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

_UNREADABLE = "its stored payload cannot be opened; the operators find out why in the log"
_COMMITS_AHEAD = 2
_RETRY_STORE_S = 0.5

# (message, now, carrier) → submit_sm bodies, one a part. Raises TextError, StoreCorrupt or Unavailable.
Encoder = Callable[[Waiting, int, str], tuple[bytes, ...]]


class Settling(Protocol):
    """Where outcomes go that the dispatcher finds by itself."""

    def settle(
        self,
        message: Waiting,
        settlement: Settlement,
        released: Callable[[], None],
        trace: AttemptTrace | None = None,
    ) -> None:
        """Record it; `released` is called when it is on disk."""


class Berth:
    """A link, and the slots that its messages occupy. One that is `leaving` gets nothing more."""

    __slots__ = ("commits", "leaving", "link", "slots")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.leaving = False
        self.slots = 0
        self.commits = 0

    @property
    def usable(self) -> bool:
        """Whether messages may go this way, room or not."""
        return self.link.state is LinkState.BOUND and not self.leaving

    def room(self) -> Room:
        """Return the free slots."""
        if not self.usable or self.commits >= _COMMITS_AHEAD:
            return Room(0, 0)
        slots = 2 * self.link.window
        return Room(slots - self.slots, slots - slots // 5 - self.slots)


class Router:
    """Chooses the link: the first carrier in the order of the configuration that is bound and not switched off, its
    freest bind."""

    def __init__(self, berths: Sequence[Berth], switches: CarrierSwitches) -> None:
        self._berths = berths
        self._switches = switches
        self.carriers = tuple(dict.fromkeys(berth.link.carrier for berth in berths))

    def choose(self) -> Berth | None:
        """Return where the next messages go, None while no link has room."""
        for carrier in self.carriers:
            if carrier in self._switches.closed:
                continue
            bound = [b for b in self._berths if b.link.carrier == carrier and b.usable]
            if bound:
                best = max(bound, key=lambda berth: berth.room().otp)
                return best if best.room().otp > 0 else None
        return None

    def choose_among(self, carriers: Sequence[str], category: int, slots: int) -> Berth | None:
        """Return where a message of so many slots may go instead, None while none of these carriers has room."""
        for carrier in carriers:
            if carrier in self._switches.closed:
                continue
            for berth in self._berths:
                room = berth.room() if berth.link.carrier == carrier else Room(0, 0)
                fits = slots <= (room.otp if category == Category.OTP else room.others)
                if fits or (room.otp > 0 and berth.slots == 0):  # one larger than a window goes alone
                    return berth
        return None


class Dispatcher:
    """Moves messages from the lanes to the links; `pump` may be called at any time, and works in the next loop turn."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        encode: Encoder,
        settling: Settling,
        permits: Permits,
        rules: RetryRules,
        now: Callable[[], int],
        batch: int,
        tracing: Tracing,
        switches: CarrierSwitches,
    ) -> None:
        self._store = store
        self._switches = switches
        self._permits = permits
        self._rules = rules
        self._lanes = lanes
        self._encode = encode
        self._settling = settling
        self._now = now
        self._batch = batch
        self._tracing = tracing
        self._berths: dict[int, Berth] = {}
        self._router = Router((), switches)
        self._tasks: asyncio.TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._stopping = False
        self._commits: set[asyncio.Task[None]] = set()

    def start(self, links: Sequence[Link], tasks: asyncio.TaskGroup) -> None:
        """Begin to serve `links`, with tasks of the owner's group."""
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self.serve(links)

    def serve(self, links: Sequence[Link]) -> None:
        """Serve these links from now on, in this order; those served already keep their slots."""
        self._berths = {id(link): self._berths.get(id(link)) or Berth(link) for link in links}
        self._router = Router(tuple(self._berths.values()), self._switches)
        self.pump()

    def leave(self, link: Link) -> None:
        """Give this link nothing more: it is about to be stopped."""
        self._berths[id(link)].leaving = True

    async def stop(self) -> None:
        """Take nothing more from the lanes; return when what was being committed has been handed to its link."""
        self._stopping = True
        while self._commits:  # one may begin another, on another link
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
            self._begin(self._tasks, berth, self._send_permitted(berth, messages))

    def _begin(self, tasks: asyncio.TaskGroup, berth: Berth, work: Coroutine[None, None, None]) -> None:
        """Begin `work`, which ends with a commit on this berth and has its slots."""
        berth.commits += 1
        commit = tasks.create_task(work)
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)

    async def _send_permitted(self, berth: Berth, messages: list[Waiting]) -> None:
        """Ask the policies about this way, send what may go, and find another way for the rest."""
        now = self._now()
        permitted, denied = await self._permits.sort(berth.link.carrier, messages, now)
        if denied:
            self._send_otherwise(berth, denied, now)
        await self._commit_and_send(berth, permitted)

    def _send_otherwise(self, berth: Berth, denied: Sequence[Denied], now: int) -> None:
        """Hand messages to other carriers that they may go by; what has none is settled, and keeps its slots here
        until then, so that a million denials take no more memory than a million messages sent."""
        moved: dict[int, tuple[Berth, list[Permitted]]] = {}
        for message, decision, others in denied:
            slots = message.segments or 1
            other = self._router.choose_among(tuple(others), message.category, slots)
            if other is not None:
                berth.slots -= slots
                other.slots += slots
                moved.setdefault(id(other), (other, []))[1].append((message, others[other.link.carrier]))
                continue
            if others:
                settlement = elsewhere(message, now)
            else:
                self._permits.count(decision)
                why = decision.text(f"the carrier {berth.link.carrier}")
                denial = RouteDenial(berth.link.carrier, decision.reason, decision.policy_id)
                settlement = denied_by_policy(message, denial, why, self._rules, now)
            self._settling.settle(message, settlement, partial(self._release, berth, slots))
        for other, messages in moved.values():
            if self._tasks is not None:
                self._begin(self._tasks, other, self._commit_and_send(other, messages))

    async def _commit_and_send(self, berth: Berth, permitted: Sequence[Permitted]) -> None:
        if not permitted:
            berth.commits -= 1
            self.pump()
            return
        link, now = berth.link, self._now()
        batch = [Sending(message.tenant, message.id, link.carrier, now, policy) for message, policy in permitted]
        messages = [message for message, _ in permitted]
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
            if ours and message.trace:
                submissions += self._traced_attempt(berth, message, now, len(messages))
            elif ours:
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

    def _traced_attempt(self, berth: Berth, message: Waiting, now: int, rows: int) -> list[Submission]:
        """Attempt a message that is sampled: its SENDING was committed together with that of `rows` messages."""
        trace = self._tracing.attempt(message, now, rows)
        if trace is None:
            return self._attempt(berth, message, now)
        with trace.current():
            submissions = self._attempt(berth, message, now, trace)
        if submissions:
            parts = max(message.segments, len(submissions))
            trace.encoded(berth.link.carrier, berth.link.name, parts, len(submissions))
        return submissions

    def _attempt(self, berth: Berth, message: Waiting, now: int, trace: AttemptTrace | None = None) -> list[Submission]:
        slots = message.segments or 1
        try:
            bodies = self._encode(message, now, berth.link.carrier)
        except (TextError, StoreCorrupt, Unavailable) as error:
            log.error("message_unsendable", extra={"why": str(error)})
            settlement = _unsent(message, error, now)
            if trace is not None:
                trace.unsendable(settlement.reason_code)
            self._settling.settle(message, settlement, partial(self._release, berth, slots), trace)
            return []
        if len(bodies) == 1:
            attempt = Attempt(
                message, berth.link.carrier, slots, 1, [""], [PartState.UNSENT.value], link=berth, trace=trace
            )
            return [Submission(attempt, 0, bodies[0], message.category)]
        return self._attempt_parts(berth, message, bodies, slots, trace)

    def _attempt_parts(
        self, berth: Berth, message: Waiting, bodies: tuple[bytes, ...], slots: int, trace: AttemptTrace | None
    ) -> list[Submission]:
        """Send the parts that the same carrier has not answered yet."""
        count = len(bodies)
        again = message.carrier == berth.link.carrier and len(message.part_states) == count
        states = list(message.part_states) if again else [PartState.UNSENT.value] * count
        ids = message.carrier_ids.split("\n") if again else [""] * count
        todo = [part for part, state in enumerate(states) if state == PartState.UNSENT.value]
        attempt = Attempt(message, berth.link.carrier, slots, len(todo), ids, states, link=berth, trace=trace)
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
