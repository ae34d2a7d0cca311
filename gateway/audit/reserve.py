"""The room that the audit has on its disk, and what may still use it.

    PLENTY     everything is recorded
    RESERVED   less than the reserve is free: denials leave one record a window, however many there are; what is
               accepted goes on, and is recorded as ever
    SPENT      less than the least is free: nothing new is accepted, since soon nothing could be recorded of it;
               outcomes of what was accepted before are still recorded

It comes back by itself, a tenth above the bound at which it went. It must not know how room is measured.
"""

from __future__ import annotations

import enum

from gateway.errors import Unavailable


class Room(enum.IntEnum):
    """How much there is."""

    PLENTY = 0
    RESERVED = 1
    SPENT = 2


class Reserve:
    """What was seen last. Without bounds there is always plenty."""

    def __init__(self, *, reserve_bytes: int = 0, least_bytes: int = 0) -> None:
        """`reserve_bytes`: what denials may not use; `least_bytes`: what new messages may not."""
        self._bounds = {Room.SPENT: least_bytes, Room.RESERVED: max(reserve_bytes, least_bytes)}
        self.room = Room.PLENTY

    def bound(self, room: Room) -> int:
        """Return how many octets have to be free for better than RESERVED, or SPENT."""
        return self._bounds[room]

    def judge(self, free_bytes: int) -> Room:
        """Return what so much that is free amounts to. To get out of it again takes a tenth more: a disk at the bound
        would go to and fro."""
        for room, bound in self._bounds.items():
            if free_bytes < (bound if self.room < room else bound + bound // 10):
                return room
        return Room.PLENTY

    def look(self, free_bytes: int) -> Room:
        """Take note of how much is free."""
        self.take(self.judge(free_bytes))
        return self.room

    def take(self, room: Room) -> None:
        """Take note of how much room there is."""
        self.room = room

    def require(self) -> None:
        """Raise Unavailable (AUDIT_UNAVAILABLE) when nothing new may be accepted."""
        if self.room is Room.SPENT:
            raise Unavailable("the audit has no room on its disk: nothing is accepted", reason="AUDIT_UNAVAILABLE")
