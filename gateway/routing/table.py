"""From a message's attributes to its route: two dictionaries and a bounded, exact cache.

The recipient's number is not among the attributes: `prefix_of` reduces it to the longest prefix that any route names,
and two numbers with the same prefix have the same route. A table belongs to one configuration, and a new one gets a new
table, so there is nothing to invalidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.routing.plans import Plan, RoutePlans
from gateway.routing.routes import Route, in_order

MOST_KNOWN = 8192  # answers that are kept: about 3 MB

# (tenant, sender, category, country, prefix): what the route of a message depends on.
Attributes = tuple[str, str, int, str, str]


class RouteTable:
    """The routes of one configuration."""

    def __init__(self, routes: Sequence[Route], carriers: Sequence[str], *, most_known: int = MOST_KNOWN) -> None:
        """Without `routes`, all of `carriers` in their order are everybody's route."""
        self._default = None if routes else RoutePlans(in_order(tuple(carriers)))
        self.routes = tuple(RoutePlans(route) for route in routes)
        prefixes, countries, anywhere = _by_destination(self.routes)
        self._prefixes, self._countries, self._anywhere = prefixes, countries, anywhere
        self._chains = {prefix: _chain(prefix, prefixes) for prefix in prefixes}
        self._lengths = sorted({len(prefix) for prefix in prefixes}, reverse=True)
        self._known: dict[Attributes, RoutePlans | None] = {}
        self._most_known = most_known
        self.by_prefix = bool(prefixes)

    def prefix_of(self, number: str) -> str:
        """Return the longest prefix that a route names and `number`, in E.164, begins with; "" for none."""
        for length in self._lengths:
            if number[:length] in self._prefixes:
                return number[:length]
        return ""

    def plan(
        self, tenant: str, sender: str, category: int, country: str, prefix: str, message_id: bytes
    ) -> Plan | None:
        """Return the plan of a message (hot), None when no route is for it. `prefix` as `prefix_of` returns it."""
        if self._default is not None:
            return self._default.of(message_id)
        found = self.find((tenant, sender, category, country, prefix))
        return None if found is None else found.of(message_id)

    def find(self, attributes: Attributes) -> RoutePlans | None:
        """Return the route of messages with these attributes, None for none."""
        if self._default is not None:
            return self._default
        known = self._known
        try:
            return known[attributes]
        except KeyError:
            if len(known) >= self._most_known:
                known.clear()
            found = known[attributes] = self._looked_up(*attributes)
            return found

    def _looked_up(self, tenant: str, sender: str, category: int, country: str, prefix: str) -> RoutePlans | None:
        return next(
            (
                found
                for group in self._groups(country, prefix)
                for found in group
                if found.route.match.fits(tenant, sender, category)
            ),
            None,
        )

    def _groups(self, country: str, prefix: str) -> Iterator[Sequence[RoutePlans]]:
        """Yield the routes for a destination, the narrowest destination first."""
        for shorter in self._chains.get(prefix, ()):
            yield self._prefixes[shorter]
        yield self._countries.get(country, ())
        yield self._anywhere


def _by_destination(
    routes: Sequence[RoutePlans],
) -> tuple[Mapping[str, Sequence[RoutePlans]], Mapping[str, Sequence[RoutePlans]], Sequence[RoutePlans]]:
    """Return the routes by prefix, by country, and for anywhere; the narrowest first in each."""
    prefixes: dict[str, list[RoutePlans]] = {}
    countries: dict[str, list[RoutePlans]] = {}
    anywhere: list[RoutePlans] = []
    for plans in sorted(routes, key=lambda plans: plans.route.match.rank, reverse=True):
        match = plans.route.match
        for prefix in match.prefixes:
            prefixes.setdefault(prefix, []).append(plans)
        for country in match.countries:
            countries.setdefault(country, []).append(plans)
        if not (match.prefixes or match.countries):
            anywhere.append(plans)
    return prefixes, countries, anywhere


def _chain(prefix: str, prefixes: Mapping[str, object]) -> tuple[str, ...]:
    """Return the named prefixes of a prefix, itself first, the shortest last."""
    return tuple(prefix[:length] for length in range(len(prefix), 0, -1) if prefix[:length] in prefixes)
