"""Few decisions pass, many are counted, and no count is lost."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given, settings

from gateway.audit.aggregation import SEVERAL, Aggregator
from tests.gateway.audit.samples import AT, decision

WINDOW = 10_000_000


def test_the_first_few_of_a_window_pass() -> None:
    """So many of a source pass in a window; the next window begins anew."""
    aggregator = Aggregator(each=2, window=WINDOW)
    passed = [aggregator.passes("a", decision(at=AT + n, since=AT + n)) for n in range(5)]
    assert passed == [True, True, False, False, False]
    assert aggregator.passes("b", decision(at=AT + 6))
    assert not aggregator.passes("a", decision(at=AT + WINDOW - 1))
    assert aggregator.passes("a", decision(at=AT + WINDOW))


def test_the_rest_is_counted() -> None:
    """Equal decisions become one that says how many, from when and to when; others stay apart."""
    aggregator = Aggregator(each=1, window=WINDOW)
    for n in range(5):
        aggregator.passes("a", decision(at=AT + n, since=AT + n))
    aggregator.passes("a", decision(at=AT + 9, since=AT + 9, reason="OTHER"))
    found = {one.reason: (one.since, one.at, one.times) for one in aggregator.due()}
    assert found == {"FORBIDDEN": (AT + 1, AT + 4, 4), "OTHER": (AT + 9, AT + 9, 1)}
    assert aggregator.due() == []


def test_counts_add_up() -> None:
    """What is a count itself adds what it counts, up to what a record holds."""
    aggregator = Aggregator(each=0, window=WINDOW)
    aggregator.count(decision(at=AT, since=AT - 50, times=7))
    aggregator.count(decision(at=AT - 9, since=AT - 9, times=2))
    assert [(one.since, one.at, one.times) for one in aggregator.due()] == [(AT - 50, AT, 9)]
    for _ in range(3):
        aggregator.count(decision(times=0xFFFF_FFF0))
    assert aggregator.due()[0].times == 0xFFFF_FFFF


def test_sources_and_kinds_are_bounded() -> None:
    """A flood from ever new sources is counted, and what is of too many kinds is counted as nobody's."""
    aggregator = Aggregator(each=1, window=WINDOW, sources=3, kinds=4)
    passed = [aggregator.passes(f"s{n}", decision(caller=f"s{n}")) for n in range(20)]
    assert passed == [True] * 3 + [False] * 17
    assert len(aggregator) == 5
    due = aggregator.due()
    assert sum(one.times for one in due) == 17
    (nobodys,) = [one for one in due if one.reason == SEVERAL]
    assert (nobodys.caller, nobodys.tenant, nobodys.allowed, nobodys.times) == ("", "", False, 13)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("xyz"), st.integers(0, 30)), max_size=60),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_nothing_is_lost(calls: list[tuple[str, str, int]], each: int, sources: int, kinds: int) -> None:
    """Whatever comes: what passed and what was counted are together what was decided, and no time is made up."""
    aggregator = Aggregator(each=each, window=10, sources=sources, kinds=kinds)
    total: Counter[bool] = Counter()
    now = 0
    for caller, reason, later in calls:
        now += later
        total[aggregator.passes(caller, decision(caller=caller, reason=reason, at=now, since=now))] += 1
    due = aggregator.due()
    assert sum(one.times for one in due) == total[False]
    assert all(0 <= one.since <= one.at <= now for one in due)
    assert len(due) <= kinds + 1
