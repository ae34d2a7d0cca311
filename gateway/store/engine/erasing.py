"""Finding what is kept of one person, erasing it, and putting fields that were sealed anew in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.store.engine.database import Look
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction, read_names
from gateway.store.erasure import (
    Erased,
    Kept,
    KeptEvent,
    KeptPart,
    KeptReceipt,
    PartPlace,
    Resealed,
    ResealedPart,
    Retiring,
    SealedPage,
)

_ID_BYTES = 16
_KEY_AT, _KEY_END = 1, 9  # of a sealed field (gateway.sealing.envelope): its version stands before the key's id
_CLAIMED = 20


class Erase(NamedTuple):
    """One call of `erase`."""

    tenant: str
    message_ids: Sequence[bytes]
    now: int


class EraseParts(NamedTuple):
    """One call of `erase_parts`."""

    parts: Sequence[KeptPart]
    now: int


class EraseReceipts(NamedTuple):
    """One call of `erase_receipts`."""

    hashes: Sequence[bytes]
    message_ids: Sequence[bytes]


class Reseal(NamedTuple):
    """One call of `reseal`."""

    batch: Sequence[Resealed]
    parts: Sequence[ResealedPart]


def key_of(field: bytes) -> bytes:
    """Return the id of the data key of a sealed field; b"" where there is none."""
    return field[_KEY_AT:_KEY_END]


def erase(tx: Transaction, batch: Sequence[Erase]) -> list[Erased]:
    """Take from final messages what is personal."""
    return [_erase(tx, *step) for step in batch]


def _erase(tx: Transaction, tenant: str, message_ids: Sequence[bytes], now: int) -> Erased:
    sql, tenant_no = tx.sql.erasing, tx.tenants.known(tenant)
    found = sql.sealed.find(tx.db, [(tenant_no, message_id) for message_id in message_ids])
    final = [row for row in found if row[2] is None]
    rows: list[Row] = [(tenant_no, row[1]) for row in final]
    _retire(tx, tenant_no, {key_of(field) for row in final for field in row[3:5] if field}, now)
    refs: list[Row] = [
        (row[5], carrier_id, tenant_no, row[1]) for row in final for carrier_id in row[6].split("\n") if carrier_id
    ]
    sql.erase_refs.run(tx.db, refs)
    sql.erase_older_refs.run(tx.db, refs)
    sql.erase_body.run(tx.db, rows)
    sql.erase_message.run(tx.db, rows)
    if final:
        tx.counted["erased.message"] += len(final)
    return Erased(len(final), len(found) - len(final))


def _retire(tx: Transaction, tenant_no: int, key_ids: set[bytes], now: int) -> None:
    tx.sql.erasing.retire.run(tx.db, [(key_id, tenant_no, now) for key_id in sorted(key_ids)])


def erase_parts(tx: Transaction, batch: Sequence[EraseParts]) -> list[int]:
    """Delete parts of messages from handsets."""
    return [_erase_parts(tx, *step) for step in batch]


def _erase_parts(tx: Transaction, parts: Sequence[KeptPart], now: int) -> int:
    sql = tx.sql.erasing
    keys: dict[int, set[bytes]] = {}
    whole: list[Row] = []
    held: list[Row] = []
    for part in parts:
        tenant_no = tx.tenants.known(part.tenant)
        keys.setdefault(tenant_no, set()).add(key_of(part.payload[_ID_BYTES:]))
        if part.group:
            held.append((tenant_no, part.group, part.part))
        else:
            whole.append((tenant_no, part.id, part.part))
    for tenant_no, key_ids in keys.items():
        _retire(tx, tenant_no, key_ids, now)
    deleted = sql.erase_parts.count(tx.db, whole) + sql.erase_held.count(tx.db, held)
    if deleted:
        tx.counted["erased.inbound"] += deleted
        tx.recount()
    return deleted


def erase_receipts(tx: Transaction, batch: Sequence[EraseReceipts]) -> list[int]:
    """Delete receipts that name a recipient, or are evidence about his messages."""
    return [_erase_receipts(tx, *step) for step in batch]


def _erase_receipts(tx: Transaction, hashes: Sequence[bytes], message_ids: Sequence[bytes]) -> int:
    wanted = frozenset(hashes)
    rows = [row for row in tx.sql.erasing.kept.rows(tx.db, ()) if wanted & _hashes(row[4])]
    tx.sql.erasing.erase_kept.run(tx.db, [tuple(row[:5]) for row in rows])
    noted = tx.sql.erasing.erase_noted.count(tx.db, [(message_id,) for message_id in message_ids])
    if rows:
        tx.recount()
    return len(rows) + noted


def _hashes(joined: bytes) -> set[bytes]:
    return {joined[at : at + _ID_BYTES] for at in range(0, len(joined), _ID_BYTES)}


def reseal(tx: Transaction, batch: Sequence[Reseal]) -> list[int]:
    """Put fields that were sealed anew in the place of the old ones."""
    return [_reseal(tx, *step) for step in batch]


def _reseal(tx: Transaction, batch: Sequence[Resealed], parts: Sequence[ResealedPart]) -> int:
    sql = tx.sql.erasing
    oldest: dict[bytes, bytes] = {}
    rows: list[Row] = []
    for row in batch:
        for key_id in row.key_ids:
            oldest[key_id] = min(row.id, oldest.get(key_id, row.id))
        rows.append((tx.tenants.known(row.tenant), row.id, *row.old, *row.new))
    part_rows: list[Row] = []
    for resealed in parts:
        part = resealed.part
        part_rows.append((tx.tenants.known(part.tenant), part.id, part.part, part.payload, resealed.new))
    sql.note_resealing.run(tx.db, list(oldest.items()))
    return sql.reseal.count(tx.db, rows) + sql.reseal_parts.count(tx.db, part_rows)


def retired(tx: Transaction, batch: Sequence[bytes]) -> list[None]:
    """Forget keys that were destroyed."""
    rows: list[Row] = [(key_id,) for key_id in batch]
    tx.sql.erasing.drop_retiring.run(tx.db, rows)
    tx.sql.erasing.drop_resealing.run(tx.db, rows)
    return [None] * len(batch)


def read_sealed(look: Look, tenant: str, message_ids: Sequence[bytes]) -> list[Kept]:
    """Return what is sealed of messages."""
    tenant_no = _number(look, tenant)
    rows = look.sql.erasing.sealed.find(look.db, [(tenant_no, message_id) for message_id in message_ids])
    return [Kept(bytes(row[1]), row[2] is None, bytes(row[3]), bytes(row[4])) for row in rows]


def _number(look: Look, tenant: str) -> int:
    names = read_names(look, look.sql.transaction.tenants)
    return next((number for number, name in names.items() if name == tenant), -1)


def read_events(
    look: Look, tenant: str, message_ids: Sequence[bytes], after: int, limit: int
) -> tuple[list[KeptEvent], int]:
    """Return events of messages, and where to go on."""
    wanted = frozenset(message_ids)
    rows = look.sql.reading.events.rows(look.db, (tenant, after, limit))
    found = [
        KeptEvent(row[0], row[1], bytes(row[2]), row[3], row[8], row[9], *row[11:14])
        for row in rows
        if bytes(row[2]) in wanted
    ]
    return found, rows[-1][0] if len(rows) == limit else 0


def read_parts(look: Look, after: PartPlace | None, limit: int, tenant: str) -> list[KeptPart]:
    """Return a page of parts."""
    names = read_names(look, look.sql.transaction.tenants)
    numbers = {name: number for number, name in names.items()}
    place = (-1, b"", 0) if after is None else (numbers.get(after.tenant, -1), after.id, after.part)
    if tenant:
        only = numbers.get(tenant, -1)
        place = max(place, (only, b"", 0))
        rows = look.sql.erasing.parts_of.rows(look.db, (*place, only, limit))
    else:
        rows = look.sql.erasing.parts.rows(look.db, (*place, limit))
    return [KeptPart(names[row[0]], bytes(row[1]), b"", row[2], bytes(row[3])) for row in rows]


def read_held(look: Look) -> list[KeptPart]:
    """Return all parts that wait for others."""
    names = read_names(look, look.sql.transaction.tenants)
    rows = look.sql.erasing.held.rows(look.db, ())
    return [KeptPart(names[row[0]], bytes(row[3])[:_ID_BYTES], bytes(row[1]), row[2], bytes(row[3])) for row in rows]


def read_receipts(look: Look, hashes: Sequence[bytes], message_ids: Sequence[bytes]) -> list[KeptReceipt]:
    """Return receipts that name a recipient, or are evidence about his messages."""
    wanted, names = frozenset(hashes), read_names(look, look.sql.transaction.carriers)
    found = [
        KeptReceipt(row[5], names[row[0]], row[1], row[3], row[6], b"")
        for row in look.sql.erasing.kept.rows(look.db, ())
        if wanted & _hashes(bytes(row[4]))
    ]
    ids = frozenset(message_ids)
    noted = look.sql.erasing.noted.rows(look.db, ())
    return found + [
        KeptReceipt(row[0], names[row[1]], row[2], row[4], row[5], bytes(row[3])) for row in noted if row[3] in ids
    ]


def read_retiring(look: Look) -> list[Retiring]:
    """Return the keys that are to be destroyed."""
    names = read_names(look, look.sql.transaction.tenants)
    rows = look.sql.erasing.retiring.rows(look.db, ())
    return [
        Retiring(bytes(key_id), names[tenant_no], since, bytes(oldest)) for key_id, tenant_no, since, oldest in rows
    ]


def read_sealed_under(look: Look, key: Retiring, after: bytes, before: bytes, limit: int) -> SealedPage:
    """Look for what is under a key."""
    sql, tenant_no = look.sql.erasing, _number(look, key.tenant)
    ends = sql.page_end.fetch(look.db, (tenant_no, after, before, limit - 1))
    end = bytes(ends[0][0]) if ends else b""
    rows: list[Any] = sql.under.rows(look.db, (tenant_no, after, end or before, key.key_id))
    free = [Kept(bytes(row[0]), row[1] is None, bytes(row[3]), bytes(row[4])) for row in rows if row[1] != _CLAIMED]
    busy = [row[2] for row in rows if row[1] == _CLAIMED]
    return SealedPage(free, len(busy), max(busy, default=0), end)
