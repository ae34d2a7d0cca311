"""The contract: what is merged in quiet moments, on both engines."""

from __future__ import annotations

import pytest

from gateway.store.contract import ListFilter, Store
from gateway.store.indexing import Rehashed
from gateway.store.sqlite import blocks, runs
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import NOW, TENANT, digest, message

_MOST = 1_000  # steps


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded engine has something to merge of a hundred messages."""
    monkeypatch.setattr(blocks, "SIZE", 4)
    monkeypatch.setattr(runs, "FANOUT", 3)


async def _found(store: Store, name: str) -> list[bytes]:
    return [row.id for row in await store.list_messages(TENANT, ListFilter((), (digest(name),)), None, 1_000)]


async def test_merging_comes_to_an_end_and_changes_nothing(engine: Engine) -> None:
    """Before, between and after, and after a start: the same is found, in the order of ids, and a step more does
    nothing; erasing and hashing anew reach what was merged."""
    news = [message(recipient_hash=digest("ab"[number % 2])) for number in range(100)]
    store = engine()
    await store.open()
    await store.accept(news)
    for _ in range(_MOST):
        assert await _found(store, "a") == [new.id for new in reversed(news[::2])]
        if not await store.merge():
            break
    assert not await store.merge()
    await store.close()
    store = engine()
    await store.open()
    try:
        assert not await store.merge()
        await store.cancel(TENANT, news[0].id, NOW)
        await store.erase(TENANT, [news[0].id], NOW)
        await store.rehash([Rehashed(TENANT, news[1].id, digest("b"), digest("a"))])
        assert await _found(store, "a") == [new.id for new in reversed([news[1], *news[2::2]])]
        assert await _found(store, "b") == [new.id for new in reversed(news[3::2])]
    finally:
        await store.close()
