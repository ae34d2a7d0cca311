"""Versions of the index key, hashes under them, and which data keys are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.ids import made_at
from gateway.states import Category
from gateway.store.engine.calls import Calls
from gateway.store.engine.database import Look
from gateway.store.engine.erasing import key_of
from gateway.store.engine.retaining import read_due
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction, read_names
from gateway.store.engine.writer import Kind
from gateway.store.indexing import PART_WAITS, Hashed, IndexUse, KeyFloor, KeyFloors, Rehashed
from gateway.store.retention import YOUNGEST, Rule, Stage

COUNTED = 100_000  # messages of one version, and messages that retention has left, that are looked at
_STAGES = (Stage.CONTENT, Stage.ENVELOPE)
_VERSION_BYTES = 2
_HASH_BYTES = 16
_LAST_VERSION = b"\xff\xff"


class NewestKey(NamedTuple):
    """One call of `newest_index_key`."""

    version: bytes
    now: int


def newest_index_key(tx: Transaction, batch: Sequence[NewestKey]) -> list[None]:
    """Note which key is the newest."""
    tx.sql.indexing.note.run(tx.db, [tuple(call) for call in batch])
    return [None] * len(batch)


def rehash(tx: Transaction, batch: Sequence[Rehashed]) -> list[int]:
    """Write hashes anew; for each, how many rows changed."""
    rows: list[Row] = [(tx.tenants.known(row.tenant), row.id, row.old, row.new) for row in batch]
    changed = tx.sql.indexing.rehash.count(tx.db, rows)
    return [changed, *[0] * (len(batch) - 1)]


def read_versions(look: Look) -> list[bytes]:
    """Return the versions that recipients are hashed under: a few steps through the index for each tenant."""
    found: list[bytes] = []
    at = b"\x00"
    while (least := look.sql.indexing.first.fetch(look.db, (at,))[0][0]) is not None:
        found.append(version := bytes(least)[:_VERSION_BYTES])
        at = _after(version)
    return found


def _after(version: bytes) -> bytes:
    """Return what is greater than all hashes of a version."""
    if version == _LAST_VERSION:
        return b"\xff" * (_HASH_BYTES + 1)
    return (int.from_bytes(version, "big") + 1).to_bytes(_VERSION_BYTES, "big")


def read_missing(look: Look, configured: Sequence[bytes], now: int, ages: int) -> list[bytes]:
    """Return the versions that something stands under and that are not among those configured, the newest first; a key
    that was replaced less than `ages` ago (microseconds) may have hashes that do not say so."""
    missing = [version for version in read_versions(look) if version not in configured]
    kept = {bytes(version): since for version, since in look.sql.indexing.all.rows(look.db, ())}
    young = kept.get(configured[0], now) + ages > now
    return missing + [version for version in kept if young and version not in (*configured, *missing)]


def read_use(look: Look, version: bytes) -> IndexUse:
    """Return what stands under a version."""
    sql, end = look.sql.indexing, _after(version)
    ((messages, lost),) = sql.count.fetch(look.db, (version, end, COUNTED))
    keys = bool(sql.keys.fetch(look.db, (version, end)))
    receipts = sum(_has(bytes(row[4]), version) for row in look.sql.erasing.kept.rows(look.db, ()))
    # A hold has the hash under each key that was in use when it was made, the newest first.
    holds = sum(bytes(row[2])[:_VERSION_BYTES] == version for row in look.sql.holding.messages.fetch(look.db))
    since = sql.since.fetch(look.db, (version,))
    return IndexUse(messages, lost or 0, keys, receipts, holds, since[0][0] if since else 0)


def _has(joined: bytes, version: bytes) -> bool:
    """Say whether the newest of joined hashes is of a version."""
    return joined[:_VERSION_BYTES] == version


def read_hashed(look: Look, tenant: str, version: bytes, after: tuple[bytes, bytes], limit: int) -> list[Hashed]:
    """Return a page of messages under a version."""
    names = read_names(look, look.sql.transaction.tenants)
    tenant_no = next((number for number, name in names.items() if name == tenant), -1)
    place = after if after[0] else (version, b"")
    rows = look.sql.indexing.page.rows(look.db, (tenant_no, *place, _after(version), limit))
    return [Hashed(bytes(row[0]), bytes(row[1]), bytes(row[2])) for row in rows]


def read_floors(look: Look, tenant: str, rules: Sequence[Rule], now: int) -> KeyFloors:
    """Return which data keys of a tenant are needed."""
    names = read_names(look, look.sql.transaction.tenants)
    tenant_no = next((number for number, name in names.items() if name == tenant), -1)
    at = _gone_before(look, rules, now)
    left = [
        row for stage in _STAGES for row in look.sql.indexing.left.rows(look.db, (tenant_no, int(stage), COUNTED + 1))
    ]
    if len(left) > COUNTED:
        nothing = KeyFloor(0, frozenset())
        return KeyFloors(nothing, nothing, _inbound_floor(look, tenant_no, now))
    envelopes = frozenset(key_of(bytes(row[0])) for row in left if row[0])
    contents = frozenset(key_of(bytes(row[1])) for row in left if row[1])
    return KeyFloors(
        content=KeyFloor(at[Stage.CONTENT], contents),
        envelope=KeyFloor(at[Stage.ENVELOPE], envelopes),
        inbound=_inbound_floor(look, tenant_no, now),
    )


def _gone_before(look: Look, rules: Sequence[Rule], now: int) -> dict[Stage, int]:
    """Return up to when the contents and envelopes of all categories have gone, but for what was left. An envelope
    takes its content with it."""
    reached = {rule: now - max(rule.keep, YOUNGEST) for rule in rules}
    for due in read_due(look, rules, now):
        reached[due.rule] = min(reached[due.rule], made_at(due.message_id))
    by_category = {
        stage: {
            category: at
            for rule, at in reached.items()
            if rule.stage == stage
            for category in Category
            if rule.categories >> category & 1
        }
        for stage in _STAGES
    }
    envelopes = by_category[Stage.ENVELOPE]
    contents = {category: max(at, envelopes[category]) for category, at in by_category[Stage.CONTENT].items()}
    return {Stage.CONTENT: min(contents.values()), Stage.ENVELOPE: min(envelopes.values())}


def _inbound_floor(look: Look, tenant_no: int, now: int) -> KeyFloor:
    oldest = [made_at(bytes(row[0])) for row in look.sql.indexing.oldest_part.fetch(look.db, (tenant_no,))]
    held = {key_of(bytes(row[3])[_HASH_BYTES:]) for row in look.sql.erasing.held.rows(look.db, ())}
    return KeyFloor(min([now, *oldest]) - PART_WAITS, frozenset(held))


_NEWEST = Kind(50, "newest_index_key", newest_index_key)
_REHASH = Kind(51, "rehash", rehash)


class IndexCalls(Calls):
    """The coroutines of `gateway.store.indexing.IndexStore`."""

    async def newest_index_key(self, version: bytes, now: int) -> None:
        """Note that hashes are written under this version from now on, unless that has been noted."""
        await self._write(_NEWEST, [NewestKey(version, now)], single=True)

    async def index_versions(self) -> list[bytes]:
        """Return the versions that recipients are hashed under."""
        found: list[bytes] = await self._read(read_versions)
        return found

    async def index_use(self, version: bytes) -> IndexUse:
        """Return what stands under a version."""
        found: IndexUse = await self._read(lambda look: read_use(look, version))
        return found

    async def hashed_under(self, tenant: str, version: bytes, after: tuple[bytes, bytes], limit: int) -> list[Hashed]:
        """Return a page of messages under a version, behind `after`."""
        rows: list[Hashed] = await self._read(lambda look: read_hashed(look, tenant, version, after, limit))
        return rows

    async def rehash(self, batch: Sequence[Rehashed]) -> int:
        """Write hashes anew where they are still those that were read; returns how many."""
        changed: list[int] = await self._write(_REHASH, batch)
        return sum(changed)

    async def key_floors(self, tenant: str, rules: Sequence[Rule], now: int) -> KeyFloors:
        """Return which data keys of a tenant are needed; `rules` are those of its contents and envelopes."""
        floors: KeyFloors = await self._read(lambda look: read_floors(look, tenant, rules, now))
        return floors
