"""What operators hold back: the few rows of it. All of them are read when the node starts."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from gateway.errors import Overloaded
from gateway.store.operating import MAX_HOLDS, CarrierHold
from gateway.store.sqlite.bulk import fetch
from gateway.store.sqlite.transaction import Transaction

_HOLD = (
    "INSERT INTO carrier_hold (carrier, drained, at, by, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (carrier)"
    " DO UPDATE SET drained = excluded.drained, at = excluded.at, by = excluded.by, reason = excluded.reason"
)
_FREE = "DELETE FROM carrier_hold WHERE carrier = ?"
_ALL = "SELECT carrier, drained, at, by, reason FROM carrier_hold ORDER BY carrier"
_NUMBER = "SELECT count(*) FROM carrier_hold"
_RETRY_S = 60.0


def hold_carriers(tx: Transaction, batch: Sequence[CarrierHold]) -> list[None]:
    """Hold carriers back."""
    for hold in batch:
        tx.db.execute(_HOLD, hold)
        ((number,),) = fetch(tx.db, _NUMBER)
        if number > MAX_HOLDS:
            text = f"{MAX_HOLDS} carriers are held already: let those go on that do not exist any more"
            raise Overloaded(text, retry_after_s=_RETRY_S, reason="TOO_MANY_HOLDS")
    return [None] * len(batch)


def free_carriers(tx: Transaction, batch: Sequence[str]) -> list[bool]:
    """Let carriers go on."""
    freed = []
    for carrier in batch:
        tx.db.execute(_FREE, (carrier,))
        freed.append(tx.db.changes() > 0)
    return freed


def read_carrier_holds(db: apsw.Connection) -> list[CarrierHold]:
    """Return all holds of carriers."""
    return [CarrierHold(carrier, bool(drained), at, by, reason) for carrier, drained, at, by, reason in fetch(db, _ALL)]
