"""The statements of nodes that share a database."""

from __future__ import annotations

from gateway.store.engine.statements import SharingSql
from gateway.store.postgres import leases
from gateway.store.postgres.bulk import ME, Plain, Prepared, nothing
from gateway.store.postgres.transaction import names

IN_DOUBT = Prepared(f"{leases.IN_DOUBT} AND {leases.ORPHANED} FOR UPDATE", before=leases.MOVED_ON, bindings=nothing)
RECLAIM = Plain(f"{leases.RECLAIM} AND {leases.ORPHANED}")
NEXT_DUE = Plain("SELECT min(due_at) FROM message WHERE queue > 10 AND queue < 20 AND queue = $1 AND ways_no = $2")
MISSED = Plain(
    "SELECT k.carrier_no, k.carrier_id FROM kept_receipt AS k JOIN carrier_ref AS r"
    " ON r.carrier_no = k.carrier_no AND r.carrier_id = k.carrier_id WHERE k.at > $1 LIMIT $2"
)
_WISH = Plain(f"INSERT INTO bind_wish (carrier, holder) VALUES ($1, {ME}) ON CONFLICT DO NOTHING")  # noqa: S608 - a constant
_UNWISH = Plain(f"DELETE FROM bind_wish WHERE carrier = $1 AND holder = {ME}")  # noqa: S608 - a constant
_WISHERS = Plain(
    "SELECT w.holder FROM bind_wish AS w JOIN node AS n ON n.no = w.holder AND NOT n.fenced"
    " WHERE w.carrier = $1 ORDER BY w.holder"
)
_HELD_SLOTS = Plain(f"SELECT number FROM bind_slot WHERE carrier = $1 AND holder = {ME} ORDER BY number")  # noqa: S608 - a constant
_TAKE_SLOT = Plain(
    f"INSERT INTO bind_slot AS s (carrier, number, holder) VALUES ($1, $2, {ME}) ON CONFLICT (carrier, number)"  # noqa: S608 - a constant
    " DO UPDATE SET holder = excluded.holder"
    " WHERE NOT EXISTS (SELECT FROM node AS n WHERE n.no = s.holder AND NOT n.fenced)"
)
_FREE_SLOT = Plain(f"DELETE FROM bind_slot WHERE carrier = $1 AND number = $2 AND holder = {ME}")  # noqa: S608 - a constant

SQL = SharingSql(
    in_doubt=IN_DOUBT,
    reclaim=RECLAIM,
    ways=names("ways"),
    next_due=NEXT_DUE,
    wish=_WISH,
    unwish=_UNWISH,
    wishers=_WISHERS,
    held_slots=_HELD_SLOTS,
    take_slot=_TAKE_SLOT,
    free_slot=_FREE_SLOT,
    missed=MISSED,
)
