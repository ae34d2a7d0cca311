"""Counts and rates of a link."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carrier.meter import MAX_STATUSES, OTHERS, Meter, Rate


def test_a_rate_is_over_ten_whole_seconds() -> None:
    """The running second does not count yet, and what is older does not count any more."""
    rate = Rate()
    rate.add(100, 1000.2)
    rate.add(50, 1000.9)
    assert rate.per_second(1000.95) == 0
    assert rate.per_second(1001.0) == 15
    assert rate.per_second(1010.9) == 15
    assert rate.per_second(1011.0) == 0


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 30)), max_size=40))
def test_a_rate_counts_each_event_once(steps: list[tuple[int, float]]) -> None:
    """Against the plain sum, whatever pauses lie between."""
    rate, now, events = Rate(), 50.0, []
    for count, pause in steps:
        now += pause
        rate.add(count, now)
        events.append((int(now), count))
    expected = sum(count for second, count in events if int(now) - 10 <= second < int(now)) / 10
    assert rate.per_second(now) == expected


def test_answers_by_status() -> None:
    """Successes are what is left; a carrier that invents statuses cannot make the table grow."""
    meter = Meter()
    meter.ended(answered=10, errors=[88, 88, 8], in_doubt=3)
    assert (meter.by_status(), meter.in_doubt) == ({0: 7, 88: 2, 8: 1}, 3)
    meter.ended(answered=1000, errors=range(1000, 2000), in_doubt=0)
    table = meter.by_status()
    assert len(table) == MAX_STATUSES + 2
    assert (table[OTHERS], sum(table.values())) == (1000 - MAX_STATUSES + 2, 1010)
