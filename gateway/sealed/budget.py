"""How much RSA each tenant may have done: opening takes a private key operation, a millisecond and more of a core.

A token bucket for each tenant. What finds it empty waits, and is told when its turn is: one interval behind the last
that was told so, so that what waits comes back one by one, and not all of it each time. What comes back goes before
what is new. Pure: `now` is in microseconds.
"""

from __future__ import annotations

from gateway.limits.rate import Rate
from gateway.limits.token_bucket import TokenBucket

_TENANTS = 4096  # buckets that are kept; full ones are forgotten without any difference


class OpeningBudget:
    """The buckets of all tenants. Belongs to one event loop."""

    def __init__(self, rate: Rate) -> None:
        self.use(rate)

    def use(self, rate: Rate) -> None:
        """Have this rate from now on; every tenant begins with a full bucket."""
        self._rate = rate
        self._interval = max(1, rate.period_us // rate.count)
        self._buckets: dict[str, TokenBucket] = {}
        self._queued_until: dict[str, int] = {}

    def take(self, tenant: str, now: int, *, returns: bool) -> int:
        """Take one opening and return 0; or take none, and return when to come back. `returns`: it has waited."""
        turn = self._queued_until.get(tenant, 0)
        wait = 0
        if returns or turn <= now:
            bucket = self._buckets.get(tenant) or self._bucket(tenant, now)
            wait = bucket.take(1, now)
            if not wait:
                return 0
        self._queued_until[tenant] = turn = max(turn + self._interval, now + wait)
        return turn

    def _bucket(self, tenant: str, now: int) -> TokenBucket:
        if len(self._buckets) >= _TENANTS:
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.idle(now)}
            self._queued_until = {name: turn for name, turn in self._queued_until.items() if turn > now}
        bucket = self._buckets[tenant] = TokenBucket(self._rate, now)
        return bucket
