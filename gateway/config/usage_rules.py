"""The rules of prices and caps that concern more than one setting."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.config.usage_settings import CapSettings, UsageSettings

Finding = tuple[str, str]


def usage_findings(usage: UsageSettings, carriers: Collection[str], tenants: Collection[str]) -> Iterator[Finding]:
    """Yield what is wrong with prices and caps, by key."""
    yield from _prices(usage, carriers)
    seen: set[tuple[object, ...]] = set()
    for at, cap in enumerate(usage.caps):
        where = f"usage.caps[{at}]"
        if cap.tenant not in tenants:
            yield f"{where}.tenant", f"there is no tenant {cap.tenant} under tenants"
        scope = (cap.tenant, cap.category, cap.country)
        if scope in seen:
            yield where, f"{cap.tenant} has a cap of this category and country already: put both into one"
        seen.add(scope)
        yield from _cap(usage, cap, where, carriers)


def _prices(usage: UsageSettings, carriers: Collection[str]) -> Iterator[Finding]:
    if usage.prices and usage.currency is None:
        yield "usage.currency", "is missing: prices need it"
    if usage.currency in usage.rates:
        yield f"usage.rates.{usage.currency}", "is usage.currency itself: remove it"
    seen: set[tuple[object, ...]] = set()
    for at, price in enumerate(usage.prices):
        where = f"usage.prices[{at}]"
        if price.carrier not in carriers:
            yield f"{where}.carrier", f"there is no carrier {price.carrier} under carriers"
        if price.prefix and price.country:
            yield f"{where}.country", "stands beside a prefix, which decides alone: remove one of the two"
        if price.currency not in (None, usage.currency) and price.currency not in usage.rates:
            yield f"{where}.currency", f"usage.rates has no rate of {price.currency}"
        key = (price.carrier, price.prefix, price.country, price.category, price.valid_from)
        if key in seen:
            yield where, "is a second price for the same: remove one of the two"
        seen.add(key)


def _cap(usage: UsageSettings, cap: CapSettings, where: str, carriers: Collection[str]) -> Iterator[Finding]:
    bounds = (cap.messages_per_day, cap.messages_per_month, cap.spend_per_day, cap.spend_per_month)
    if all(bound is None for bound in bounds):
        yield where, "bounds nothing: set messages_per_day, messages_per_month, spend_per_day or spend_per_month"
    for name in ("spend_per_day", "spend_per_month"):
        if getattr(cap, name) is not None:
            for carrier in unpriced(usage, carriers):
                text = f"cannot hold while {carrier} has no price for every number: give it one without prefix, "
                yield f"{where}.{name}", f"{text}country, category and valid_from"


def unpriced(usage: UsageSettings, carriers: Collection[str]) -> list[str]:
    """Return the carriers without a price that fits everything, at any time."""
    whole = {p.carrier for p in usage.prices if not (p.prefix or p.country or p.category or p.valid_from)}
    return [carrier for carrier in carriers if carrier not in whole]
