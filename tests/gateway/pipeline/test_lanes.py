"""The lanes: bounded, first in first out, OTP first, and nobody starves."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pipeline.berths import Room
from gateway.pipeline.lanes import Lane, Lanes, Waits
from gateway.routing.plans import Plan
from gateway.routing.routes import Target
from gateway.states import Category
from gateway.store.contract import Waiting


def waiting(category: int, number: int = 0, segments: int = 1) -> Waiting:
    """Return a message of a lane."""
    return Waiting("t", number.to_bytes(16, "big"), category, "S", b"", b"", segments, 0, 10, 0, 1, "", "", "", "", "")


def plan_by(*carriers: str) -> Plan:
    """Return a plan that goes by these carriers."""
    return Plan("", [Target(carrier=carrier) for carrier in carriers])


ACME = plan_by("acme", "other")
OTHER = plan_by("other")


def take(lanes: Lanes, room: Room, limit: int, *, idle: bool = False, carrier: str = "acme") -> list[Waiting]:
    """Take what waits for a carrier, each plan being for its first."""
    offers = lanes.offers(lambda plan: plan.ways[0].carrier).get(carrier, {})
    return [message for message, _ in lanes.take(offers, room, limit, idle=idle)]


def test_lane_is_bounded_by_what_it_holds_and_what_is_reserved() -> None:
    """A lane of two takes two, counting places that are only reserved."""
    lane = Lane(2)
    assert lane.reserve()
    lane.release(1)
    lane.add(waiting(1), ACME)
    assert lane.reserve()
    assert not lane.reserve()


def test_a_spilled_lane_takes_no_new_messages_past_the_stored_ones() -> None:
    """While older messages wait in the store, new ones queue up behind them."""
    lane = Lane(10)
    lane.note_waiting(due_at=5, now=5)
    assert not lane.reserve()
    lane.begin_claim()
    lane.end_claim(exhausted=True, next_due=None, now=6)
    assert lane.reserve()


def test_a_message_noted_during_a_claim_is_not_forgotten() -> None:
    """A message stored after the claim looked is claimed by the next one."""
    lane = Lane(10)
    lane.note_waiting(due_at=0, now=1)
    lane.begin_claim()
    assert lane.wanted(1) == 0
    lane.note_waiting(due_at=1, now=1)
    lane.end_claim(exhausted=True, next_due=None, now=2)
    assert lane.wanted(2) == 10
    assert not lane.reserve()


def test_a_future_message_does_not_block_the_lane_and_is_wanted_when_due() -> None:
    """A message for later leaves the lane open, and makes a claim worthwhile at its time."""
    lane = Lane(10)
    lane.note_waiting(due_at=100, now=1)
    assert lane.reserve()
    assert lane.wanted(99) == 0
    assert lane.wanted(100) == 9


def test_a_lane_claims_only_when_it_is_half_empty() -> None:
    """Claims are worth a transaction: none for a few places."""
    lanes = Lanes(4)
    lane = lanes[Category.OTP]
    for _ in range(3):
        lane.add(waiting(1), ACME)
    lane.note_waiting(due_at=0, now=1)
    assert lane.wanted(1) == 0
    take(lanes, Room(10, 10), 1)
    assert lane.wanted(1) == 2


def test_otp_goes_first_and_nobody_starves() -> None:
    """Of 200 picks with all lanes full, OTP gets most, and each other lane its share."""
    lanes = Lanes(1000)
    for category in Category:
        for number in range(500):
            lanes[category].add(waiting(category, number), ACME)
    taken = Counter(message.category for message in take(lanes, Room(200, 200), 200, idle=False))
    assert taken[Category.OTP] == 180
    assert taken[Category.TRANSACTIONAL] == 10
    assert taken[Category.PROMOTIONAL] == 10


def test_the_fifth_that_is_kept_goes_to_otp_alone() -> None:
    """When the room for others is used up, only OTP is taken."""
    lanes = Lanes(1000)
    for category in Category:
        for number in range(50):
            lanes[category].add(waiting(category, number), ACME)
    taken = take(lanes, Room(10, 0), 100, idle=False)
    assert [message.category for message in taken] == [Category.OTP] * 10


def test_order_within_a_lane_is_kept() -> None:
    """First in, first out."""
    lanes = Lanes(1000)
    for number in range(30):
        lanes[Category.PROMOTIONAL].add(waiting(Category.PROMOTIONAL, number), ACME)
    taken = take(lanes, Room(100, 100), 100, idle=False)
    assert [message.id[15] for message in taken] == list(range(30))


def test_a_message_larger_than_the_window_is_taken_alone_by_an_idle_link() -> None:
    """Ten parts go out on a window of two: alone, when nothing else is on the link."""
    lanes = Lanes(10)
    lanes[Category.OTP].add(waiting(Category.OTP, 1, segments=10), ACME)
    lanes[Category.OTP].add(waiting(Category.OTP, 2), ACME)
    assert take(lanes, Room(4, 3), 10, idle=False) == []
    taken = take(lanes, Room(4, 3), 10, idle=True)
    assert [message.segments for message in taken] == [10]


def test_put_back_keeps_the_order() -> None:
    """Messages that could not be handed over come first again."""
    lanes = Lanes(10)
    lane = lanes[Category.OTP]
    for number in range(3):
        lane.add(waiting(1, number), ACME)
    first, second = take(lanes, Room(10, 10), 2)
    for message in (second, first):
        lane.put_back(message, ACME)
    assert len(lanes) == 3
    assert [message.id[15] for message in take(lanes, Room(10, 10), 3)] == [0, 1, 2]


def test_what_waits_for_one_carrier_does_not_stop_another() -> None:
    """A thousand messages for a carrier without room lie before ten for another: those go."""
    lanes = Lanes(2000)
    for number in range(1000):
        lanes[Category.OTP].add(waiting(1, number % 256), ACME)
    for number in range(10):
        lanes[Category.OTP].add(waiting(1, number), OTHER)
    taken = take(lanes, Room(100, 100), 100, carrier="other")
    assert [message.id[15] for message in taken] == list(range(10))
    assert (len(lanes), lanes.sizes()["OTP"]) == (1000, 1000)
    assert take(lanes, Room(100, 100), 100, carrier="other") == []


def test_plans_of_one_carrier_take_turns() -> None:
    """A plan of many messages does not hold back one of few that goes by the same carrier; each keeps its order."""
    lanes = Lanes(2000)
    many, few = plan_by("acme"), plan_by("acme")
    for number in range(200):
        lanes[Category.OTP].add(waiting(1, number), many)
    for number in range(3):
        lanes[Category.OTP].add(waiting(1, 200 + number), few)
    taken = [message.id[15] for message in take(lanes, Room(20, 20), 20)]
    assert [number for number in taken if number >= 200] == [200, 201, 202]
    assert [number for number in taken if number < 200] == list(range(17))
    rest = [message.id[15] for message in take(lanes, Room(500, 500), 500)]
    assert rest == list(range(17, 200))


def test_turns_go_on_between_takes() -> None:
    """Room for one message at a time is shared by the plans of a carrier as well."""
    lanes = Lanes(2000)
    first, second = plan_by("acme"), plan_by("acme")
    for number in range(10):
        lanes[Category.OTP].add(waiting(1, number), first)
        lanes[Category.OTP].add(waiting(1, 100 + number), second)
    taken = [take(lanes, Room(1, 1), 1)[0].id[15] for _ in range(6)]
    assert taken == [0, 100, 1, 101, 2, 102]


def test_emptied() -> None:
    """Everything comes out once, and the lanes are empty and bounded as before."""
    lanes = Lanes(4)
    for category in Category:
        lanes[category].add(waiting(category, 1), ACME)
        lanes[category].add(waiting(category, 2), OTHER)
    assert {(message.category, message.id[15], plan) for message, plan in lanes.empty()} == {
        (category, number, plan) for category in Category for number, plan in ((1, ACME), (2, OTHER))
    }
    assert (len(lanes), len(list(lanes.empty()))) == (0, 0)
    assert all(lanes[Category.OTP].reserve() for _ in range(4))


PLANS = (ACME, OTHER, plan_by("acme"), plan_by("other", "acme"))
ADD = st.tuples(st.just("add"), st.integers(0, 3), st.integers(1, 3), st.integers(0, 60), st.integers(1, 4))
TAKE = st.tuples(st.just("take"), st.sampled_from(["acme", "other"]), st.integers(0, 40), st.integers(0, 30),
                 st.integers(0, 70))  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.one_of(ADD, TAKE), max_size=60))
def test_nothing_is_lost_doubled_or_overtaken(steps: list[tuple[Any, ...]]) -> None:
    """Whatever is added and taken, by whichever carrier and with whatever patience: each message comes out once, in the
    order of its plan and category, by a carrier that may have it, and within the room."""
    lanes, number = Lanes(10_000), 0
    inside: dict[tuple[Plan, int], list[int]] = {}
    for step in steps:
        if step[0] == "add":
            _, plan_at, category, due_at, segments = step
            message = waiting(category, number, segments)._replace(due_at=due_at)
            lanes[category].add(message, PLANS[plan_at])
            inside.setdefault((PLANS[plan_at], category), []).append(number)
            number += 1
            continue
        _, carrier, room, limit, before = step
        waits = Waits(lambda plan: [way.carrier for way in plan.ways[1:]], dict.fromkeys(Category, before))
        offers = lanes.offers(lambda plan: plan.ways[0].carrier, waits)
        taken = lanes.take(offers.get(carrier, {}), Room(room, room * 4 // 5), limit, idle=False)
        assert sum(message.segments for message, _ in taken) <= room
        assert len(taken) <= limit
        for message, plan in taken:
            assert inside[plan, message.category].pop(0) == int.from_bytes(message.id, "big")
            late = message.due_at < before and carrier in [way.carrier for way in plan.ways[1:]]
            assert plan.ways[0].carrier == carrier or late
        assert len(lanes) == sum(map(len, inside.values()))
