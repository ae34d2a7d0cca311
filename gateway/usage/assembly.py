"""From settings to prices and caps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

from gateway.config.schema import Settings
from gateway.config.usage_settings import CapSettings, PriceSettings, UsageSettings
from gateway.states import Category
from gateway.store.engine.engine import Engine
from gateway.usage.caps import Cap, CapRules, Caps
from gateway.usage.keeping import CapKeeper
from gateway.usage.prices import Price, PriceTable, micros
from visibility.alerts import Alerts

_EPOCH = dt.date(1970, 1, 1)


def cap_rules(settings: UsageSettings) -> CapRules:
    """Return what the settings say."""
    return CapRules(
        caps=[_cap(each) for each in settings.caps],
        prices=price_table(settings),
        currency=settings.currency or "",
        sealed_segments=settings.sealed_segments,
        alert_at=settings.alert_at,
    )


def build_keeper(settings: Settings, store: Engine, alerts: Alerts, now: Callable[[], int]) -> CapKeeper:
    """Return the keeper of the caps, told of every commit. On PostgreSQL there may be other nodes."""
    caps = Caps(cap_rules(settings.usage), now())
    keeper = CapKeeper(caps, store, alerts, now, shared=settings.store.postgres is not None)
    store.observe(keeper.committed)
    return keeper


def price_table(settings: UsageSettings) -> PriceTable:
    """Return the prices, all in the currency of the settings."""
    return PriceTable(_price(each, settings) for each in settings.prices)


def _price(price: PriceSettings, settings: UsageSettings) -> Price:
    own = price.currency in (None, settings.currency)
    rate = Decimal(1) if own else settings.rates[str(price.currency)]
    return Price(
        carrier=price.carrier,
        micros=micros(price.price, rate),
        prefix=price.prefix or "",
        country=price.country or "",
        category=int(Category[price.category]) if price.category else 0,
        valid_from=(price.valid_from - _EPOCH).days if price.valid_from else 0,
    )


def _cap(cap: CapSettings) -> Cap:
    return Cap(
        tenant=cap.tenant,
        category=int(Category[cap.category]) if cap.category else 0,
        country=cap.country or "",
        messages_per_day=cap.messages_per_day,
        messages_per_month=cap.messages_per_month,
        spend_per_day=_micros(cap.spend_per_day),
        spend_per_month=_micros(cap.spend_per_month),
    )


def _micros(amount: Decimal | None) -> int | None:
    return None if amount is None else micros(amount)
