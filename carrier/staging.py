"""The submissions of one link by lane: what is staged, what waits for an answer, and which goes next. Pure.

Requests (query_sm and the like) wait in a bounded queue of their own, go after all lanes, and count like lanes 2 and 3;
past submissions without end, one goes for every sixteen places.

Room is two windows, staged and unanswered together; a fifth of it, and of the window, is kept for lane 1: the others
may fill four fifths and no more. Lane 1 goes before 2 and 2 before 3; so that a full lane cannot starve a PDU that was
already taken, every sixteenth place goes to the lowest lane that waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from carrier.contract import Request, Submission

_LANES = 3
_FAIR_EVERY = 16
MAX_REQUESTS = 1000  # that wait to be written


def kept_share(slots: int) -> int:
    """Return how many of `slots` are kept for lane 1: a fifth, rounded to the nearest."""
    return (2 * slots + 5) // 10


def _always() -> bool:
    return True


class Staging:
    """Counts and queues of one link."""

    def __init__(self, window: int, may_write: Callable[[], bool] = _always) -> None:
        """`may_write` is asked before each write of submissions and requests: whether the driver still may."""
        self.may_write = may_write
        self._window = window
        self._slots = 2 * window
        self._lanes: tuple[deque[Submission], ...] = tuple(deque() for _ in range(_LANES))
        self._unanswered_first = 0
        self._unanswered_others = 0
        self._places = 0
        self._requests: deque[Request] = deque()
        self._request_place = 0  # `_places` when the last request was taken
        self._given_back: dict[int, object] = {}  # by lane: the last key of `over`, whose other parts may follow

    @property
    def staged(self) -> int:
        """Submissions taken and not written."""
        first, second, third = self._lanes
        return len(first) + len(second) + len(third)

    @property
    def unanswered(self) -> int:
        """Submissions and requests written and not answered."""
        return self._unanswered_first + self._unanswered_others

    def room(self, lane: int) -> int:
        """Return how many submissions of `lane` fit."""
        free = self._slots - self.staged - self.unanswered
        if lane == 1:
            return max(0, free)
        others = self._unanswered_others + len(self._lanes[1]) + len(self._lanes[2])
        return max(0, min(free, self._slots - kept_share(self._slots) - others))

    def add(self, batch: Iterable[Submission]) -> None:
        """Stage submissions behind those of their lane."""
        for submission in batch:
            self._lanes[min(max(submission.lane, 1), _LANES) - 1].append(submission)

    def add_requests(self, batch: Sequence[Request]) -> Sequence[Request]:
        """Queue requests, and return those beyond MAX_REQUESTS."""
        fit = max(0, MAX_REQUESTS - len(self._requests))
        self._requests.extend(batch[:fit])
        return batch[fit:]

    @property
    def requests(self) -> int:
        """Requests taken and not written."""
        return len(self._requests)

    @property
    def request_is_due(self) -> bool:
        """Whether a request waits whose fair place has come: it goes before the submissions."""
        return bool(self._requests) and self._places - self._request_place >= _FAIR_EVERY

    def take_requests(self, pace: int, limit: int = MAX_REQUESTS) -> list[Request]:
        """Take at most `limit` requests within `pace` PDUs and the window's share of lanes 2 and 3, and count them as
        unanswered."""
        window_others = self._window - kept_share(self._window) - self._unanswered_others
        room = min(pace, limit, window_others, self._window - self.unanswered)
        taken = [self._requests.popleft() for _ in range(min(max(room, 0), len(self._requests)))]
        self._unanswered_others += len(taken)
        if taken:
            self._request_place = self._places
        return taken

    def request_settled(self) -> None:
        """Count one request as ended."""
        self._unanswered_others -= 1

    def withdraw_requests(self) -> list[Request]:
        """Return the requests that wait, and forget them."""
        waiting = list(self._requests)
        self._requests.clear()
        return waiting

    def next_lane(self) -> int:
        """Return the most urgent lane that has something staged (requests count as the last), 0 for none."""
        for index, queue in enumerate(self._lanes):
            if queue:
                return index + 1
        return _LANES if self._requests else 0

    def take(self, first_pace: int, others_pace: int) -> list[Submission]:
        """Take what may be written now, in order, and count it as unanswered.

        `first_pace` is how many PDUs the pace allows altogether, `others_pace` how many of lanes 2 and 3.
        """
        taken: list[Submission] = []
        room = min(first_pace, self._window - self.unanswered)
        window_others = self._window - kept_share(self._window) - self._unanswered_others
        others = min(others_pace, window_others, room)
        first, second, third = self._lanes
        while room > 0:
            self._places += 1
            if self._places % _FAIR_EVERY == 0 and window_others > 0 and (third or second):
                queue = third or second  # the fair place has the pace of lane 1: else a full lane 1 would starve it
            elif first:
                queue = first
            elif others > 0 and (second or third):
                queue = second or third
            else:
                break
            taken.append(queue.popleft())
            room -= 1
            if queue is first:
                self._unanswered_first += 1
            else:
                others -= 1
                window_others -= 1
                self._unanswered_others += 1
        return taken

    def over(self, taken: Iterable[Submission], now: float) -> list[Submission]:
        """Return those of `taken` that are not to be written any more, and count them as ended: messages whose time was
        over before their first part was written, whole (hot)."""
        over: list[Submission] = []
        for submission in taken:
            key, part, _, lane, write_by = submission
            if write_by < now and (part == 0 or self._given_back.get(lane) is key):
                self._given_back[lane] = key
                over.append(submission)
                self.settled(lane)
        return over

    def settled(self, lane: int) -> None:
        """Count one submission of `lane` as ended."""
        if lane <= 1:
            self._unanswered_first -= 1
        else:
            self._unanswered_others -= 1

    def withdraw(self) -> list[Submission]:
        """Return what was staged and forget it; what is unanswered stays counted."""
        staged = [submission for queue in self._lanes for submission in queue]
        for queue in self._lanes:
            queue.clear()
        return staged

    def clear(self) -> list[Submission]:
        """Forget all counts too, and return what was staged; requests that wait are withdrawn apart."""
        self._unanswered_first = self._unanswered_others = 0
        return self.withdraw()
