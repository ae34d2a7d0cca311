"""The rules that concern routes as a whole, and from their settings to `gateway.routing.routes`. None opens a file."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Sequence
from itertools import combinations

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from gateway.config.route_settings import RouteSettings, TargetSettings
from gateway.destinations import destination
from gateway.routing.hours import ever_closed
from gateway.routing.routes import Match, Route, Strategy, Target
from gateway.senders import sender_fault
from gateway.states import Category

Finding = tuple[str, str]

_COUNTRIES = frozenset(region for regions in COUNTRY_CODE_TO_REGION_CODE.values() for region in regions) | {"ZZ"}
_SHORTEST_CHECKED = 4  # characters: a calling code has at most three digits


def route_findings(
    routes: Sequence[RouteSettings], carriers: Sequence[str], tenants: Sequence[str]
) -> Iterator[Finding]:
    """Yield what is wrong with routes: (key, what is wrong and what to do)."""
    for at, route in enumerate(routes):
        where = f"routes[{at}]"
        if route.name in [other.name for other in routes[:at]]:
            yield f"{where}.name", f"{route.name} stands here a second time"
        for index, tenant in enumerate(route.tenants):
            if tenant not in tenants:
                yield f"{where}.tenants[{index}]", f"there is no tenant {tenant} under tenants"
        for key, text in (*_destinations(route), *_targets(route, carriers)):
            yield f"{where}.{key}", text
    for (one, first), (two, second) in combinations(enumerate(routes), 2):
        if found := _overlap(first, second):
            text = (
                f"{found} fit routes[{one}] ({first.name}) as well, and neither is the narrower one: add a condition "
                "to one of the two, or take what both have out of one"
            )
            yield f"routes[{two}]", text


def _destinations(route: RouteSettings) -> Iterator[Finding]:
    for index, prefix in enumerate(route.prefixes):
        if len(prefix) >= _SHORTEST_CHECKED and destination(prefix) is None:
            yield f"prefixes[{index}]", f"{prefix} begins with a country calling code that is not assigned"
    for index, country in enumerate(route.countries):
        if country not in _COUNTRIES:
            yield f"countries[{index}]", f"{country} is no country that has a calling code"
    if route.timezone and not _is_zone(route.timezone):
        yield "timezone", f"{route.timezone} is no time zone that this system knows; is the package tzdata installed?"


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _targets(route: RouteSettings, carriers: Sequence[str]) -> Iterator[Finding]:
    names = [target.carrier for target in route.targets]
    for at, target in enumerate(route.targets):
        where = f"targets[{at}]"
        if target.carrier not in carriers:
            yield f"{where}.carrier", f"there is no carrier {target.carrier} under carriers"
        if target.carrier in names[:at]:
            yield (
                f"{where}.carrier",
                f"{target.carrier} is a target of this route already; a route names a carrier once",
            )
        for key, text in (*_price(target, route.strategy), *_senders(target)):
            yield f"{where}.{key}", text
        if target.when and not ever_closed(target.when):
            yield f"{where}.when", "leaves out no minute of the week: remove it"


def _price(target: TargetSettings, strategy: Strategy) -> Iterator[Finding]:
    if strategy is Strategy.LEAST_COST and target.cost is None:
        yield "cost", "is missing: strategy least_cost compares costs"
    if strategy is Strategy.LEAST_COST and target.weight != 1:
        yield "weight", "counts with strategy weighted only; remove it, or change the strategy"


def _senders(target: TargetSettings) -> Iterator[Finding]:
    told = {"sender": target.sender} if target.sender is not None else {}
    told |= {f"senders.{sender}": other for sender, other in target.senders.items()}
    for key, sender in told.items():
        fault = sender_fault(sender)
        if fault is not None:
            yield key, fault.description


def _overlap(first: RouteSettings, second: RouteSettings) -> str:
    """Return what two routes claim both, neither being the narrower; "" for nothing."""
    one, two = match_of(first), match_of(second)
    if one.rank != two.rank:
        return ""
    alike = ((one.senders, two.senders), (one.categories, two.categories), (one.tenants, two.tenants))
    if any(mine and theirs and not mine & theirs for mine, theirs in alike):
        return ""
    anywhere = not (one.prefixes or one.countries or two.prefixes or two.countries)
    both = sorted(one.prefixes & two.prefixes) + sorted(one.countries & two.countries)
    if both:
        return f"messages to {', '.join(both)}"
    return "messages to anywhere" if anywhere else ""


def match_of(route: RouteSettings) -> Match:
    """Return which messages a route is for."""
    return Match(
        prefixes=frozenset(route.prefixes),
        countries=frozenset(route.countries),
        senders=frozenset(route.senders),
        categories=frozenset(int(Category[name]) for name in route.categories),
        tenants=frozenset(route.tenants),
    )


def routes_of(routes: Sequence[RouteSettings], timezone: str) -> tuple[Route, ...]:
    """Return the routes as they are worked by; `timezone` is that of routes that name none."""
    return tuple(
        Route(
            name=route.name,
            match=match_of(route),
            strategy=route.strategy,
            targets=tuple(_target(target, route.timezone or timezone) for target in route.targets),
        )
        for route in routes
    )


def _target(target: TargetSettings, timezone: str) -> Target:
    return Target(
        carrier=target.carrier,
        priority=target.priority,
        weight=target.weight,
        cost=target.cost or 0.0,
        sender=target.sender or "",
        senders=target.senders,
        hours=target.when,
        timezone=timezone,
    )
