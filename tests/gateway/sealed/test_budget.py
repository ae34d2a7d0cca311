"""gateway.sealed.budget: how much is opened for a tenant, and when what waits has its turn."""

from __future__ import annotations

import itertools

from gateway.limits.rate import Rate
from gateway.sealed.budget import OpeningBudget

SECOND = 1_000_000


def test_burst_then_turns() -> None:
    """The burst is opened at once; what comes then is told a turn of its own, one interval after the other."""
    budget = OpeningBudget(Rate.a_second(10, 3))
    assert [budget.take("a", 0, returns=False) for _ in range(3)] == [0, 0, 0]
    turns = [budget.take("a", 0, returns=False) for _ in range(5)]
    assert turns == sorted(set(turns))
    assert turns[0] >= SECOND // 10
    assert [later - earlier for earlier, later in itertools.pairwise(turns)] == [SECOND // 10] * 4


def test_what_returns_goes_before_what_is_new() -> None:
    """While some wait, new ones queue behind them, and those come back to a token each."""
    budget = OpeningBudget(Rate.a_second(10, 1))
    assert budget.take("a", 0, returns=False) == 0
    turns = [budget.take("a", 0, returns=False) for _ in range(3)]
    for turn in turns:
        assert budget.take("a", turn - 1, returns=False) > turns[-1]  # a new one
        assert budget.take("a", turn, returns=True) == 0


def test_each_tenant_has_its_own() -> None:
    """One tenant's flood takes nothing from another."""
    budget = OpeningBudget(Rate.a_second(10, 1))
    for _ in range(100):
        budget.take("a", 0, returns=False)
    assert budget.take("b", 0, returns=False) == 0


def test_never_more_than_the_rate() -> None:
    """Whatever comes and returns, no more than rate and burst are opened, and everything is in the end."""
    budget = OpeningBudget(Rate.a_second(100, 10))
    waiting = [(0, False)] * 500
    done: list[int] = []
    while waiting:
        waiting.sort()
        at, returns = waiting.pop(0)
        turn = budget.take("a", at, returns=returns)
        if turn:
            assert turn > at
            waiting.append((turn, True))
        else:
            done.append(at)
    assert len(done) == 500
    assert done[-1] < 6 * SECOND
    assert all(later - earlier >= SECOND // 2 for earlier, later in zip(done[20:], done[80:], strict=False))


def test_forgets_idle_tenants() -> None:
    """Buckets of tenants that have been away are not kept beyond a bound."""
    budget = OpeningBudget(Rate.a_second(10, 1))
    for number in range(5000):
        budget.take(f"tenant-{number}", number * SECOND, returns=False)
    assert len(budget._buckets) <= 4096
