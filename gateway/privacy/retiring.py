"""Destroying data keys that something was erased under, and those that nobody needs any more.

A key seals what many have in common: a tenant and a quarter of an hour. When something under it was erased, it is on
the list of the database; then, in steps that may all be done again:

    1. it seals no more (on this node; another node's key is waited for until its time is over)
    2. what others have under it is sealed anew under the tenant's key of now, row by row where it is still the same
    3. messages in a node's memory are waited for: what is on its way keeps its octets
    4. nothing is found under it any more, twice, with a pause in which whoever has read it has opened it
    5. its wrap is destroyed, with its tombstone; then it goes from the list

A crash leaves the key on the list, and the next start begins at 1. With the wrap goes what any backup of the database
holds under the key. Keys whose time was over before all that is kept began are destroyed without being on the list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.audit.records import KeyDestroyed, Record
from gateway.errors import GatewayError, Unavailable
from gateway.payload import PayloadBox
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.envelope import key_id_of
from gateway.sealing.keyring import KeyRecord, Keyring, KeyringUnavailable, Purpose, Tombstone, WrappedKey
from gateway.store.engine.retaining import first_id
from gateway.store.erasure import ErasureStore, Kept, KeptPart, PartPlace, Resealed, ResealedPart, Retiring

log = logging.getLogger(__name__)

PAGE = 2_000  # messages that one look goes through
BATCH = 200  # that are sealed anew by one transaction
MARGIN_S = 3600  # clocks differ
PAUSE_S = 6.0  # beyond the deadline of a look-up, so that whoever has read a field has opened it
_LOOK_S = 30.0
_ID_BYTES = 16
_SECOND = 1_000_000
_OF_MESSAGES = (Purpose.ENVELOPE, Purpose.CONTENT)


class Standing(NamedTuple):
    """How it stands with a key that is to be destroyed. `until`: when it can be at the latest, microseconds; 0 for
    now, or when that is not known."""

    key_id: bytes
    destroyed: bool
    why: str
    until: int


class Store(ErasureStore, Protocol):
    """The part of the store that is needed here."""

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit records."""


class Retirement:
    """Belongs to one event loop; `run` is its task."""

    def __init__(
        self,
        *,
        store: Store,
        box: PayloadBox,
        keys: DataKeys,
        keyring: Keyring,
        node: str,
        now: Callable[[], int],
        pause_s: float = PAUSE_S,
        look_s: float = _LOOK_S,
        page: int = PAGE,
    ) -> None:
        """`now`: microseconds since the Unix epoch. `page`: messages that one look goes through."""
        self._store = store
        self._box = box
        self._keys = keys
        self._keyring = keyring
        self._node = node
        self._now = now
        self._pause_s = pause_s
        self._look_s = look_s
        self._page = page
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._last: dict[bytes, Standing] = {}

    async def run(self) -> None:
        """Work off the list until cancelled."""
        while True:
            try:
                await self.work()
            except GatewayError as error:
                log.warning("keys_not_retired", extra={"why": str(error)})
            self._wanted.clear()
            try:
                async with asyncio.timeout(self._look_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def work(self) -> list[Standing]:
        """Do what can be done now for each key of the list. Raises Unavailable and what the store raises."""
        async with self._lock:
            keys = await self._store.retiring()
            stands = [await self._prepare(key) for key in keys]
            ready = [key for key, stand in zip(keys, stands, strict=True) if stand is None]
            if ready:
                await asyncio.sleep(self._pause_s)
            done = [
                await self._finish(key) if stand is None else stand for key, stand in zip(keys, stands, strict=True)
            ]
            self._last = {stand.key_id: stand for stand in done}
            return done

    async def standing(self) -> list[Standing]:
        """Return the keys of the list, and what was found to keep each when it was worked off last."""
        keys = await self._store.retiring()
        return [self._last.get(key.key_id, Standing(key.key_id, False, "its turn comes", 0)) for key in keys]

    async def _prepare(self, key: Retiring) -> Standing | None:
        """Seal anew what is under a key. None: nothing is found under it any more."""
        record = await self._record(key.key_id)
        if not isinstance(record, WrappedKey):
            return await self._gone(key)
        if not self._at_rest(record):
            until = (record.usable_until + MARGIN_S) * _SECOND
            return Standing(key.key_id, False, f"it may still seal on node {record.node}", until)
        return await self._reseal(key, record)

    async def _finish(self, key: Retiring) -> Standing:
        """Look once more, and destroy the key."""
        record = await self._record(key.key_id)
        if not isinstance(record, WrappedKey):
            return await self._gone(key)
        found = await self._reseal(key, record)
        if found is not None:
            return found
        await self.destroy([record], "what was erased was sealed under it")
        return await self._gone(key)

    async def _gone(self, key: Retiring) -> Standing:
        await self._store.retired(key.key_id)
        return Standing(key.key_id, True, "destroyed", 0)

    async def destroy(self, records: Sequence[WrappedKey], why: str) -> None:
        """Destroy the wraps of keys, and forget the keys. Raises Unavailable."""
        now = self._now()
        told = [KeyDestroyed(now, self._node, "", record.key_id.hex(), record.tenant, why) for record in records]
        await self._store.audit(told)  # it is on record before it is done
        stone = Tombstone(now // _SECOND, f"smsgw on {self._node}", why)
        key_ids = [record.key_id for record in records]
        try:
            await asyncio.to_thread(self._keyring.destroy, key_ids, stone)
        except KeyringUnavailable as error:
            raise Unavailable(str(error), reason="KEYS_UNAVAILABLE") from error
        for key_id in key_ids:
            self._keys.drop(key_id)
        log.info("data_keys_destroyed", extra={"keys": len(key_ids), "why": why})

    async def _record(self, key_id: bytes) -> KeyRecord | None:
        try:
            return await asyncio.to_thread(self._keyring.find, key_id)
        except KeyringUnavailable as error:
            raise Unavailable(str(error), reason="KEYS_UNAVAILABLE") from error

    def _at_rest(self, record: WrappedKey) -> bool:
        """Have this node seal no more under the key; say whether nobody does."""
        self._keys.give_up(record.tenant, record.key_id)
        return record.node == self._node or self._now() // _SECOND > record.usable_until + MARGIN_S

    async def _reseal(self, key: Retiring, record: WrappedKey) -> Standing | None:
        """Go through all that can be under a key; what keeps it, None for nothing."""
        born = first_id((record.made_at - MARGIN_S) * _SECOND)
        after = min(born, key.oldest) if key.oldest else born
        after = (int.from_bytes(after, "big") - 1).to_bytes(_ID_BYTES, "big") if any(after) else after
        before = first_id((record.usable_until + MARGIN_S) * _SECOND)
        busy = until = found = 0
        while record.purpose != Purpose.INBOUND:
            page = await self._store.sealed_under(key, after, before, self._page)
            busy, until, found = busy + page.busy, max(until, page.until), found + len(page.rows)
            for at in range(0, len(page.rows), BATCH):
                await self._seal(key, page.rows[at : at + BATCH])
            if not page.after:
                break
            after = page.after
        held = await self._parts(key) if record.purpose not in _OF_MESSAGES else 0
        if busy or held:
            what = f"{busy} messages under it are on their way" if busy else f"{held} parts from handsets wait under it"
            return Standing(key.key_id, False, what, until)
        return await self._reseal(key, record) if found else None

    async def _seal(self, key: Retiring, rows: Sequence[Kept]) -> None:
        """Seal fields of messages anew."""
        await self._box.ready(field for row in rows for field in (row.envelope, row.content))
        batch = []
        for row in rows:
            old = (row.envelope, row.content)
            new = (self._anew(key, row, "envelope", row.envelope), self._anew(key, row, "content", row.content))
            key_ids = tuple(key_id_of(field) for field, was in zip(new, old, strict=True) if field != was)
            batch.append(Resealed(key.tenant, row.id, old, new, key_ids))
        await self._store.reseal(batch, ())

    def _anew(self, key: Retiring, row: Kept, name: str, field: bytes) -> bytes:
        if not field or key_id_of(field) != key.key_id:
            return field
        return self._box.put(key.tenant, row.id, name, self._box.take(key.tenant, row.id, name, field))

    async def _parts(self, key: Retiring) -> int:
        """Seal what handsets wrote anew; how many parts wait for others under the key."""
        after: PartPlace | None = None
        while True:
            parts = await self._store.parts(after, self._page, key.tenant)
            mine = [part for part in parts if key_id_of(part.payload[_ID_BYTES:]) == key.key_id]
            for at in range(0, len(mine), BATCH):
                await self._seal_parts(mine[at : at + BATCH])
            if len(parts) < self._page:
                break
            after = PartPlace(parts[-1].tenant, parts[-1].id, parts[-1].part)
        waiting = await self._store.held_parts()
        return sum(key_id_of(part.payload[_ID_BYTES:]) == key.key_id for part in waiting)

    async def _seal_parts(self, parts: Sequence[KeptPart]) -> None:
        await self._box.ready(part.payload[_ID_BYTES:] for part in parts)
        batch = []
        for part in parts:
            own = part.payload[:_ID_BYTES]
            payload = self._box.take(part.tenant, own, "inbound", part.payload[_ID_BYTES:])
            new = self._box.put(part.tenant, own, "inbound", payload)
            batch.append(ResealedPart(part, own + new, key_id_of(new)))
        await self._store.reseal((), batch)
