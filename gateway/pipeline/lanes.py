"""The messages that this node holds in memory, ready to be sent: one bounded lane a category, a queue in it a plan.

OTP goes before TRANSACTIONAL before PROMOTIONAL, but not always: every tenth pick begins with TRANSACTIONAL, and every
twentieth with PROMOTIONAL, so that no lane starves. Within a lane, messages of one plan (`gateway.routing.plans`) stay
first in, first out, and plans take turns: those that wait for one carrier do not stand in the way of those for another.
What does not fit into memory waits in the store; a lane that has messages there takes no new ones past them
(`spilled`).

Pure: no clock, no store. Times are microseconds since the epoch, as in the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.pipeline.berths import Room
from gateway.routing.plans import Plan
from gateway.states import Category
from gateway.store.contract import Waiting

_NEVER = 1 << 62
_ORDERS = {
    0: (Category.PROMOTIONAL, Category.OTP, Category.TRANSACTIONAL),
    10: (Category.TRANSACTIONAL, Category.OTP, Category.PROMOTIONAL),
}
_USUAL = (Category.OTP, Category.TRANSACTIONAL, Category.PROMOTIONAL)
_CYCLE = 20
_TURN = 16  # messages that a plan has out of its lane before the next one has its turn

# A message with its plan. A plain tuple: there is one for each message.
Pick = tuple[Waiting, Plan]


class Queue:
    """The messages of one lane and plan, first in, first out."""

    __slots__ = ("messages", "plan", "turn")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.messages: deque[Waiting] = deque()
        self.turn = 0  # picks of the present turn


# What waits for one carrier: for each category, queues in the order of their turns, each with the time before which a
# message has to have been due. Those for which the carrier is the first come before those that it may help out.
Offers = dict[int, deque[tuple[Queue, int]]]


class Waits(NamedTuple):
    """What becomes of messages that have waited for their first carrier for too long: which others may take those of a
    plan, and by category since when they must have been due."""

    others: Callable[[Plan], Sequence[str]]
    due_before: Mapping[int, int]


def _no_others(plan: Plan) -> Sequence[str]:
    del plan
    return ()


NO_WAITS = Waits(_no_others, {})


class Lane:
    """One category's messages in memory, and what is known of those in the store."""

    __slots__ = ("_claiming", "_limit", "_reserved", "next_due", "queues", "size", "spilled")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.queues: dict[Plan, Queue] = {}  # none is empty; in the order of their turns
        self.size = 0
        self._reserved = 0
        self._claiming = False
        self.spilled = False
        self.next_due = _NEVER

    def __len__(self) -> int:
        return self.size

    def reserve(self) -> bool:
        """Keep a place for a message that is about to be committed; False: it has to wait in the store."""
        if self.spilled or self.size + self._reserved >= self._limit:
            return False
        self._reserved += 1
        return True

    def release(self, places: int) -> None:
        """Give back places that were reserved and are not needed, or are about to be filled."""
        self._reserved -= places

    def add(self, message: Waiting, plan: Plan) -> None:
        """Take a message that this node has claimed."""
        self._queue(plan).messages.append(message)
        self.size += 1

    def put_back(self, message: Waiting, plan: Plan) -> None:
        """Put a message back to the front of its plan: it could not be handed to a link."""
        self._queue(plan).messages.appendleft(message)
        self.size += 1

    def _queue(self, plan: Plan) -> Queue:
        queue = self.queues.get(plan)
        if queue is None:
            queue = self.queues[plan] = Queue(plan)
        return queue

    def taken(self, queue: Queue, before: int) -> None:
        """A queue of so many messages has been taken from: put it behind the others, or away when it is empty."""
        self.size -= before - len(queue.messages)
        queue.turn = 0
        del self.queues[queue.plan]
        if queue.messages:
            self.queues[queue.plan] = queue

    @property
    def oldest(self) -> int | None:
        """When the message was due that has been due for the longest, of those in memory; None when there is none."""
        return min((queue.messages[0].due_at for queue in self.queues.values()), default=None)

    @property
    def crowded(self) -> bool:
        """Whether it is at least half full while more is due in the store: nothing is claimed then."""
        return self.spilled and self.size * 2 > self._limit

    def empty_plan(self, plan: Plan) -> Sequence[Waiting]:
        """Take out everything of one plan, in order."""
        messages = self.queues.pop(plan).messages
        self.size -= len(messages)
        return messages

    def cut_plan(self, plan: Plan, keep: int) -> Sequence[Waiting]:
        """Take out all but the first `keep` of one plan, those that came last first; `keep` is 1 or more."""
        messages = self.queues[plan].messages
        cut = [messages.pop() for _ in range(len(messages) - keep)]
        self.size -= len(cut)
        return cut

    def empty(self) -> Iterator[Pick]:
        """Take out everything, in order within each plan."""
        queues, self.queues, self.size = self.queues, {}, 0
        for queue in queues.values():
            for message in queue.messages:
                yield message, queue.plan

    def note_waiting(self, due_at: int, now: int) -> None:
        """Remember that a message waits in the store until `due_at`."""
        if due_at <= now:
            self.spilled = True
        self.next_due = min(self.next_due, due_at)

    def wanted(self, now: int) -> int:
        """Return how many messages to claim from the store now; 0 while that is not worth a transaction."""
        if self._claiming or self.next_due > now:
            return 0
        free = self._limit - self.size - self._reserved
        return free if free * 2 >= self._limit else 0

    def begin_claim(self) -> None:
        """A claim is on its way: `wanted` is 0 until `end_claim`. What is noted meanwhile counts anew."""
        self._claiming = True
        self.next_due = _NEVER

    def end_claim(self, *, exhausted: bool, next_due: int | None, now: int) -> None:
        """The claim is over; `exhausted`: the store had no more that were due; `next_due`: the earliest left there."""
        self._claiming = False
        self.spilled = not exhausted or self.next_due <= now
        if not exhausted:
            self.next_due = now
        elif next_due is not None:
            self.note_waiting(next_due, now)


class Lanes:
    """The lanes together, and the order in which links are served from them."""

    def __init__(self, limit_per_lane: int) -> None:
        self._lanes: dict[int, Lane] = {category: Lane(limit_per_lane) for category in Category}
        self._picks = 0

    def __getitem__(self, category: int) -> Lane:
        return self._lanes[category]

    def __len__(self) -> int:
        return sum(lane.size for lane in self._lanes.values())

    def empty(self) -> Iterator[Pick]:
        """Take out everything."""
        for lane in self._lanes.values():
            yield from lane.empty()

    def sizes(self) -> dict[str, int]:
        """Return how many messages each lane holds in memory."""
        return {category.name: self._lanes[category].size for category in Category}

    def oldest(self) -> dict[str, int]:
        """Return when the oldest message of each lane was due, of those in memory; lanes without any are left out."""
        heads = ((category.name, self._lanes[category].oldest) for category in Category)
        return {name: due_at for name, due_at in heads if due_at is not None}

    def offers(self, first: Callable[[Plan], str], waits: Waits = NO_WAITS) -> dict[str, Offers]:
        """Return what waits for each carrier; `first` says which carrier a plan's messages are for, "" for none."""
        found: dict[str, Offers] = {}
        late: list[tuple[int, Queue, int]] = []
        for category, lane in self._lanes.items():
            before = waits.due_before.get(category, 0)
            for plan, queue in lane.queues.items():
                carrier = first(plan)
                if carrier:
                    found.setdefault(carrier, {}).setdefault(category, deque()).append((queue, _NEVER))
                if queue.messages[0].due_at < before:
                    late.append((category, queue, before))
        for category, queue, before in late:
            for carrier in waits.others(queue.plan):
                found.setdefault(carrier, {}).setdefault(category, deque()).append((queue, before))
        return found

    def take(self, offers: Offers, room: Room, limit: int, *, idle: bool) -> list[Pick]:
        """Take up to `limit` messages whose parts fit into `room` out of what waits for a carrier, in the order of the
        lanes.

        A message of more parts than a whole window would never fit: an `idle` link takes one alone.
        """
        taken: list[Pick] = []
        served: dict[Queue, tuple[int, int]] = {}  # its category, and how many it had
        otp, others = room
        while len(taken) < limit:
            found = self._next(offers, otp, others, alone=idle and not taken)
            if found is None:
                break
            category, turns = found
            queue, before = turns[0]
            if queue not in served:
                served[queue] = category, len(queue.messages)
            message = queue.messages.popleft()
            self._picks += 1
            taken.append((message, queue.plan))
            cost = message.segments or 1
            otp -= cost
            others -= cost
            queue.turn += 1
            if not queue.messages or queue.turn >= _TURN:
                queue.turn = 0
                turns.popleft()
                if queue.messages:
                    turns.append((queue, before))
        for queue, (category, had) in served.items():
            self[category].taken(queue, had)
        return taken

    def _next(
        self, offers: Offers, otp: int, others: int, *, alone: bool
    ) -> tuple[int, deque[tuple[Queue, int]]] | None:
        """Return the category whose turn it is among those whose next message fits, with its queues."""
        for category in _ORDERS.get(self._picks % _CYCLE, _USUAL):
            turns = offers.get(category)
            while turns and (not turns[0][0].messages or turns[0][0].messages[0].due_at >= turns[0][1]):
                turns.popleft()  # another carrier has taken the rest of it, or what is left has not waited for long
            if not turns:
                continue
            head = turns[0][0].messages[0]
            if alone or (head.segments or 1) <= (otp if category is Category.OTP else others):
                return category, turns
        return None
