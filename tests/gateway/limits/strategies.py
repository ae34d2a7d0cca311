"""Rates and arrivals for the properties of this folder."""

from __future__ import annotations

from hypothesis import strategies as st

from gateway.limits.rate import Rate

rates = st.builds(
    Rate,
    count=st.integers(1, 1000),
    period_us=st.sampled_from([1, 7, 1000, 1_000_000, 3_600_000_000]),
    burst=st.integers(1, 50),
)
# (microseconds since the last one, how many)
arrivals = st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(1, 60)), min_size=1, max_size=60)


def allowed(rate: Rate, elapsed_us: int) -> int:
    """Return how many a rate lets through in a time, at most: rate * t + burst."""
    return elapsed_us * rate.count // rate.period_us + rate.burst


def worst_excess(rate: Rate, admitted: list[tuple[int, int]]) -> int:
    """Return by how much the worst of all windows exceeds what is allowed; `admitted`: (time, how many)."""
    worst = -rate.burst
    for first, (began, _) in enumerate(admitted):
        total = 0
        for at, count in admitted[first:]:
            total += count
            worst = max(worst, total - allowed(rate, at - began))
    return worst
