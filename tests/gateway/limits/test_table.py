"""The bounded table forgets what makes no difference, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.table import Table, TableFull


def until(limit: int) -> Table[str, int]:
    """Return a table whose states are the times until which they matter."""
    return Table(limit, lambda state, now: state <= now)


def test_full_of_what_matters() -> None:
    """A full table refuses the newest key, and keeps all others."""
    table = until(3)
    for key in "abc":
        table.add(key, 100, 0)
    with pytest.raises(TableFull):
        table.add("d", 100, 50)
    assert table.states == dict.fromkeys("abc", 100)


def test_idle_states_make_room() -> None:
    """What is idle goes when room is needed."""
    table = until(3)
    table.add("a", 100, 0)
    table.add("b", 10, 0)
    table.add("c", 100, 0)
    table.add("d", 100, 10)
    assert set(table.states) == {"a", "c", "d"}


def test_the_search_goes_on_where_it_ended() -> None:
    """Idle states behind many busy ones are found, in several attempts, each of which is bounded."""
    table = until(100)
    for number in range(99):
        table.add(f"busy {number}", 1000, 0)
    table.add("idle", 10, 0)
    attempts = 0
    while "idle" in table.states and attempts < 100:
        attempts += 1
        try:
            table.add("new", 1000, 20)
        except TableFull:
            continue
    assert 5 < attempts < 20
    assert len(table) == 100
    assert "new" in table.states


def test_a_table_has_room() -> None:
    """A table without any room is a mistake."""
    with pytest.raises(ValueError, match="1 or more"):
        until(0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), max_size=200), st.integers(1, 10))
def test_bounded_and_faithful(steps: list[tuple[int, int]], limit: int) -> None:
    """It never holds more than its limit, and never forgets a state that matters."""
    table: Table[int, int] = Table(limit, lambda state, now: state <= now)
    matters: dict[int, int] = {}
    for now, (key, lasts) in enumerate(steps):
        if key in table.states:
            table.states[key] = matters[key] = max(table.states[key], now + lasts)
        else:
            try:
                table.add(key, now + lasts, now)
                matters[key] = now + lasts
            except TableFull:
                assert len(table) == limit
        assert len(table) <= limit
        for known, end in matters.items():
            assert end <= now or table.states[known] == end


def test_few_are_all_kept() -> None:
    """While there is plenty of room nobody is forgotten, idle or not: those who come again are not made anew."""
    table = until(10_000)
    for number in range(1000):
        table.add(str(number), 0, number)
    assert len(table) == 1000
    for number in range(1000, 3000):
        table.add(str(number), 0, number)
    assert len(table) < 1100
