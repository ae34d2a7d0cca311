"""Sizes of queues: right however long they are, counted in slices, and not every time anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.states import Category
from gateway.store.contract import Store
from gateway.store.engine import counting
from gateway.store.engine.counting import Sizes
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import NOW, message, send

WAITING = "queue.WAITING_PROMOTIONAL"
OLDEST = "oldest_due_at.WAITING_PROMOTIONAL"


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "SLICE", 3)
    monkeypatch.setattr(counting, "_REST", 0)


@pytest.mark.parametrize("number", range(11))
async def test_any_number(store: Store, number: int) -> None:
    """Less than a slice, so many slices, and more: each message counts once, whatever its time and tenant."""
    new = [
        message(category=Category.PROMOTIONAL, claimed=False, due_at=NOW + n // 4, tenant=f"t{n % 2}")
        for n in range(number)
    ]
    await store.accept([*new, message(), message(category=Category.OTP, claimed=False)])
    counts = await store.counts()
    assert (counts[WAITING], counts.get(OLDEST)) == (number, NOW if number else None)
    assert (counts["queue.WAITING_OTP"], counts["queue.CLAIMED"]) == (1, 1)


async def test_after_each_step_and_a_start(engine: Engine) -> None:
    """What was claimed, sent or ended counts where it is now, and so it does after a start."""
    store = engine()
    await store.open()
    new = [message(category=Category.PROMOTIONAL, claimed=False, due_at=NOW + n) for n in range(20)]
    await store.accept(new)
    await store.claim(Category.PROMOTIONAL, 7, NOW + 6)
    await send(store, new[:5], [f"id-{n}" for n in range(5)])
    await store.cancel(new[10].tenant, new[10].id, NOW)
    before = await store.counts()
    await store.close()
    again = engine()
    await again.open()
    after = await again.counts()
    await again.close()
    wanted = {WAITING: 12, OLDEST: NOW + 7, "queue.AWAITING": 5, "queue.CLAIMED": 2}
    assert {name: before[name] for name in wanted} == wanted == {name: after[name] for name in wanted}


class _Reads:
    """Hands queries to a store, counts them, and lets time pass for each."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self.queries = 0
        self.now = 0.0

    async def __call__(self, query: Any) -> Any:
        self.queries += 1
        self.now += 0.001
        return await self._read(query)


async def test_a_long_queue_is_counted_seldom(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is used again for a hundred times as long as it took to count; since when the oldest is due is not."""
    monkeypatch.setattr(counting, "_REST", 100)
    store: Any = engine()
    await store.open()
    reads = _Reads(store._read)
    sizes = Sizes(reads, clock=lambda: reads.now)
    new = [message(category=Category.PROMOTIONAL, claimed=False, due_at=NOW + n) for n in range(10)]
    await store.accept(new)
    assert (await sizes.counts())[WAITING] == 10
    assert reads.queries == 1 + 4  # the heads, three slices, and the rest
    await store.cancel(new[0].tenant, new[0].id, NOW)
    counts = await sizes.counts()
    assert (counts[WAITING], counts[OLDEST], reads.queries) == (10, NOW + 1, 1 + 4 + 1)
    reads.now += 100 * 0.004
    assert (await sizes.counts())[WAITING] == 9
    await store.claim(Category.PROMOTIONAL, 8, NOW + 20)
    assert (await sizes.counts())[WAITING] == 1  # short again: counted each time
    await store.close()
