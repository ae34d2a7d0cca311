"""The cut of an account's pace and its recovery, with whole nanoseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.congestion import FLOOR, FULL, HOLD_NS, RECOVERY_NS, STEP_NS, Congestion, Sign, sign_of

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("state", "sign"),
    [(0, None), (79, None), (80, Sign.HOLD), (89, Sign.HOLD), (90, Sign.NEAR), (99, Sign.NEAR),
     (100, Sign.TOO_MUCH), (101, None), (255, None)],
)  # fmt: skip
def test_congestion_state(state: int, sign: Sign | None) -> None:
    """Row 24: the optimum is held, near congestion is cut a little, congestion in half; other numbers mean nothing."""
    assert sign_of(state) is sign


def test_one_cut_a_second_or_a_round_trip() -> None:
    """A window full of throttled answers is one cut; the next takes a second, or a round trip if that is longer."""
    congestion = Congestion()
    assert [congestion.notice(Sign.TOO_MUCH, now) for now in (5, 6, 5 + HOLD_NS - 1)] == [True, False, False]
    assert congestion.part == FULL // 2
    assert congestion.notice(Sign.TOO_MUCH, 5 + HOLD_NS, round_trip_ns=3 * SECOND)
    assert not congestion.notice(Sign.TOO_MUCH, 5 + HOLD_NS + 3 * SECOND - 1)
    assert congestion.notice(Sign.TOO_MUCH, 5 + HOLD_NS + 3 * SECOND)
    assert (congestion.part, congestion.cuts) == (FULL // 8, 3)


def test_it_grows_back_by_equal_steps() -> None:
    """After the hold each step adds the same, until the full rate; then there is nothing to do."""
    congestion = Congestion()
    congestion.notice(Sign.TOO_MUCH, 0)
    congestion.grow(HOLD_NS + STEP_NS - 1)
    assert congestion.part == FULL // 2
    parts = []
    for step in range(1, 4):
        congestion.grow(HOLD_NS + step * STEP_NS)
        parts.append(congestion.part)
    assert parts[1] - parts[0] == parts[2] - parts[1] == parts[0] - FULL // 2 > 0
    congestion.grow(HOLD_NS + RECOVERY_NS)
    assert (congestion.part, congestion.next_growth_ns) == (FULL, None)


def test_the_optimum_holds_it() -> None:
    """A carrier at its optimum is not sent more, and not less."""
    congestion = Congestion()
    congestion.notice(Sign.TOO_MUCH, 0)
    now = HOLD_NS
    for _ in range(100):
        assert not congestion.notice(Sign.HOLD, now)
        congestion.grow(now)
        now += STEP_NS
    assert congestion.part < FULL * 52 // 100


@given(st.lists(st.tuples(st.sampled_from(Sign), st.integers(0, 40 * SECOND), st.booleans()), max_size=60))
def test_bounds(events: list[tuple[Sign, int, bool]]) -> None:
    """Whatever the carrier says, the pace stays between its floor and the full rate, and recovers when it is quiet."""
    congestion, now = Congestion(), 0
    for sign, wait, grows in events:
        now += wait
        if grows:
            congestion.grow(now)
        else:
            congestion.notice(sign, now)
        assert FLOOR <= congestion.part <= FULL
    congestion.grow(now + HOLD_NS + RECOVERY_NS + STEP_NS)
    assert congestion.part == FULL
