"""Lanes, window and room of one link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.contract import Request, Submission
from carrier.smpp.pdu import QuerySm
from carrier.staging import MAX_REQUESTS, Staging, kept_share

MANY = 10**9


def batch(lane: int, count: int) -> list[Submission]:
    """Return submissions of one lane, numbered."""
    return [Submission((lane, number), 0, b"", lane) for number in range(count)]


@pytest.mark.parametrize(("slots", "kept"), [(1, 0), (2, 0), (3, 1), (5, 1), (10, 2), (50, 10), (100, 20)])
def test_kept_share(slots: int, kept: int) -> None:
    """A fifth, rounded; a window of one or two keeps nothing, or the others could not send."""
    assert kept_share(slots) == kept


def test_room_is_two_windows() -> None:
    """The others may fill four fifths; lane 1 all that is free."""
    staging = Staging(10)
    assert [staging.room(lane) for lane in (1, 2, 3)] == [20, 16, 16]
    staging.add(batch(2, 10) + batch(3, 6))
    assert [staging.room(lane) for lane in (1, 2, 3)] == [4, 0, 0]
    staging.add(batch(1, 4))
    assert [staging.room(lane) for lane in (1, 2, 3)] == [0, 0, 0]


def test_lane_1_leaves_the_others_their_share_of_what_is_free() -> None:
    """A full lane 1 takes the room of all."""
    staging = Staging(10)
    staging.add(batch(1, 18))
    assert [staging.room(lane) for lane in (1, 2, 3)] == [2, 2, 2]


def test_order_of_lanes() -> None:
    """Lane 1 goes before 2 and 2 before 3, each in its own order."""
    staging = Staging(10)
    staging.add(batch(3, 2) + batch(2, 2) + batch(1, 2))
    assert [item.key for item in staging.take(MANY, MANY)] == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]


def test_a_fifth_of_the_window_is_kept() -> None:
    """Promotions fill eight of ten places; a one-time password that comes then goes at once."""
    staging = Staging(10)
    staging.add(batch(3, 16))
    assert len(staging.take(MANY, MANY)) == 8
    staging.add(batch(1, 4))
    assert [item.key for item in staging.take(MANY, MANY)] == [(1, 0), (1, 1)]
    assert (staging.unanswered, staging.staged, staging.take(MANY, MANY)) == (10, 10, [])


def test_pace_by_lane() -> None:
    """The pace of the others does not hold lane 1, and the pace of all holds everyone."""
    staging = Staging(10)
    staging.add(batch(2, 3) + batch(1, 3))
    assert [item.key for item in staging.take(2, 0)] == [(1, 0), (1, 1)]
    assert [item.key for item in staging.take(MANY, 1)] == [(1, 2), (2, 0)]


def test_no_lane_starves() -> None:
    """However much lane 1 brings, every sixteenth place goes to the lowest lane that waits, at lane 1's pace."""
    staging = Staging(10)
    staging.add(batch(3, 2) + batch(2, 2))
    taken = []
    for _ in range(80):
        staging.add(batch(1, 1))
        for item in staging.take(1, 0):
            taken.append(item.key)
            staging.settled(item.lane)
    assert [key for key in taken if isinstance(key, tuple) and key[0] != 1] == [(3, 0), (3, 1), (2, 0), (2, 1)]


def test_answers_make_room() -> None:
    """A settled submission frees its place in its own share."""
    staging = Staging(5)
    staging.add(batch(2, 4))
    staging.take(MANY, MANY)
    staging.add(batch(2, 4))
    assert staging.take(MANY, MANY) == []
    staging.settled(2)
    assert [item.key for item in staging.take(MANY, MANY)] == [(2, 0)]


def test_withdraw_and_clear() -> None:
    """withdraw returns what is staged and keeps the count of what is unanswered; clear forgets that too."""
    staging = Staging(5)
    staging.add(batch(2, 6))
    staging.take(MANY, MANY)
    assert ([item.key for item in staging.withdraw()], staging.unanswered) == ([(2, 4), (2, 5)], 4)
    staging.add(batch(3, 1))
    assert ([item.key for item in staging.clear()], staging.unanswered, staging.staged) == ([(3, 0)], 0, 0)


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 5))),
)
def test_bounds_hold(window: int, steps: list[tuple[int, int, int, int, int]]) -> None:
    """Under any use within `room`, window, share and pace hold, and nothing is lost or doubled."""
    staging, wire, added, done = Staging(window), [], 0, 0
    for lane, wanted, first_pace, others_pace, answers in steps:
        count = min(wanted, staging.room(lane))
        staging.add(batch(lane, count))
        added += count
        taken = staging.take(first_pace, others_pace)
        wire += taken
        assert len(taken) <= first_pace
        assert staging.staged + staging.unanswered <= 2 * window
        assert len(wire) == staging.unanswered <= window
        assert sum(1 for item in wire if item.lane > 1) <= window - kept_share(window)
        for item in wire[:answers]:
            staging.settled(item.lane)
            done += 1
        del wire[:answers]
    assert added == staging.staged + staging.unanswered + done


def test_requests_go_after_submissions_within_their_share() -> None:
    """They have the window's share of lanes 2 and 3, and leave the fifth of lane 1."""
    staging = Staging(10)
    staging.add(batch(3, 5))
    assert staging.add_requests([Request(number, QuerySm(b"")) for number in range(9)]) == []
    assert len(staging.take(MANY, MANY)) == 5
    assert (staging.request_is_due, staging.next_lane()) == (False, 3)
    assert [request.key for request in staging.take_requests(MANY)] == [0, 1, 2]
    assert (staging.requests, staging.unanswered, staging.room(1)) == (6, 8, 12)
    assert (staging.take_requests(MANY), staging.take_requests(0)) == ([], [])
    staging.request_settled()
    assert [request.key for request in staging.take_requests(MANY)] == [3]
    assert len(staging.withdraw_requests()) == 5


def test_a_request_is_due_after_sixteen_places() -> None:
    """Submissions without end cannot hold a request back."""
    staging = Staging(100)
    staging.add(batch(1, 32))
    staging.add_requests([Request(0, QuerySm(b"")), Request(1, QuerySm(b""))])
    due = [staging.request_is_due]
    staging.take(16, 16)
    due.append(staging.request_is_due)
    assert len(staging.take_requests(MANY, 1)) == 1
    due.append(staging.request_is_due)
    assert due == [False, True, False]


def test_requests_are_bounded() -> None:
    """What does not fit is returned."""
    staging = Staging(1)
    many = [Request(number, QuerySm(b"")) for number in range(MAX_REQUESTS + 2)]
    assert [request.key for request in staging.add_requests(many)] == [MAX_REQUESTS, MAX_REQUESTS + 1]
    assert staging.add_requests(many[:1]) == many[:1]


def test_what_is_over_is_given_back_whole() -> None:
    """A message whose time ended before its first part was written is not written; one of which a part was, is."""
    staging = Staging(10)
    early, late = object(), object()
    staging.add([Submission(late, part, b"", 2, 5.0) for part in range(3)])
    staging.add([Submission(early, 1, b"", 2, 5.0), Submission("forever", 0, b"", 1)])
    taken = staging.take(3, 3)
    assert [(each.key, each.part) for each in staging.over(taken, 5.1)] == [(late, 0), (late, 1)]
    assert staging.unanswered == 1
    taken = staging.take(MANY, MANY)
    assert [(each.key, each.part) for each in staging.over(taken, 6.0)] == [(late, 2)]
    assert staging.unanswered == 2
    assert staging.over([Submission(early, 0, b"", 2, 5.0)], 5.0) == []
