"""The order of a route's targets for each message."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ids import IdSource
from gateway.routing.plans import Plan, RoutePlans
from gateway.routing.routes import Route, Strategy, Target

TARGETS = st.lists(
    st.builds(
        Target,
        carrier=st.sampled_from([f"c{number}" for number in range(8)]),
        priority=st.integers(1, 3),
        weight=st.integers(1, 1000),
        cost=st.floats(0, 1),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda target: target.carrier,
)


def plans(*targets: Target, strategy: Strategy = Strategy.WEIGHTED) -> RoutePlans:
    """Return the plans of a route."""
    return RoutePlans(Route(name="r", strategy=strategy, targets=targets))


def carriers(plan: Plan) -> list[str]:
    """Return the order of a plan."""
    return [way.carrier for way in plan.ways]


@settings(deadline=None)
@given(TARGETS, st.sampled_from(Strategy), st.binary(min_size=16, max_size=16))
def test_every_target_once_and_priorities_in_order(targets: list[Target], strategy: Strategy, number: bytes) -> None:
    """Whatever the message, its plan has every target once, a lower priority number first, and is always the same."""
    found = plans(*targets, strategy=strategy)
    plan = found.of(number)
    assert plan is found.of(number)
    assert sorted(carriers(plan)) == sorted(target.carrier for target in targets)
    assert [way.priority for way in plan.ways] == sorted(target.priority for target in targets)
    assert len(found.all()) <= 8 * 7 + 1


@settings(deadline=None)
@given(TARGETS)
def test_least_cost_is_by_cost_within_a_priority(targets: list[Target]) -> None:
    """The cheapest of a priority is first."""
    plan = plans(*targets, strategy=Strategy.LEAST_COST).of(bytes(16))
    assert [(way.priority, way.cost) for way in plan.ways] == sorted((way.priority, way.cost) for way in targets)


def test_weights_converge() -> None:
    """20,000 messages spread by 6:3:1, and those whose first is away spread over the others by their weights."""
    found = plans(Target(carrier="a", weight=6), Target(carrier="b", weight=3), Target(carrier="c", weight=1))
    ids = IdSource()
    orders = Counter(tuple(carriers(found.of(ids.new()))) for _ in range(20_000))
    first = Counter[str]()
    for order, count in orders.items():
        first[order[0]] += count
    assert abs(first["a"] / 20_000 - 0.6) < 0.02
    assert abs(first["b"] / 20_000 - 0.3) < 0.02
    without_a = {second: orders["a", second, third] / first["a"] for second, third in ("bc", "cb")}
    assert abs(without_a["b"] - 0.75) < 0.03


@settings(deadline=None)
@given(TARGETS)
def test_the_line_is_divided_by_weights(targets: list[Target]) -> None:
    """Walking over the line in even steps, the first of each plan has its weight's share of it."""
    group = [target for target in targets if target.priority == 1]
    found = plans(*targets)
    cuts = [0, *found._cuts, 1 << 32]
    total = sum(target.weight for target in group)
    for target in group:
        stretch = sum(
            end - start
            for start, end, plan in zip(cuts[:-1], cuts[1:], found.all(), strict=True)
            if plan.ways[0].carrier == target.carrier
        )
        assert abs(stretch - (1 << 32) * target.weight / total) < 100


def test_a_plan_turned() -> None:
    """From a carrier on, and behind it, around; the same object each time, and the plan itself for no such carrier."""
    plan = plans(*(Target(carrier=name, priority=at + 1) for at, name in enumerate("abc"))).of(bytes(16))
    assert carriers(plan.at("b")) == carriers(plan.after("a")) == ["b", "c", "a"]
    assert plan.after("a") is plan.at("b")
    assert plan.after("c") is plan.at("a") is plan.at("x") is plan.after("x") is plan


def test_the_sender_as_the_carrier_is_told_it() -> None:
    """A target's table of senders goes before its fixed sender, and both before the message's own."""
    target = Target(carrier="a", sender="SHORT", senders={"ACME": "ACMEIN"})
    assert [target.told("ACME"), target.told("OTHER")] == ["ACMEIN", "SHORT"]
    assert Target(carrier="a").told("OTHER") == "OTHER"
