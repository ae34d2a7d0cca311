"""What operators see of odd receipts."""

from __future__ import annotations

from pathlib import Path

from gateway.evidence import odd_receipts
from gateway.ids import to_text
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import CARRIER, HOUR, NOW, SECOND, digest, message, receipt, send


async def test_odd_receipts(tmp_path: Path) -> None:
    """The newest that match nothing, once their time to match is over, and those that should not have come."""
    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    await store.open()
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    await store.receipts([receipt("nobody"), receipt("a", recipient_hash=digest("another"), operator_done_at=NOW)])
    assert (await odd_receipts(store, NOW + 6 * SECOND))["unmatched_receipts"] == []
    shown = await odd_receipts(store, NOW + HOUR)
    (unmatched,), (odd,) = shown["unmatched_receipts"], shown["odd_receipts"]
    assert (unmatched["carrier"], unmatched["carrier_id"], unmatched["stat"]) == (CARRIER, "nobody", "DELIVRD")
    assert (odd["why"], odd["message"], odd["operator_done_at"]) == ("mismatch", to_text(new.id), NOW)
    await store.close()
