"""How often `wait` looks at a message. Sans-IO."""

from __future__ import annotations

import grpc

from smsgw.client.errors import TimedOut
from smsgw.client.messages import MessageStatus

_FIRST_S = 0.1
_LONGEST_S = 5.0
_GROWTH = 1.5


class Looks:
    """The looks at one message, each some later than the one before: never more than half of the time too late."""

    def __init__(self, deadline: float) -> None:
        """`deadline`: monotonic seconds."""
        self._deadline = deadline
        self._pause_s = _FIRST_S

    def left_s(self, now: float) -> float:
        """Return the seconds left."""
        return self._deadline - now

    def pause_s(self, now: float) -> float | None:
        """Return the seconds until the next look, None when time is up."""
        left_s = self.left_s(now)
        if left_s <= 0:
            return None
        pause_s, self._pause_s = min(self._pause_s, left_s), min(_LONGEST_S, self._pause_s * _GROWTH)
        return pause_s


def not_final(status: MessageStatus) -> TimedOut:
    """Return the error of a wait whose time is up."""
    return TimedOut(
        grpc.StatusCode.DEADLINE_EXCEEDED, "NOT_FINAL", f"the message {status.id} is still {status.state}: wait longer"
    )
