"""Routes as they are written, and what is refused of them, with file, line and key."""

from __future__ import annotations

import pytest

from gateway.routing.hours import Hours
from gateway.routing.routes import Strategy
from gateway.states import Category
from tests.gateway.config.conftest import MINIMAL, Load, Problems

BASE = """\
tenants: [{name: demo, spiffe_ids: [spiffe://example.org/demo]}]
carriers:
  - {name: acme, host: a.example, system_id: me, password_file: secret}
  - {name: other, host: b.example, system_id: me, password_file: secret}
routes:
"""
ROUTES_LINE = 8  # the first line behind `routes:` in MINIMAL + BASE


def test_a_route_with_everything(loaded: Load) -> None:
    """Every setting arrives where the router reads it."""
    (route,) = loaded(
        BASE
        + """\
  - name: india
    prefixes: [+9198, "+9199"]
    countries: [IN]
    senders: [ACME]
    categories: [OTP, TRANSACTIONAL]
    tenants: [demo]
    strategy: least_cost
    timezone: Asia/Kolkata
    targets:
      - {carrier: acme, cost: 0.12, sender: ACMEIN, when: [mon-fri 09:00-21:00]}
      - {carrier: other, cost: 0.2, priority: 2, senders: {ACME: ACME2}}
"""
    ).routes
    assert route.match.prefixes == {"+9198", "+9199"}
    assert [set(route.match.countries), set(route.match.tenants)] == [{"IN"}, {"demo"}]
    assert route.match.senders == {"ACME"}
    assert route.match.categories == {Category.OTP, Category.TRANSACTIONAL}
    assert route.strategy is Strategy.LEAST_COST
    first, second = route.targets
    assert (first.carrier, first.cost, first.priority, first.timezone) == ("acme", 0.12, 1, "Asia/Kolkata")
    assert first.hours == (Hours(frozenset(range(1, 6)), 540, 1260),)
    assert [first.told("ACME"), second.told("ACME"), second.told("X")] == ["ACMEIN", "ACME2", "X"]


def test_hours_are_told_in_the_time_zone_of_policies_unless_a_route_names_one(loaded: Load) -> None:
    """One place says which clock counts, and a route may say otherwise."""
    added = (
        BASE + "  - {name: r, targets: [{carrier: acme, when: ['09:00-21:00']}]}\npolicy: {timezone: Europe/Berlin}\n"
    )
    assert loaded(added).routes[0].targets[0].timezone == "Europe/Berlin"


def test_no_routes(loaded: Load) -> None:
    """A configuration of before has none."""
    assert loaded("").routes == ()


@pytest.mark.parametrize(
    ("route", "key", "text"),
    [
        ("{name: r, targets: []}", "targets", "wants 1 to 16 entries"),
        ("{name: r}", "targets", "is missing"),
        ("{name: r, targets: [{carrier: nobody}]}", "targets[0].carrier", "no carrier nobody"),
        ("{name: r, targets: [{carrier: acme}, {carrier: acme}]}", "targets[1].carrier", "once"),
        ("{name: r, tenants: [shop], targets: [{carrier: acme}]}", "tenants[0]", "no tenant shop"),
        ("{name: r, prefixes: [+999], targets: [{carrier: acme}]}", "prefixes[0]", "not assigned"),
        ("{name: r, prefixes: [+49151234], targets: [{carrier: acme}]}", "prefixes[0]", "characters"),
        ("{name: r, prefixes: [49], targets: [{carrier: acme}]}", "prefixes[0]", "plus sign"),
        ("{name: r, countries: [XX], targets: [{carrier: acme}]}", "countries[0]", "XX is no country"),
        ("{name: r, countries: [de], targets: [{carrier: acme}]}", "countries[0]", "capital"),
        ("{name: r, timezone: Mars/Base, targets: [{carrier: acme}]}", "timezone", "no time zone"),
        ("{name: r, strategy: least_cost, targets: [{carrier: acme}]}", "targets[0].cost", "missing"),
        ("{name: r, strategy: least_cost, targets: [{carrier: acme, cost: 1, weight: 2}]}", "targets[0].weight", "wei"),
        ("{name: r, strategy: random, targets: [{carrier: acme}]}", "strategy", "weighted or least_cost"),
        ("{name: r, targets: [{carrier: acme, sender: TWELVELETTER}]}", "targets[0].sender", "at most 11"),
        ("{name: r, targets: [{carrier: acme, senders: {ACME: '12'}}]}", "targets[0].senders.ACME", "short code"),
        ("{name: r, targets: [{carrier: acme, when: [weekdays]}]}", "targets[0].when[0]", "mon-fri 09:00-21:00"),
        ("{name: r, targets: [{carrier: acme, when: ['00:00-24:00']}]}", "targets[0].when", "remove it"),
        ("{name: r, carrier: acme, targets: [{carrier: acme}]}", "carrier", "is no setting"),
    ],
)
def test_what_is_refused_of_a_route(problems: Problems, route: str, key: str, text: str) -> None:
    """Each fault is told once, at its line, with the key and what to do."""
    ((line, where, told),) = problems(MINIMAL + BASE + f"  - {route}\n")
    assert (line, where) == (ROUTES_LINE, f"routes[0].{key}")
    assert text in told


def test_a_name_twice(problems: Problems) -> None:
    """A route's name says which one in the audit."""
    routes = "  - {name: r, countries: [DE], targets: [{carrier: acme}]}\n  - {name: r, targets: [{carrier: acme}]}\n"
    assert [(line, key) for line, key, _ in problems(MINIMAL + BASE + routes)] == [(ROUTES_LINE + 1, "routes[1].name")]


def two(first: str, second: str) -> str:
    """Return two routes with these conditions."""
    return "".join(
        f"  - {{name: r{at}, {match + ', ' if match else ''}targets: [{{carrier: acme}}]}}\n"
        for at, match in enumerate((first, second))
    )


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("", "", "anywhere"),
        ("countries: [DE, FR]", "countries: [FR, IT]", "to FR"),
        ("prefixes: [+49]", "prefixes: [+49, +43]", "+49"),
        ("prefixes: [+49], countries: [FR]", "countries: [FR]", "to FR"),
        ("senders: [A1, B1]", "senders: [B1, C1]", "anywhere"),
        ("categories: [OTP], tenants: [demo]", "categories: [OTP, PROMOTIONAL], tenants: [demo]", "anywhere"),
        ("countries: [DE], senders: [A1]", "countries: [DE], senders: [A1]", "to DE"),
    ],
)
def test_two_routes_that_stand_equal(problems: Problems, first: str, second: str, what: str) -> None:
    """Where neither of two is the narrower one for some message, the file is refused, and says for which."""
    ((line, key, text),) = problems(MINIMAL + BASE + two(first, second))
    assert (line, key) == (ROUTES_LINE + 1, "routes[1]")
    assert what in text
    assert "routes[0] (r0)" in text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("prefixes: [+49]", "prefixes: [+4915]"),
        ("prefixes: [+49]", "countries: [DE]"),
        ("countries: [DE]", ""),
        ("senders: [A1]", "senders: [B1]"),
        ("categories: [OTP]", "categories: [PROMOTIONAL]"),
        ("senders: [A1]", "categories: [OTP]"),
        ("countries: [DE], tenants: [demo]", "countries: [DE]"),
        ("countries: [DE], senders: [A1]", "countries: [FR], senders: [A1]"),
    ],
)
def test_two_routes_of_which_one_is_narrower(loaded: Load, first: str, second: str) -> None:
    """A narrower one beside a wider one, and two that never fit the same message, are what routes are made of."""
    assert len(loaded(BASE + two(first, second)).routes) == 2
