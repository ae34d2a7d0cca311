"""What a link has done and how fast, counted in batches so that a message costs a fraction of an addition. Pure."""

from __future__ import annotations

from collections.abc import Iterable

SPAN_S = 10  # over which a rate is taken
MAX_STATUSES = 64  # counted apart; a carrier that invents more finds them under OTHERS
OTHERS = -1


class Rate:
    """Events a second over the last ten whole seconds."""

    def __init__(self) -> None:
        self._second = 0
        self._counts = [0] * (SPAN_S + 1)  # by second modulo; the running one among them

    def add(self, count: int, now: float) -> None:
        """Count events at `now`, monotonic seconds."""
        self._advance(int(now))
        self._counts[self._second % (SPAN_S + 1)] += count

    def per_second(self, now: float) -> float:
        """Return the mean of the whole seconds before `now`."""
        self._advance(int(now))
        return (sum(self._counts) - self._counts[self._second % (SPAN_S + 1)]) / SPAN_S

    def _advance(self, second: int) -> None:
        if second <= self._second:
            return
        for passed in range(max(self._second + 1, second - SPAN_S), second + 1):
            self._counts[passed % (SPAN_S + 1)] = 0
        self._second = second


class Meter:
    """The counts of one link, over all of its connections."""

    def __init__(self) -> None:
        self.submitted = 0
        self.answered = 0
        self.errors: dict[int, int] = {}  # by status
        self.in_doubt = 0
        self.late = 0
        self.deliveries = 0
        self.submit_rate = Rate()
        self.delivery_rate = Rate()

    def wrote(self, count: int, now: float) -> None:
        """Count submit_sm that were written."""
        self.submitted += count
        self.submit_rate.add(count, now)

    def ended(self, *, answered: int, errors: Iterable[int], in_doubt: int) -> None:
        """Count how submissions ended: `errors` are the statuses of those among the answered that were refused."""
        self.answered += answered
        self.in_doubt += in_doubt
        for status in errors:
            known = status in self.errors or len(self.errors) < MAX_STATUSES
            key = status if known else OTHERS
            self.errors[key] = self.errors.get(key, 0) + 1

    def received(self, count: int, now: float) -> None:
        """Count deliveries."""
        self.deliveries += count
        self.delivery_rate.add(count, now)

    def by_status(self) -> dict[int, int]:
        """Return how many submit_sm were answered with each status; 0 is success."""
        return {0: self.answered - sum(self.errors.values())} | self.errors
