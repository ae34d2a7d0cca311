"""The plan of a message that has been tried, and the first way of a plan as carriers and hours change."""

from __future__ import annotations

import pytest

from carrier.contract import LinkListener, LinkState, Outcome, SubmitResult
from gateway.pipeline.berths import Berth
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.router import Router, Routing
from gateway.pipeline.switches import CarrierSwitches
from gateway.routing.breaker import BreakerRules
from gateway.routing.hours import parse_hours
from gateway.routing.routes import Route, Target
from gateway.states import Category
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.test_permits import waiting

MINUTE = 60_000_000
NAMES = ("a", "b", "c")
ORDERED = Route(name="r", targets=tuple(Target(carrier=name, priority=at) for at, name in enumerate(NAMES)))


class _Nobody(LinkListener):
    """Listens to nothing."""


def routed(*routes: Route) -> tuple[Router, dict[str, FakeLink], dict[str, Berth]]:
    """Return a router of three carriers whose breakers open after one failure for a minute, its links and berths."""
    listener = _Nobody()  # type: ignore[abstract]  # nothing is told here
    links = {name: FakeLink(listener, carrier=name) for name in NAMES}
    berths = {name: Berth(link) for name, link in links.items()}
    rules = dict.fromkeys(NAMES, BreakerRules(failures=1, open_for=MINUTE, probes=1))
    router = Router(Routing(routes, lambda message: "", carriers=NAMES, breakers=rules), CarrierSwitches())
    router.serve(tuple(berths.values()))
    return router, links, berths


@pytest.mark.parametrize(
    ("reason", "part_states", "order", "loyal"),
    [
        ("", "", "abc", False),
        ("LINK_LOST", "-", "abc", False),
        ("CARRIER_BUSY", "-", "bca", False),
        ("CARRIER_BUSY", "S-", "bca", True),
        ("LINK_LOST", "S-", "bca", True),
        ("OUTCOME_UNKNOWN", "S-", "bca", True),
        ("FAILED_OVER", "-", "cab", False),
        ("OUTCOME_UNKNOWN", "-", "cab", False),
        ("REFUSED_BY_ONE", "--", "cab", False),
        ("REFUSED_BY_ONE", "S-", "cab", False),
    ],
)
def test_a_message_that_has_been_tried(reason: str, part_states: str, order: str, loyal: bool) -> None:
    """Where it goes on after an attempt at b: there, behind it, or from the start."""
    router, _, _ = routed(ORDERED)
    plan = router.plan(waiting(attempts=1, carrier="b", reason=reason, part_states=part_states))
    assert plan is not None
    assert ("".join(way.carrier for way in plan.ways), plan.loyal) == (order, loyal)


def test_a_carrier_that_is_gone() -> None:
    """A message that was with a carrier which its route has no more begins anew."""
    router, _, _ = routed(ORDERED)
    for reason, part_states in (("FAILED_OVER", "-"), ("CARRIER_BUSY", "S-")):
        plan = router.plan(waiting(attempts=1, carrier="gone", reason=reason, part_states=part_states))
        assert plan is router.plan(waiting())


def test_the_first_way_changes_with_its_carriers() -> None:
    """Links, switches and breakers each take a carrier out, and give it back."""
    router, links, berths = routed(ORDERED)
    plan = router.plan(waiting())
    assert plan is not None

    def first(now: int = 0) -> str:
        router.look(now)
        return router.first(plan)

    assert first() == "a"
    links["a"].state = LinkState.BACKOFF
    assert (first(), router.others(plan)) == ("b", ["c"])
    router.note(berths["b"], [SubmitResult(None, 0, Outcome.ANSWERED, 0x08, "")], 0)
    assert first() == "c"
    links["c"].state = LinkState.BACKOFF
    assert (first(), router.others(plan), router.reachable(plan)) == ("", [], False)
    assert first(MINUTE) == "b"  # half-open: a probe may go
    links["a"].state = LinkState.BOUND
    assert first(MINUTE) == "a"


def test_a_loyal_plan_waits_for_its_first() -> None:
    """Others are for when its patience is over."""
    router, links, _ = routed(ORDERED)
    links["b"].state = LinkState.BACKOFF
    plan = router.plan(waiting(attempts=1, carrier="b", reason="CARRIER_BUSY", part_states="S-"))
    assert plan is not None
    router.look(0)
    assert (router.first(plan), router.others(plan), router.reachable(plan)) == ("", ["c", "a"], True)


def test_hours_pass() -> None:
    """What was found at one minute does not count at the next."""
    early = Target(carrier="a", hours=(parse_hours("00:00-00:01"),))
    router, _, _ = routed(Route(name="r", targets=(early, Target(carrier="b", priority=2))))
    plan = router.plan(waiting())
    assert plan is not None
    for now, carrier in ((0, "a"), (MINUTE - 1, "a"), (MINUTE, "b"), (24 * 60 * MINUTE, "a")):
        router.look(now)
        assert router.first(plan) == carrier


def test_a_half_open_carrier_gets_its_probes_and_no_more() -> None:
    """Once they are out, the rest is for the next carrier."""
    router, _, berths = routed(ORDERED)
    router.note(berths["a"], [SubmitResult(None, 0, Outcome.ANSWERED, 0x08, "")], 0)
    assert router.allowance("a", 0) == 0
    plan = router.plan(waiting())
    assert plan is not None
    lanes = Lanes(10)
    lanes[Category.OTP].add(waiting(), plan)
    assert [carrier for carrier, _ in router.offers(lanes, MINUTE)] == ["a"]
    assert router.allowance("a", MINUTE) == 1
    router.took(berths["a"], [(waiting(), plan)], MINUTE)
    berths["a"].slots = 1
    assert router.allowance("a", MINUTE) == 0
    assert [carrier for carrier, _ in router.offers(lanes, MINUTE)] == ["b"]
    router.note(berths["a"], [SubmitResult(None, 0, Outcome.ANSWERED, 0, "id")], MINUTE)
    assert [carrier for carrier, _ in router.offers(lanes, MINUTE)] == ["a"]
    assert router.allowance("a", MINUTE) > 1000


def test_a_half_open_carrier_without_links() -> None:
    """What stands against a carrier that has been drained is told, also while its breaker is half open."""
    router, _, berths = routed(ORDERED)
    router.note(berths["a"], [SubmitResult(None, 0, Outcome.ANSWERED, 0x08, "")], 0)
    router.serve((berths["b"],))
    found = [hindrance.code for hindrance in router.hindrances(ORDERED.targets[0], MINUTE)]
    assert found == ["NOT_BOUND"]


def test_carriers_that_come_later_have_a_way_too() -> None:
    """Without routes, links of a carrier that the configuration did not have yet are the last of everybody's plan."""
    router, _, berths = routed()
    new = Berth(FakeLink(_Nobody(), carrier="d"))  # type: ignore[abstract]  # nothing is told here
    assert not router.serve(tuple(berths.values()))
    assert router.serve((*berths.values(), new))
    plan = router.plan(waiting())
    assert plan is not None
    assert [way.carrier for way in plan.ways] == ["a", "b", "c", "d"]
