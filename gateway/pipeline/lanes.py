"""The messages that this node holds in memory, ready to be sent: one bounded lane a category.

OTP goes before TRANSACTIONAL before PROMOTIONAL, but not always: every tenth pick begins with TRANSACTIONAL, and every
twentieth with PROMOTIONAL, so that no lane starves. What does not fit into memory waits in the store; a lane that has
messages there takes no new ones past them (`spilled`), so that each lane stays first in, first out.

Pure: no clock, no store. Times are microseconds since the epoch, as in the store.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gateway.states import Category
from gateway.store.contract import Waiting

_NEVER = 1 << 62
_ORDERS = {
    0: (Category.PROMOTIONAL, Category.OTP, Category.TRANSACTIONAL),
    10: (Category.TRANSACTIONAL, Category.OTP, Category.PROMOTIONAL),
}
_USUAL = (Category.OTP, Category.TRANSACTIONAL, Category.PROMOTIONAL)
_CYCLE = 20


class Room(NamedTuple):
    """How many PDUs a link can take: for OTP, and for everything else (a fifth less)."""

    otp: int
    others: int


class Lane:
    """One category's messages in memory, and what is known of those in the store."""

    __slots__ = ("_claiming", "_limit", "_messages", "_reserved", "next_due", "spilled")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Waiting] = deque()
        self._reserved = 0
        self._claiming = False
        self.spilled = False
        self.next_due = _NEVER

    def __len__(self) -> int:
        return len(self._messages)

    def reserve(self) -> bool:
        """Keep a place for a message that is about to be committed; False: it has to wait in the store."""
        if self.spilled or len(self._messages) + self._reserved >= self._limit:
            return False
        self._reserved += 1
        return True

    def release(self, places: int) -> None:
        """Give back places that were reserved and are not needed, or are about to be filled."""
        self._reserved -= places

    def add(self, message: Waiting) -> None:
        """Take a message that this node has claimed."""
        self._messages.append(message)

    def head(self) -> Waiting | None:
        """Return the next message without taking it."""
        return self._messages[0] if self._messages else None

    def pop(self) -> Waiting:
        """Take the next message."""
        return self._messages.popleft()

    def put_back(self, message: Waiting) -> None:
        """Put a message back to the front: it could not be handed to a link."""
        self._messages.appendleft(message)

    def note_waiting(self, due_at: int, now: int) -> None:
        """Remember that a message waits in the store until `due_at`."""
        if due_at <= now:
            self.spilled = True
        self.next_due = min(self.next_due, due_at)

    def wanted(self, now: int) -> int:
        """Return how many messages to claim from the store now; 0 while that is not worth a transaction."""
        if self._claiming or self.next_due > now:
            return 0
        free = self._limit - len(self._messages) - self._reserved
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
        self._lanes = {category: Lane(limit_per_lane) for category in Category}
        self._picks = 0

    def __getitem__(self, category: int) -> Lane:
        return self._lanes[Category(category)]

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def sizes(self) -> dict[str, int]:
        """Return how many messages each lane holds in memory."""
        return {category.name: len(lane) for category, lane in self._lanes.items()}

    def take(self, room: Room, limit: int, *, idle: bool) -> list[Waiting]:
        """Take up to `limit` messages whose parts fit into `room`, in the order of the lanes.

        A message of more parts than a whole window would never fit: an `idle` link takes one alone.
        """
        taken: list[Waiting] = []
        otp, others = room
        while len(taken) < limit:
            lane = self._next(otp, others, alone=idle and not taken)
            if lane is None:
                break
            message = lane.pop()
            self._picks += 1
            taken.append(message)
            cost = message.segments or 1
            otp -= cost
            others -= cost
        return taken

    def _next(self, otp: int, others: int, *, alone: bool) -> Lane | None:
        for category in _ORDERS.get(self._picks % _CYCLE, _USUAL):
            lane = self._lanes[category]
            head = lane.head()
            if head is None:
                continue
            if alone or (head.segments or 1) <= (otp if category is Category.OTP else others):
                return lane
        return None
