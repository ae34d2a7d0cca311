"""Receipts that an operator should look at, as `smsgw status` shows them: ids and times, and no number of anybody."""

from __future__ import annotations

from gateway.ids import to_text
from gateway.store.receipts import Oddity, ReceiptStore

_SHOWN = 10  # of each kind, the newest
_GRACE = 60 * 1_000_000  # a receipt that came before its response is nothing to look at


async def odd_receipts(store: ReceiptStore, now: int) -> dict[str, list[dict[str, object]]]:
    """Return the newest that match nothing, and the newest that changed nothing and should not have come. `now` is in
    microseconds since the Unix epoch. Raises Unavailable."""
    unmatched = await store.unmatched(now - _GRACE, _SHOWN)
    noted = await store.noted(_SHOWN)
    return {
        "unmatched_receipts": [
            {
                "came_at": row.at,
                "carrier": row.carrier,
                "carrier_id": row.carrier_id,
                "stat": row.stat,
                "error": row.network_error,
                "operator_done_at": row.operator_done_at or "",
                "refused": row.refused,
            }
            for row in unmatched
        ],
        "odd_receipts": [
            {
                "came_at": row.at,
                "why": Oddity(row.oddity).name.lower().replace("_", " "),
                "carrier": row.carrier,
                "carrier_id": row.carrier_id,
                "message": to_text(row.message_id),
                "stat": row.stat,
                "error": row.network_error,
                "operator_done_at": row.operator_done_at or "",
            }
            for row in noted
        ],
    }
