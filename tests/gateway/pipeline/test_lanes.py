"""The lanes: bounded, first in first out, OTP first, and nobody starves."""

from __future__ import annotations

from collections import Counter

from gateway.pipeline.lanes import Lane, Lanes, Room
from gateway.states import Category
from gateway.store.contract import Waiting


def waiting(category: int, number: int = 0, segments: int = 1) -> Waiting:
    """Return a message of a lane."""
    return Waiting("t", number.to_bytes(16, "big"), category, "S", b"", b"", segments, 0, 10, 0, 1, "", "", "", "", "")


def test_lane_is_bounded_by_what_it_holds_and_what_is_reserved() -> None:
    """A lane of two takes two, counting places that are only reserved."""
    lane = Lane(2)
    assert lane.reserve()
    lane.release(1)
    lane.add(waiting(1))
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
    lane = Lane(4)
    for _ in range(3):
        lane.add(waiting(1))
    lane.note_waiting(due_at=0, now=1)
    assert lane.wanted(1) == 0
    lane.pop()
    assert lane.wanted(1) == 2


def test_otp_goes_first_and_nobody_starves() -> None:
    """Of 200 picks with all lanes full, OTP gets most, and each other lane its share."""
    lanes = Lanes(1000)
    for category in Category:
        for number in range(500):
            lanes[category].add(waiting(category, number))
    taken = Counter(message.category for message in lanes.take(Room(200, 200), 200, idle=False))
    assert taken[Category.OTP] == 180
    assert taken[Category.TRANSACTIONAL] == 10
    assert taken[Category.PROMOTIONAL] == 10


def test_the_fifth_that_is_kept_goes_to_otp_alone() -> None:
    """When the room for others is used up, only OTP is taken."""
    lanes = Lanes(1000)
    for category in Category:
        for number in range(50):
            lanes[category].add(waiting(category, number))
    taken = lanes.take(Room(10, 0), 100, idle=False)
    assert [message.category for message in taken] == [Category.OTP] * 10


def test_order_within_a_lane_is_kept() -> None:
    """First in, first out."""
    lanes = Lanes(1000)
    for number in range(30):
        lanes[Category.PROMOTIONAL].add(waiting(Category.PROMOTIONAL, number))
    taken = lanes.take(Room(100, 100), 100, idle=False)
    assert [message.id[15] for message in taken] == list(range(30))


def test_a_message_larger_than_the_window_is_taken_alone_by_an_idle_link() -> None:
    """Ten parts go out on a window of two: alone, when nothing else is on the link."""
    lanes = Lanes(10)
    lanes[Category.OTP].add(waiting(Category.OTP, 1, segments=10))
    lanes[Category.OTP].add(waiting(Category.OTP, 2))
    assert lanes.take(Room(4, 3), 10, idle=False) == []
    taken = lanes.take(Room(4, 3), 10, idle=True)
    assert [message.segments for message in taken] == [10]


def test_put_back_keeps_the_order() -> None:
    """Messages that could not be handed over come first again."""
    lane = Lane(10)
    for number in range(3):
        lane.add(waiting(1, number))
    first, second = lane.pop(), lane.pop()
    for message in (second, first):
        lane.put_back(message)
    assert [lane.pop().id[15] for _ in range(3)] == [0, 1, 2]
