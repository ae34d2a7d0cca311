"""Evidence in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.receipts import Oddity
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import HOUR, NOW, digest, message, receipt, send


async def test_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each oddity the newest receipts are kept, and in the end none."""
    monkeypatch.setattr("gateway.store.engine.noting.KEPT_OF_EACH", 5)
    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    await store.open()
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    await store.receipts([receipt("a", sent_by=-1, at=NOW)])
    for number in range(4):
        batch = [receipt("a", recipient_hash=digest("x"), at=NOW + 10 * number + each) for each in range(3)]
        await store.receipts(batch)
    noted = await store.noted(100)
    assert [row.oddity for row in noted] == [Oddity.MISMATCH] * 5 + [Oddity.IMPOSSIBLE]
    assert [row.at - NOW for row in noted] == [32, 31, 30, 22, 21, 0]
    assert len(await store.noted(2)) == 2
    assert await store.purge(NOW + 1000 * HOUR, 4) == 4
    assert await store.purge(NOW + 1000 * HOUR, 4) == 2
    assert await store.noted(100) == []
    await store.close()
