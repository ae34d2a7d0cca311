"""Which route a message has: compared with the rule, applied to every route there is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.routes import Match, Route, Target
from gateway.routing.table import RouteTable

PREFIXES = ("+1", "+12", "+121", "+49", "+4915", "+49151", "+9")
COUNTRIES = ("US", "DE", "IN")
SENDERS = ("ACME", "OTHER")
TENANTS = ("demo", "shop")
ID = bytes(16)

MATCHES = st.builds(
    Match,
    prefixes=st.frozensets(st.sampled_from(PREFIXES), max_size=2),
    countries=st.frozensets(st.sampled_from(COUNTRIES), max_size=2),
    senders=st.frozensets(st.sampled_from(SENDERS), max_size=1),
    categories=st.frozensets(st.integers(1, 3), max_size=2),
    tenants=st.frozensets(st.sampled_from(TENANTS), max_size=1),
)
NUMBERS = st.builds(
    lambda prefix, rest: prefix + rest,
    st.sampled_from((*PREFIXES, "+4")),
    st.text("0123456789", min_size=6, max_size=8),
)


def route(name: str, match: Match) -> Route:
    """Return a route by one carrier."""
    return Route(name=name, match=match, targets=(Target(carrier="acme"),))


def rank(match: Match, number: str, country: str) -> tuple[object, ...] | None:
    """Return how narrowly a route's destination fits, and the rest; None when it does not."""
    fitting = [len(prefix) for prefix in match.prefixes if number.startswith(prefix)]
    if fitting:
        return (2, max(fitting), *match.rank)
    if country in match.countries:
        return (1, 0, *match.rank)
    return None if match.prefixes or match.countries else (0, 0, *match.rank)


@settings(deadline=None)
@given(
    st.lists(MATCHES, min_size=1, max_size=12),
    NUMBERS,
    st.sampled_from((*COUNTRIES, "ZZ")),
    st.sampled_from(SENDERS),
    st.integers(1, 3),
    st.sampled_from(TENANTS),
)
def test_the_narrowest_route_is_found(
    matches: list[Match], number: str, country: str, sender: str, category: int, tenant: str
) -> None:
    """The table finds a route of the same rank as the best of all routes that fit, and none when none fits."""
    table = RouteTable([route(str(at), match) for at, match in enumerate(matches)], ["acme"])
    best = [
        (found, at)
        for at, match in enumerate(matches)
        if match.fits(tenant, sender, category) and (found := rank(match, number, country)) is not None
    ]
    plan = table.plan(tenant, sender, category, country, table.prefix_of(number), ID)
    if not best:
        assert plan is None
        return
    assert plan is not None
    assert rank(matches[int(plan.route)], number, country) == max(best)[0]


def test_without_routes_all_carriers_in_order() -> None:
    """The configuration of before goes on as before: every carrier, the first preferred."""
    table = RouteTable([], ["acme", "other"])
    plan = table.plan("demo", "ACME", 1, "DE", "", ID)
    assert plan is not None
    assert [way.carrier for way in plan.ways] == ["acme", "other"]
    assert not table.by_prefix
    assert plan is table.plan("shop", "X", 3, "ZZ", "", b"\x01" * 16)


def test_what_is_known_is_bounded() -> None:
    """Callers choose senders, and cannot make the table grow by that; each answer stays right."""
    table = RouteTable([route("acme", Match(senders=frozenset({"S7"}))), route("any", Match())], [], most_known=10)
    for turn in range(3):
        for number in range(50):
            found = table.find(("demo", f"S{number}", 1, "DE", ""))
            assert found is not None
            assert found.route.name == ("acme" if number == 7 else "any"), turn
    assert len(table._known) <= 10


def test_only_prefixes_that_routes_name_are_kept_of_a_number() -> None:
    """A number is reduced to a prefix of the configuration, or to nothing."""
    table = RouteTable([route("a", Match(prefixes=frozenset({"+49", "+49151"})))], [])
    assert [table.prefix_of(number) for number in ("+4915112345678", "+4930123456", "+33123456789")] == [
        "+49151",
        "+49",
        "",
    ]
