"""From the lanes to the links: who sends what, when.

The dispatcher finds the plan of each message that this node holds (`gateway.pipeline.router`), takes messages for
carriers whose links have room, asks the policies whether they may go that way, commits them as SENDING, and only then
has them opened and encoded (`gateway.pipeline.submitting`), and hands them over. What callers have sealed is opened
before that commit, and is one PDU until then (`gateway.pipeline.sealed_contents`). A link's SENDING slots are counted
here, in PDUs: two windows at most, and a slot is free again only when the commit that settles it is on disk, so that no
more than two windows a bind can be in doubt after a crash. A fifth of the slots is kept for OTP.

Few commits a link run at a time: what becomes possible meanwhile goes together into the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from carrier.contract import Link, SubmitResult
from gateway.errors import GatewayError, StoreCorrupt, Unavailable
from gateway.pipeline.berths import Berth
from gateway.pipeline.clearing import Clearing
from gateway.pipeline.dispatching import Encoder, Opening, Settling
from gateway.pipeline.holds import Holds, Parking
from gateway.pipeline.lanes import Lanes, Offers, Pick
from gateway.pipeline.outcomes import (
    Attempt,
    RetryRules,
    closed,
    denied_by_policy,
    elsewhere,
    unrouted,
)
from gateway.pipeline.permits import Denied, Permits, Permitted
from gateway.pipeline.pricing import Pricing
from gateway.pipeline.router import Router, Routing
from gateway.pipeline.sealed_contents import SealedContents
from gateway.pipeline.submitting import Submitter
from gateway.policy.engine import Decision
from gateway.routing.plans import Plan
from gateway.store.contract import RouteDenial, Sending, Settlement, Store, Waiting
from gateway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

_RETRY_STORE_S = 0.5
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)
_PLANNED_AT_ONCE = 500  # of messages that wait when the routes change: about 2 ms

_OPENED_AT_ONCE = 32  # sealed messages that are opened before the first of them is committed


class Dispatcher:
    """Moves messages from the lanes to the links; `pump` may be called at any time, and works in the next loop turn."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        encode: Encoder,
        opening: Opening,
        sealed: SealedContents,
        settling: Settling,
        permits: Permits,
        rules: RetryRules,
        now: Callable[[], int],
        batch: int,
        tracing: Tracing,
        router: Router,
        holds: Holds,
        parking: Parking,
        pricing: Pricing,
        hopeless: Callable[[Plan], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._permits = permits
        self._rules = rules
        self._lanes = lanes
        self._encode = encode
        self._opening = opening
        self._sealed = sealed
        self._settling = settling
        self._now = now
        self._batch = batch
        self._berths: dict[int, Berth] = {}
        self._router = router
        self._holds = holds
        self._submitter = Submitter(
            breakers=router.breakers,
            pricing=pricing,
            tracing=tracing,
            settling=settling,
            rules=rules,
            released=self._release,
        )
        self._park = parking.park
        self._clearing = Clearing(lanes=lanes, router=router, parking=parking, hopeless=hopeless)
        self._unplanned: deque[Pick] = deque()  # messages that wait for a plan under changed routes
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
        if self._router.serve(tuple(self._berths.values())):
            self._plan_again()
        self.pump()

    def use(self, routing: Routing) -> None:
        """Send by these routes from now on; what is with a link already stays there."""
        self._router.use(routing)
        self._plan_again()
        self.pump()

    def use_rules(self, rules: RetryRules) -> None:
        """Settle by these rules from now on."""
        self._rules = rules
        self._submitter.use_rules(rules)

    def add(self, message: Waiting, number: str = "") -> None:
        """Take a message that this node has claimed. `number`: its recipient's, where it is at hand."""
        self._place(message, number)

    def put_down(self) -> None:
        """Forget what waits here, which others have now; what the links hold back comes back from them."""
        self._unplanned.clear()
        deque(self._lanes.empty(), maxlen=0)
        for berth in self._berths.values():
            berth.link.withdraw()

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
        if self._stopping or self._tasks is None:
            return
        if self._unplanned:
            self._place_some()
        now = self._now()
        self._router.relieve(now)
        self._clearing.work(now)
        if len(self._lanes):
            for carrier, offers in self._router.offers(self._lanes, now):
                self._serve_carrier(self._tasks, carrier, offers, now)

    def _serve_carrier(self, tasks: asyncio.TaskGroup, carrier: str, offers: Offers, now: int) -> None:
        """Give a carrier what waits for it, as far as its links have room."""
        while berth := self._router.berth(carrier):
            limit = min(self._batch, self._router.allowance(carrier, now))
            picks = self._lanes.take(offers, berth.room(), limit, idle=berth.slots == 0)
            if not picks:
                return
            if self._holds.any:
                picks = self._not_held(picks)
                if not picks:
                    continue
            self._router.took(berth, picks, now)
            berth.slots += sum([message.segments or 1 for message, _ in picks])
            self._begin(tasks, berth, self._send_permitted(berth, picks))

    def _not_held(self, picks: Sequence[Pick]) -> list[Pick]:
        """Return the messages that no operator holds back; the others are put away."""
        go: list[Pick] = []
        for pick in picks:
            if self._holds.cover(pick[0]):
                self._park(pick[0])
            else:
                go.append(pick)
        return go

    def _place(self, message: Waiting, number: str = "", *, front: bool = False) -> None:
        """Put a message into its lane, to its plan; one without a plan, or that cannot be opened, is settled."""
        try:
            plan = self._router.plan(message, number)
        except (StoreCorrupt, Unavailable) as error:
            log.error("message_not_routed", extra={"why": str(error)})
            self._settling.settle(message, closed(message, error, self._rules, self._now()), _nothing)
            return
        lane = self._lanes[message.category]
        if plan is None:
            self._settling.settle(message, unrouted(message, self._rules, self._now()), _nothing)
        elif front:
            lane.put_back(message, plan)
        else:
            lane.add(message, plan)

    def _plan_again(self) -> None:
        """Find the plans of all messages anew, some in each turn of the loop."""
        self._clearing.bring_back()
        self._unplanned += self._lanes.empty()

    def _place_some(self) -> None:
        for _ in range(min(_PLANNED_AT_ONCE, len(self._unplanned))):
            self._place(self._unplanned.popleft()[0])
        if self._unplanned:
            self.pump()

    def _begin(self, tasks: asyncio.TaskGroup, berth: Berth, work: Coroutine[None, None, None]) -> None:
        """Begin `work`, which ends with a commit on this berth and has its slots."""
        berth.commits += 1
        self._start(tasks, work)

    def _start(self, tasks: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> None:
        commit = tasks.create_task(work)
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)

    async def _send_permitted(self, berth: Berth, picks: Sequence[Pick]) -> None:
        """Ask the policies about this way, send what may go, and find another way for the rest."""
        now = self._now()
        permitted, denied = await self._permits.sort(berth.carrier, picks, now)
        if denied:
            self._send_otherwise(berth, denied, now)
        if self._tasks is not None and not self._opening.at_hand([one[0] for one in permitted]):
            closed = [one for one in permitted if not self._opening.at_hand(one[:1])]
            self._begin(self._tasks, berth, self._open_and_send(berth, closed))  # who is open does not wait for them
            kept = set(map(id, closed))
            permitted = [one for one in permitted if id(one) not in kept]
        await self._send(berth, permitted)

    async def _open_and_send(self, berth: Berth, permitted: Sequence[Permitted]) -> None:
        """Fetch the keys of messages, then send them; without their keys they wait again."""
        try:
            await self._opening.ready([one[0] for one in permitted])
        except Unavailable as error:
            for message, *_ in permitted:
                settlement = closed(message, error, self._rules, self._now())
                self._settling.settle(message, settlement, partial(self._release, berth, message.segments or 1))
            permitted = ()
        await self._send(berth, permitted)

    async def _send(self, berth: Berth, permitted: Sequence[Permitted]) -> None:
        """Send what may go; what its caller has sealed is opened first, and holds up nothing else."""
        sealed = [each for each in permitted if not each[0].segments]
        if sealed:
            if self._tasks is not None:
                self._start(self._tasks, self._send_sealed(berth, sealed))
            permitted = [each for each in permitted if each[0].segments]
        await self._commit_and_send(berth, permitted, self._encode)

    async def _send_sealed(self, berth: Berth, sealed: Sequence[Permitted]) -> None:
        for first in range(0, len(sealed), _OPENED_AT_ONCE):
            opened = await self._sealed.open(sealed[first : first + _OPENED_AT_ONCE], self._now(), self._rules)
            for message, settlement in opened.others:
                self._settling.settle(message, settlement, partial(self._release, berth, 1))
            berth.slots += sum([message.segments - 1 for message, *_ in opened.ready])
            if opened.ready and self._tasks is not None:
                self._begin(self._tasks, berth, self._commit_and_send(berth, opened.ready, opened.encode))

    def _send_otherwise(self, berth: Berth, denied: Sequence[Denied], now: int) -> None:
        """Hand messages to other carriers that they may go by; what has none is settled, and keeps its slots here
        until then, so that a million denials take no more memory than a million messages sent."""
        moved: dict[int, tuple[Berth, list[Permitted]]] = {}
        for message, plan, decision, others in denied:
            slots = message.segments or 1
            other = self._router.choose_among(plan, others, message.category, slots, now)
            if other is not None:
                berth.slots -= slots
                other.slots += slots
                told = plan.way(other.carrier).told(message.sender)
                permitted = (message, plan, others[other.carrier], told)
                moved.setdefault(id(other), (other, []))[1].append(permitted)
                continue
            settlement = elsewhere(message, now) if others else self._denied(berth.carrier, message, decision, now)
            self._settling.settle(message, settlement, partial(self._release, berth, slots))
        for other, messages in moved.values():
            if self._tasks is not None:
                self._begin(self._tasks, other, self._send(other, messages))

    def _denied(self, carrier: str, message: Waiting, decision: Decision, now: int) -> Settlement:
        """Return what to record of a message that no carrier of its plan may carry."""
        self._permits.count(decision)
        why = decision.text(f"the carrier {carrier}")
        denial = RouteDenial(carrier, decision.reason, decision.policy_id)
        return denied_by_policy(message, denial, why, self._rules, now)

    async def _commit_and_send(self, berth: Berth, permitted: Sequence[Permitted], encode: Encoder) -> None:
        if not permitted:
            berth.commits -= 1
            self.pump()
            return
        link, now, carrier = berth.link, self._now(), berth.carrier
        batch = [
            _tuple(
                Sending,
                (message[0], message[1], carrier, now, policy, plan.route, told if told != message[3] else ""),
            )
            for message, plan, policy, told in permitted
        ]
        holder = self._store.membership.number
        try:
            moved = await self._store.sending(batch)
        except GatewayError as error:
            log.warning("sending_not_committed", extra={"link": link.name, "messages": len(batch), "why": str(error)})
            await self._put_back(berth, [message for message, *_ in permitted], opened=encode is not self._encode)
            return
        finally:
            berth.commits -= 1
        if self._store.membership.number != holder:  # it was taken from this node meanwhile
            moved = [False] * len(batch)
        if not all(moved):  # cancelled, expired or taken over while they waited here
            berth.slots -= sum([one[0].segments or 1 for one, ours in zip(permitted, moved, strict=True) if not ours])
            permitted = [one for one, ours in zip(permitted, moved, strict=True) if ours]
        submissions = self._submitter.submissions(berth, permitted, now, len(batch), encode)
        if submissions:
            link.submit(submissions)
        self.pump()

    async def _put_back(self, berth: Berth, messages: list[Waiting], *, opened: bool) -> None:
        """The store did not take it: nothing has been sent. Keep the order, and do not spin. What had been opened is
        sealed as before."""
        for message in reversed(messages):
            self._place(message._replace(segments=0) if opened else message, front=True)
            berth.slots -= message.segments or 1
        await asyncio.sleep(_RETRY_STORE_S)
        self.pump()

    def results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Take what a link has reported, before it is settled."""
        berth = self._berths.get(id(link))
        if berth is not None:
            self._router.note(berth, results, self._now())

    def release(self, attempt: Attempt) -> None:
        """The attempt is settled on disk: its slots are free."""
        if isinstance(attempt.link, Berth):
            self._release(attempt.link, attempt.slots)

    def _release(self, berth: Berth, slots: int) -> None:
        berth.slots -= slots
        self.pump()


def _nothing() -> None:
    """What has no slots releases none."""
