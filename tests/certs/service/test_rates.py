"""How often each caller may call: the pace, the burst, and a table that never grows beyond its bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import AuthorityError, RateExceeded
from certs.service.rates import Limiter, Rate, address_of, parse_rate


def admitted(limiter: Limiter, caller: str, now_s: float) -> float:
    """Return 0 for a call that is admitted, else for how long it has to wait."""
    try:
        limiter.admit(caller, now_s)
    except RateExceeded as refused:
        return refused.retry_after_s
    return 0.0


def test_a_burst_and_then_the_pace() -> None:
    """So many at once, then one whenever its time has come; who waits as told is admitted."""
    limiter = Limiter(Rate(per_s=2.0, burst=3))
    assert [admitted(limiter, "a", 100.0) for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert admitted(limiter, "a", 100.4) == pytest.approx(0.1)
    assert [admitted(limiter, "a", 100.5) for _ in range(2)] == [0, 0.5]
    assert [admitted(limiter, "a", 200.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_callers_take_nothing_of_each_other() -> None:
    """One that calls without end leaves the others as they were."""
    limiter = Limiter(Rate(per_s=1.0, burst=1))
    assert [admitted(limiter, "a", 0.0) > 0 for _ in range(100)].count(False) == 1
    assert admitted(limiter, "b", 0.0) == 0


def test_a_full_table_refuses_whom_it_cannot_remember() -> None:
    """Known callers go on, new ones are refused, and those who have nothing to wait for make room."""
    limiter = Limiter(Rate(per_s=1.0, burst=2), max_callers=3)
    assert [admitted(limiter, caller, 0.0) for caller in "abc"] == [0, 0, 0]
    assert admitted(limiter, "d", 0.0) > 0
    assert admitted(limiter, "a", 0.0) == 0
    assert admitted(limiter, "d", 0.9) > 0
    assert admitted(limiter, "d", 1.5) == 0
    assert len(limiter._due) <= 3


def test_refusals_are_told_once_in_a_while() -> None:
    """A flood is told by its count, not by a line for each."""
    limiter = Limiter(Rate(per_s=1.0, burst=1))
    told = []
    for step in range(200):
        admitted(limiter, "a", step * 0.1)
        told.append(limiter.refused_since(step * 0.1))
    assert [count for count in told if count] == [1, 90]


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60), st.integers(1, 5), st.sampled_from([0.5, 1.0, 7.0]))
def test_never_more_than_the_rate(gaps: list[float], burst: int, per_s: float) -> None:
    """In any window, no more are admitted than the burst and what the pace gives."""
    limiter, now_s = Limiter(Rate(per_s=per_s, burst=burst)), 0.0
    passed = []
    for gap in gaps:
        now_s += gap
        if not admitted(limiter, "a", now_s):
            passed.append(now_s)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - start) * per_s + 1e-6


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/s:500", Rate(per_s=50.0, burst=500)),
        ("30/m:5", Rate(per_s=0.5, burst=5)),
        ("3600/h", Rate(per_s=1.0, burst=10)),
        ("1/h", Rate(per_s=1 / 3600, burst=1)),
    ],
)
def test_rates_as_text(text: str, rate: Rate) -> None:
    """A rate is calls per second, minute or hour, and how many at once."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "50", "0/s", "50/d", "-1/s", "1.5/s", "50/s:0", "50/s:", "9999999/s"])
def test_what_is_no_rate(text: str) -> None:
    """Nothing is no rate, nor is one without end."""
    with pytest.raises(AuthorityError, match="is no rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:50123", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2:3::9%5D:50123", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::1]:1", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.7]:1", "192.0.2.7"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::/64"),
        ("unix:/run/x", "unix"),
        ("", ""),
    ],
)
def test_whom_an_address_counts_for(peer: str, address: str) -> None:
    """An IPv4 address counts for itself, one of IPv6 for its /64, from which anybody has as many as he likes."""
    assert address_of(peer) == address
