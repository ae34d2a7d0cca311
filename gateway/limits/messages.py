"""What may be sent: by one caller, by one tenant, and from one tenant to one recipient.

A message needs room in all three, and takes it from all three or from none. Room is *held* while the message is being
stored, and taken by the commit: a replay of an idempotency key, or a message that could not be stored, takes nothing.
What is held counts as taken for everybody else, so that what is taken never exceeds `rate * t + burst`.

Nodes that share a database have equal slices of each limit, for as long as they are registered. So all of them together
keep to `rate * t + burst`, or to one message a node at once where the burst is smaller than that; and beyond it, to a
slice of the burst for each node that has come, or gone, within the time in which a burst fills again.

A batch holds its room at the caller and the tenant at once. Recipients are counted in a sketch, since there are more of
them than a table could hold; they are told apart by Python's own hash, which is keyed anew in every process.
"""

# ruff: noqa: FURB136 -- a call of min or max costs three times as much as the comparison

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from gateway.errors import RateLimited
from gateway.limits.gcra import Gcra
from gateway.limits.rate import Rate
from gateway.limits.refusals import refusal, table_full
from gateway.limits.sketch import Sketch
from gateway.limits.table import Table, TableFull

CALLER, TENANT, RECIPIENT = "messages_per_caller", "messages_per_tenant", "messages_per_recipient"

DEFAULT_ACCOUNTS = 65_536
DEFAULT_PLACES = 1 << 21  # 16 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRates:
    """The rates of one tenant: of each of its callers, of itself, and to each recipient."""

    caller: Rate
    tenant: Rate
    recipient: Rate


class _Account:
    """What a caller or a tenant has sent (its horizon, see `gateway.limits.gcra`), and what is held for it."""

    __slots__ = ("gcra", "held", "horizon")

    def __init__(self, gcra: Gcra) -> None:
        self.gcra = gcra
        self.horizon = 0
        self.held = 0

    def follow(self, gcra: Gcra) -> None:
        """Count by this rate: another one than before begins with its burst, since its horizons are other ticks."""
        if gcra is not self.gcra:
            self.gcra, self.horizon = gcra, 0

    def room(self, now: int) -> int:
        """Return how many messages may be held besides those that are."""
        return self.gcra.room(self.horizon, now) - self.held

    def wait(self, messages: int, now: int) -> int:
        """Return in how many µs `messages` fit, should all that is held be taken."""
        horizon = self.gcra.after(self.horizon, self.held, now)
        return self.gcra.wait(horizon, messages, now)

    def take(self, messages: int, now: int) -> None:
        """Take what has been held."""
        self.horizon = self.gcra.after(self.horizon, messages, now)


class _Rates:
    """The arithmetic of one tenant's rates."""

    __slots__ = ("caller", "rates", "recipient", "tenant")

    def __init__(self, rates: MessageRates, nodes: int) -> None:
        self.rates = rates
        self.caller = Gcra(rates.caller, nodes)
        self.tenant = Gcra(rates.tenant, nodes)
        self.recipient = Gcra(rates.recipient.of_whole_microseconds(), nodes)

    def share(self, nodes: int) -> None:
        """Be a slice of each of the rates."""
        for gcra in (self.caller, self.tenant, self.recipient):
            gcra.share(nodes)


class MessageLimits:
    """The limits of all messages of this node. Belongs to one event loop."""

    def __init__(
        self,
        rates: MessageRates,
        tenants: Mapping[str, MessageRates] | None = None,
        *,
        accounts: int = DEFAULT_ACCOUNTS,
        places: int = DEFAULT_PLACES,
    ) -> None:
        """Args:
        rates: of tenants that have none of their own.
        tenants: of those that have.
        accounts: of how many callers, and of how many tenants, something is remembered at a time.
        places: of the sketch of recipients, see `Sketch`.
        """
        self._nodes = 1
        self._rates = _Rates(rates, 1)
        self._of_tenant: dict[str, _Rates] = {}
        self.use(rates, tenants or {})
        self._callers: Table[str, _Account] = Table(accounts, _idle)
        self._tenants: Table[str, _Account] = Table(accounts, _idle)
        self._sketch = Sketch(places)
        self._held: dict[int, int] = {}  # by recipient; bounded by the messages that are being stored

    def use(self, rates: MessageRates, tenants: Mapping[str, MessageRates]) -> None:
        """Go by these rates from now on. Whose rates differ from before begins with its burst; what a recipient has got
        counts on by the rate that it had then."""
        known = {each.rates: each for each in (self._rates, *self._of_tenant.values())}
        self._rates = known.get(rates) or _Rates(rates, self._nodes)
        self._of_tenant = {name: known.get(own) or _Rates(own, self._nodes) for name, own in tenants.items()}

    def share(self, nodes: int) -> None:
        """Be one of so many nodes from now on, each with an equal slice of every limit."""
        self._nodes = nodes
        for rates in (self._rates, *self._of_tenant.values()):
            rates.share(nodes)

    def admission(self, tenant: str, caller: str, messages: int, now: int) -> Admission:
        """Hold room for up to `messages` of one caller (its SPIFFE ID), until the admission is settled or released.

        Raises Overloaded (LIMIT_TABLE_FULL) when there is no room to remember one more caller.
        """
        rates = self._of_tenant.get(tenant, self._rates)
        try:
            of_caller = self._callers.states.get(caller) or self._callers.add(caller, _Account(rates.caller), now)
            of_tenant = self._tenants.states.get(tenant) or self._tenants.add(tenant, _Account(rates.tenant), now)
        except TableFull:
            raise table_full() from None
        of_caller.follow(rates.caller)
        of_tenant.follow(rates.tenant)
        return Admission(self._sketch, self._held, rates, (of_caller, of_tenant), tenant, messages, now)


def _idle(account: _Account, now: int) -> bool:
    return not account.held and account.gcra.idle(account.horizon, now)


class Admission:
    """The room that one batch holds; a context manager, at whose end what has not been taken is given back.

    Made for each batch, asked for each message: this is the hot path.
    """

    __slots__ = (
        "_accounts",
        "_full",
        "_granted",
        "_held",
        "_horizon",
        "_interval",
        "_keys",
        "_latest",
        "_now",
        "_over",
        "_rates",
        "_sketch",
        "_tenant",
        "_turned_away",
    )

    def __init__(
        self,
        sketch: Sketch,
        held: dict[int, int],
        rates: _Rates,
        accounts: tuple[_Account, _Account],
        tenant: str,
        messages: int,
        now: int,
    ) -> None:
        of_caller, of_tenant = accounts
        for_caller, for_tenant = of_caller.room(now), of_tenant.room(now)
        self._over = CALLER if for_caller <= for_tenant else TENANT  # which of them ends first
        self._granted = max(0, min(messages, for_caller, for_tenant))
        self._turned_away = messages - self._granted
        self._sketch, self._held, self._rates, self._accounts, self._tenant = sketch, held, rates, accounts, tenant
        self._now = now
        self._horizon = sketch.horizon
        self._interval = rates.recipient.interval
        self._latest = now + rates.recipient.tolerance
        self._keys: list[int] = []
        self._full: RateLimited | None = None
        of_caller.held += self._granted
        of_tenant.held += self._granted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.release()

    def hold(self, recipient: str) -> RateLimited | None:
        """Hold room for one message; None, or why there is none. `recipient` is a number in E.164."""
        keys = self._keys
        if len(keys) >= self._granted:
            return self._account_full()
        key = hash((self._tenant, recipient))
        held, now = self._held, self._now
        others = held.get(key, 0)
        horizon = self._horizon(key)
        if (horizon if horizon > now else now) + (others + 1) * self._interval > self._latest:
            return self._recipient_full(horizon, others)
        held[key] = others + 1
        keys.append(key)
        return None

    def settle(self, stored: Iterable[bool], now: int) -> None:
        """Take the room of those messages that were stored, in the order in which they were held; the others' is
        given back. `now` is the time of that."""
        taken = 0
        spend, held, interval = self._sketch.spend, self._held, self._interval
        for key, was_stored in zip(self._keys, stored, strict=True):
            others = held.pop(key) - 1
            if others:
                held[key] = others
            if was_stored:
                taken += 1
                spend(key, interval, now)
        for account in self._accounts:
            account.held -= self._granted
            account.take(taken, now)
        self._keys, self._granted = [], 0

    def release(self) -> None:
        """Give back what is held, as when nothing was stored. After `settle`, there is nothing to give back."""
        if self._granted:
            self.settle([False] * len(self._keys), self._now)

    def _account_full(self) -> RateLimited:
        """Return the refusal of all that the caller or the tenant has no room for, with the time until they all fit."""
        if self._full is not None:
            return self._full
        of_caller, of_tenant = self._accounts
        rates = self._rates.rates
        account, rate = (of_caller, rates.caller) if self._over == CALLER else (of_tenant, rates.tenant)
        self._full = refusal(self._over, rate, account.wait(max(1, self._turned_away), self._now))
        return self._full

    def _recipient_full(self, horizon: int, others: int) -> RateLimited:
        gcra = self._rates.recipient
        wait = gcra.wait(gcra.after(horizon, others, self._now), 1, self._now)
        return refusal(RECIPIENT, self._rates.rates.recipient, wait)
