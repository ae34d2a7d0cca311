"""How much of each cap is used: by messages that are stored, and by those that are being stored.

A message counts in the UTC day and month in which it was accepted. It needs room under every cap that it falls under,
and takes it from all of them or from none; what is *held* while it is being stored counts as used for everybody else.
Of a spending cap it takes what the dearest carrier could bill, so that nothing that waits can overrun it; when a
carrier has taken it, or it has ended, the difference comes back (`correct`).

Belongs to one event loop. What was used before, and by other nodes, comes from the store (`gateway.usage.keeping`): a
cap of which that is not known yet refuses.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from gateway.errors import Overloaded, RateLimited
from gateway.states import Category
from gateway.store.usage import DAY, Correction
from gateway.usage.prices import MICROS, PriceTable
from gateway.validation import Draft

_EPOCH = dt.date(1970, 1, 1)
_COUNTING_RETRY_S = 1.0
_RESERVED = Draft._fields.index("reserved")  # the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """The bounds of one tenant, or of its messages of a category or to a country; None for none."""

    tenant: str
    category: int = 0
    country: str = ""
    messages_per_day: int | None = None
    messages_per_month: int | None = None
    spend_per_day: int | None = None  # micros
    spend_per_month: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapRules:
    """What a node goes by."""

    caps: Sequence[Cap] = ()
    prices: PriceTable = field(default_factory=PriceTable)
    currency: str = ""
    sealed_segments: int = 1
    alert_at: int = 80  # percent


class Period(NamedTuple):
    """Days by number, both included."""

    first: int
    last: int


def period_of(day: int, *, monthly: bool) -> Period:
    """Return the period that a day lies in: itself, or its month."""
    if not monthly:
        return Period(day, day)
    date = _EPOCH + dt.timedelta(days=day)
    following = (date.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return Period((date.replace(day=1) - _EPOCH).days, (following - _EPOCH).days - 1)


class Meter:
    """One bound of a cap in its present period (mutable; hot)."""

    __slots__ = ("cap", "delta", "held", "known", "limit", "monthly", "name", "period", "spends", "used")

    def __init__(self, cap: Cap, name: str, limit: int, day: int) -> None:
        self.cap = cap
        self.name = name
        self.limit = limit
        self.monthly = name.endswith("_month")
        self.spends = name.startswith("spend")
        self.period = period_of(day, monthly=self.monthly)
        self.used = self.held = self.delta = 0
        self.known = False  # how much was used before

    @property
    def label(self) -> str:
        """What an alert calls it."""
        scope = (Category(self.cap.category).name if self.cap.category else "", self.cap.country, self.name)
        return "/".join(filter(None, scope))

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What it is known by over changes of its limit."""
        return (self.cap.tenant, self.cap.category, self.cap.country, self.name)

    def covers(self, category: int, country: str) -> bool:
        """Say whether a message counts here."""
        return self.cap.category in (0, category) and self.cap.country in ("", country)

    def turn(self, day: int) -> None:
        """Begin a new period when the old one is over: with nothing used."""
        if day > self.period.last:
            self.period = period_of(day, monthly=self.monthly)
            self.used = self.held = self.delta = 0

    def add(self, amount: int) -> None:
        """Count what is stored, or was."""
        self.used += amount
        self.delta += amount

    def counted(self, used: int, *, shared: bool) -> None:
        """Take what the store says was used up to a moment after `delta` was set to 0. Where other nodes use of the
        same, or nothing is known, that counts; else only where nothing has moved meanwhile."""
        if shared or not self.known:
            self.used = used + self.delta
        elif not self.delta and not self.held:
            self.used = used
        self.known = True

    def refusal(self, now: int) -> Overloaded:
        """Return the error for a message that has no room here."""
        if not self.known:
            text = "what this tenant has used is being counted"
            return Overloaded(text, retry_after_s=_COUNTING_RETRY_S, reason="USAGE_UNKNOWN")
        until = (self.period.last + 1) * DAY
        what = "spending" if self.spends else "messages"
        of = f" of category {Category(self.cap.category).name}" if self.cap.category else ""
        to = f" to {self.cap.country}" if self.cap.country else ""
        when = "month" if self.monthly else "day"
        text = f"the cap of this tenant's {what}{of}{to} in a {when} is reached; the next one begins at midnight UTC"
        reason = "SPEND_CAP" if self.spends else "MESSAGE_CAP"
        return RateLimited(text, reason=reason, limit=self.name, retry_after_s=(until - now) / 1e6)


_BOUNDS = ("messages_per_day", "messages_per_month", "spend_per_day", "spend_per_month")


class Caps:
    """The caps of all tenants."""

    def __init__(self, rules: CapRules, now: int) -> None:
        """`now`: microseconds since the Unix epoch."""
        self.rules = rules
        self._meters: dict[str, tuple[Meter, ...]] = {}
        self.use(rules, now)

    def use(self, rules: CapRules, now: int) -> None:
        """Go by these rules from now on; what is known of a cap stays, whatever its limit is."""
        before = {meter.key: meter for meter in self.meters()}
        meters: dict[str, list[Meter]] = {}
        for cap in rules.caps:
            for name in _BOUNDS:
                limit = getattr(cap, name)
                if limit is not None:
                    fresh = Meter(cap, name, limit, now // DAY)
                    kept = before.get(fresh.key)
                    if kept is not None:
                        kept.cap, kept.limit = cap, limit
                    meters.setdefault(cap.tenant, []).append(kept or fresh)
        self.rules = rules
        self._meters = {tenant: tuple(each) for tenant, each in meters.items()}

    def meters(self, tenant: str = "") -> Iterable[Meter]:
        """Return the meters of a tenant, or all."""
        if tenant:
            return self._meters.get(tenant, ())
        return [meter for each in self._meters.values() for meter in each]

    @property
    def tenants(self) -> Sequence[str]:
        """The tenants that have caps."""
        return tuple(self._meters)

    def charge(self, tenant: str, now: int) -> Charge:
        """Begin to take room for messages of a tenant."""
        return Charge(self.rules, self._meters.get(tenant, ()), now)

    def correct(self, corrections: Iterable[Correction]) -> None:
        """Take what became of messages that were stored before."""
        for tenant, day, category, country, released, committed in corrections:
            for meter in self._meters.get(tenant, ()):
                if meter.period.first <= day <= meter.period.last and meter.covers(category, country):
                    meter.add(committed if meter.spends else -released)


class Charge:
    """The room that one batch holds; a context manager, at whose end what has not been taken is given back."""

    __slots__ = ("_held", "_kinds", "_meters", "_now", "_rules")

    def __init__(self, rules: CapRules, meters: Sequence[Meter], now: int) -> None:
        self._rules = rules
        self._meters = meters
        self._now = now
        self._held: list[list[tuple[Meter, int, Period]]] = []  # for each message
        self._kinds: dict[tuple[int, str], tuple[tuple[Meter, ...], bool]] = {}  # the meters of each kind of message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.release()

    def hold(self, draft: Draft) -> tuple[Draft, Overloaded | None]:
        """Hold room for one message; the message with what is reserved for it, and why there is no room, or None."""
        if not self._meters:
            return draft, None
        day = self._now // DAY
        kind = draft.category, draft.country
        if kind not in self._kinds:
            mine = tuple(meter for meter in self._meters if meter.covers(*kind))
            self._kinds[kind] = mine, any(meter.spends for meter in mine)
        mine, spends = self._kinds[kind]
        reserved = self._price(draft) if spends else 0
        taken: list[tuple[Meter, int, Period]] = []
        for meter in mine:
            if day > meter.period.last:
                meter.turn(day)
            amount = reserved if meter.spends else 1
            if not meter.known or meter.used + meter.held + amount > meter.limit:
                return draft, meter.refusal(self._now)
            taken.append((meter, amount, meter.period))
        for meter, amount, _ in taken:
            meter.held += amount
        self._held.append(taken)
        return (
            Draft._make((*draft[:_RESERVED], reserved)) if reserved else draft
        ), None  # a third of what _replace takes

    def _price(self, draft: Draft) -> int:
        """Return what the dearest carrier could bill."""
        price = self._rules.prices.dearest(draft.category, draft.recipient, draft.country, self._now)
        return price * (draft.segments or self._rules.sealed_segments)

    def drop(self) -> None:
        """Give back the room of the last message: something else has refused it."""
        if self._meters:
            self._end([self._held.pop()], [False])

    def settle(self, stored: Iterable[bool]) -> None:
        """Take the room of those messages that were stored, in the order in which they were held."""
        held, self._held = self._held, []
        self._end(held, stored)

    def release(self) -> None:
        """Give back what is held. After `settle` there is nothing to give back."""
        if self._held:
            self.settle([False] * len(self._held))

    def _end(self, held: Sequence[Sequence[tuple[Meter, int, Period]]], stored: Iterable[bool]) -> None:
        for taken, was_stored in zip(held, stored, strict=False):
            for meter, amount, period in taken:
                if meter.period == period:
                    meter.held -= amount
                    if was_stored:
                        meter.add(amount)


def amount_text(micros: int) -> str:
    """Return millionths as a decimal number, with two digits at least behind its point."""
    whole, rest = divmod(abs(micros), MICROS)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{digits}"
