"""Limits in slices: three nodes together keep to what one alone may let through, and to the stated overshoot."""

from __future__ import annotations

import random
from collections import deque

import pytest

from gateway.limits.messages import MessageLimits, MessageRates
from gateway.limits.rate import SECOND_US, Rate
from gateway.limits.slices import sharing_of

RATE, BURST = 30, 60
START = 1_800_000_000 * SECOND_US
PLENTY = Rate.a_second(100_000, 100_000)


def limits(nodes: int, tenant: Rate | None = None, recipient: Rate = PLENTY) -> MessageLimits:
    """Return a node's limits, one of so many."""
    rates = MessageRates(caller=PLENTY, tenant=tenant or Rate.a_second(RATE, BURST), recipient=recipient)
    made = MessageLimits(rates, places=1 << 10)
    made.share(nodes)
    return made


def send(node: MessageLimits, wanted: int, now: int) -> int:
    """Send as many of `wanted` messages as go."""
    with node.admission("demo", "caller", wanted, now) as admission:
        held = sum(admission.hold("+4915112345678") is None for _ in range(wanted))
        admission.settle([True] * held, now)
    return held


@pytest.mark.parametrize("seed", range(5))
def test_three_nodes_keep_to_the_limit(seed: int) -> None:
    """Whatever is asked of which node, in no time do more than rate times that time and the burst go through."""
    choose = random.Random(seed)  # noqa: S311 - a test's choice
    nodes, now, went = [limits(3) for _ in range(3)], START, deque[tuple[int, int]]()
    for _ in range(2_000):
        now += choose.randrange(50_000)
        went.append((now, send(choose.choice(nodes), choose.randrange(1, 40), now)))
    for first in range(0, len(went), 50):
        total = 0
        for at, number in list(went)[first:]:
            total += number
            assert total <= RATE * (at - went[first][0]) / SECOND_US + BURST


def test_together_they_use_it() -> None:
    """What three nodes let through at once is the burst, and the rate after it."""
    nodes = [limits(3) for _ in range(3)]
    assert sum(send(node, 1000, START) for node in nodes) == BURST
    assert sum(send(node, 1000, START + SECOND_US) for node in nodes) == RATE


def test_a_node_that_comes() -> None:
    """It has a slice of its own, the others keep to theirs at once: beyond the burst there is one slice of it."""
    nodes = [limits(2) for _ in range(2)]
    before = sum(send(node, 1000, START) for node in nodes)
    third = limits(3)
    for node in nodes:
        node.share(3)
    after = sum(send(node, 1000, START) for node in (*nodes, third))
    assert before == BURST
    assert after == BURST // 3
    assert sum(send(node, 1000, START + SECOND_US) for node in (*nodes, third)) == RATE


def test_a_burst_smaller_than_the_nodes() -> None:
    """Each lets one through at once: a slice that lets nothing through would not do."""
    nodes = [limits(3, recipient=Rate.a_second(1, 1)) for _ in range(3)]
    assert [send(node, 5, START) for node in nodes] == [1, 1, 1]
    assert [send(node, 5, START + SECOND_US) for node in nodes] == [0, 0, 0]
    assert [send(node, 5, START + 3 * SECOND_US) for node in nodes] == [1, 1, 1]


async def test_the_slice_follows_the_nodes() -> None:
    """It is made anew when nodes come or go, and for rates that come later."""

    class There:
        nodes = 3

    node, there = limits(1), There()
    await sharing_of(there, node)()
    assert send(node, 1000, START) == BURST // 3
    rates = MessageRates(caller=PLENTY, tenant=Rate.a_second(9, 9), recipient=PLENTY)
    node.use(rates, {})
    assert send(node, 1000, START) == 3
    there.nodes = 1
    await sharing_of(there, node)()
    assert send(node, 1000, START + SECOND_US) == 9
