"""Counters that grow faster than they may, and those that do not."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from visibility.surges import WINDOW, Surges

SECOND = 1_000_000


def test_what_was_there_before_is_no_surge() -> None:
    """The first look is where counting begins."""
    surges = Surges(10)
    assert surges.look({"a": 1000}, 0) == {}
    assert surges.look({"a": 1009}, SECOND) == {}
    assert surges.look({"a": 1010}, 2 * SECOND) == {"a": 10}


def test_slow_growth() -> None:
    """Nine a minute, for an hour, are never a surge."""
    surges = Surges(10)
    for second in range(3600):
        assert surges.look({"a": second * 9 // 66}, second * SECOND) == {}


def test_a_name_that_is_new() -> None:
    """A reason that has never been seen before has been 0."""
    surges = Surges(10)
    surges.look({}, 0)
    assert surges.look({"b": 12}, SECOND) == {"b": 12}


def test_it_is_over() -> None:
    """A window later the same count is no growth any more."""
    surges = Surges(10)
    surges.look({}, 0)
    found = {second: surges.look({"a": 50}, second * SECOND) for second in range(1, 200)}
    assert all(found[second] == {"a": 50} for second in range(1, 60))
    assert all(found[second] == {} for second in range(66, 200))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), max_size=200))
def test_a_surge_is_one(steps: list[tuple[int, int]]) -> None:
    """Nothing that grew so much within a window is missed, and what is told did grow in about that time."""
    surges = Surges(10)
    now = total = 0
    history = [(0, 0)]
    surges.look({"a": 0}, 0)
    for seconds, more in steps:
        now += seconds * SECOND
        total += more
        history.append((now, total))
        found = surges.look({"a": total}, now).get("a", 0)
        within = total - max(count for at, count in history if at <= max(0, now - WINDOW))
        if within >= 10:
            assert found >= within
        lately = total - min(count for at, count in history if at >= now - WINDOW - 25 * SECOND)
        assert found <= lately
