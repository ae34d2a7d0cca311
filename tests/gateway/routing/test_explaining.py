"""Why a message goes by a carrier."""

from __future__ import annotations

import pytest

from gateway.routing.explaining import Explanation, Hindrance, Sight, explain
from gateway.routing.plans import RoutePlans
from gateway.routing.routes import Match, Route, Strategy, Target

DOWN = Hindrance("NOT_BOUND", "none of its links is up")
ANY = Match()
WEIGHTED = (Target(carrier="a", weight=3), Target(carrier="b"), Target(carrier="c", priority=2))


def explained(
    *targets: Target, down: str = "", match: Match = ANY, strategy: Strategy = Strategy.WEIGHTED, **who: object
) -> Explanation:
    """Explain a route of which the carriers in `down` cannot be used."""
    found = RoutePlans(Route(name="r", match=match, strategy=strategy, targets=targets))
    prefix, message_id = str(who.get("prefix", "")), who.get("message_id", b"")
    assert isinstance(message_id, bytes)
    return explain(found, prefix, "DE", lambda target: Sight([DOWN] if target.carrier in down else [], []), message_id)


@pytest.mark.parametrize(
    ("down", "shares"),
    [("", (0.75, 0.25, 0)), ("a", (0, 1, 0)), ("b", (1, 0, 0)), ("ab", (0, 0, 1)), ("abc", (0, 0, 0))],
)
def test_shares(down: str, shares: tuple[float, ...]) -> None:
    """What becomes of many messages: divided by weight among those that can, the next priority when none can."""
    told = explained(*WEIGHTED, down=down)
    assert [verdict.target.carrier for verdict in told.verdicts] == ["a", "b", "c"]
    assert [round(verdict.share, 6) for verdict in told.verdicts] == list(shares)
    assert told.carrier == ("" if down == "abc" else "abc"[shares.index(max(shares))])


def test_one_message_has_one_order() -> None:
    """With its id, one carrier gets all, and the targets stand in the message's own order."""
    found = RoutePlans(Route(name="r", targets=WEIGHTED))
    for number in range(20):
        message_id = number.to_bytes(16, "big")
        told = explained(*WEIGHTED, message_id=message_id)
        assert [verdict.target for verdict in told.verdicts] == list(found.of(message_id).ways)
        assert [verdict.share for verdict in told.verdicts] == [1, 0, 0]


def test_least_cost() -> None:
    """The cheapest that can be used, and what stands against those before it."""
    dear, cheap = Target(carrier="a", cost=2), Target(carrier="b", cost=1)
    told = explained(dear, cheap, strategy=Strategy.LEAST_COST, down="b")
    assert [(verdict.target.carrier, verdict.share, list(verdict.hindrances)) for verdict in told.verdicts] == [
        ("b", 0, [DOWN]),
        ("a", 1, []),
    ]


@pytest.mark.parametrize(
    ("match", "prefix", "why"),
    [
        (Match(prefixes=frozenset({"+49", "+4915"})), "+4915", "the number begins with +4915"),
        (Match(prefixes=frozenset({"+49"})), "+4915", "the number begins with +49"),
        (Match(countries=frozenset({"DE"}), senders=frozenset({"A"})), "", "the number is of DE, the sender is named"),
        (
            Match(categories=frozenset({1}), tenants=frozenset({"t"})),
            "",
            "no narrower route is for this destination, the category is named, the tenant is named",
        ),
    ],
)
def test_why_this_route(match: Match, prefix: str, why: str) -> None:
    """The conditions that made it the narrowest."""
    assert explained(Target(carrier="a"), match=match, prefix=prefix).why == why
