"""Another index key: the hashes by which recipients are found are written anew under it, while calls go on.

An index key is replaced by putting its file among `store.older_index_key_files` and a new one in its place. From the
restart on hashes are written under the new one, and looked for under both. What this task goes through then is found by
the index itself, a page at a time: the recipient is read from the envelope, and its hash is written anew if it is still
the one that was read. So it survives any end, and needs no marks.

    recipients of messages   written anew while the envelope is kept; else they age out with the message
    idempotency keys         nobody knows the key: 72 hours
    receipts without message likewise
    inbound fingerprints     likewise, and they do not say under which key they are: 72 hours after the replacement
    holds by recipient       nobody knows the number: to be made anew (`smsgw pause`)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.errors import GatewayError, StoreCorrupt
from gateway.payload import PayloadBox
from gateway.records import IndexKeys, decode_envelope
from gateway.store.indexing import Hashed, IndexStore, IndexUse, Rehashed

log = logging.getLogger(__name__)

PAGE = 200
_LOOK_S = 600.0
_RETRY_S = 5.0
_LEAST_REST_S = 0.005


class Store(IndexStore, Protocol):
    """The part of the store that is needed here."""

    async def stored_tenants(self) -> list[str]:
        """Return the names of all tenants."""


class KeyStanding(NamedTuple):
    """How it stands with an index key. `removable_at`: microseconds, 0 when that is not known."""

    version: bytes
    newest: bool
    configured: bool
    use: IndexUse
    removable: bool
    removable_at: int
    why: str


class Rekeying:
    """Belongs to one event loop; `run` is its task. `now`: microseconds; `ages`: after so long the hashes are gone that
    nobody can write anew, in microseconds."""

    def __init__(
        self,
        *,
        store: Store,
        box: PayloadBox,
        keys: IndexKeys,
        now: Callable[[], int],
        ages: int,
        look_s: float = _LOOK_S,
        page: int = PAGE,
    ) -> None:
        self._store = store
        self._box = box
        self._keys = keys
        self._now = now
        self._ages = ages
        self._look_s = look_s
        self._page = page

    async def run(self) -> None:
        """Note the newest key, and write hashes anew until cancelled."""
        while True:
            pause_s = self._look_s
            try:
                await self.round()
            except GatewayError as error:  # the next round finds what is left
                log.warning("rekeying_interrupted", extra={"why": str(error)})
                pause_s = min(_RETRY_S, self._look_s)
            await asyncio.sleep(pause_s)

    async def round(self) -> int:
        """Write anew all that is under older keys and can be; how many hashes. Raises what the store raises."""
        await self._store.newest_index_key(self._keys.version, self._now())
        if not self._keys.older:
            return 0
        there = set(await self._store.index_versions())
        changed = 0
        for older in self._keys.older:
            if older.version in there:
                for tenant in await self._store.stored_tenants():
                    changed += await self._tenant(tenant, older.version)
        if changed:
            log.info("index_rekeyed", extra={"hashes": changed})
        return changed

    async def _tenant(self, tenant: str, version: bytes) -> int:
        after, changed = (b"", b""), 0
        while True:
            began = time.monotonic()
            rows = await self._store.hashed_under(tenant, version, after, self._page)
            await self._box.ready(row.envelope for row in rows)
            batch = [new for row in rows if (new := self._anew(tenant, row)) is not None]
            if batch:
                changed += await self._store.rehash(batch)
            if len(rows) < self._page:
                return changed
            after = (rows[-1].recipient_hash, rows[-1].id)
            await asyncio.sleep(max(_LEAST_REST_S, time.monotonic() - began))

    def _anew(self, tenant: str, row: Hashed) -> Rehashed | None:
        """Return a message's new hash; None when nobody knows the recipient any more."""
        if not row.envelope:
            return None
        try:
            envelope = decode_envelope(self._box.take(tenant, row.id, "envelope", row.envelope))
        except StoreCorrupt as error:
            log.warning("hash_not_written_anew", extra={"why": str(error)})
            return None
        return Rehashed(tenant, row.id, row.recipient_hash, self._keys.recipient_hash(envelope.recipient))

    async def standing(self) -> list[KeyStanding]:
        """Return how it stands with each key of the configuration, and each that hashes are stored under."""
        configured = [self._keys.version, *[older.version for older in self._keys.older]]
        others = [version for version in await self._store.index_versions() if version not in configured]
        uses = {version: await self._store.index_use(version) for version in (*configured, *others)}
        since = uses[self._keys.version].since
        return [self._stand(version, uses[version], since, version in configured) for version in uses]

    def _stand(self, version: bytes, use: IndexUse, since: int, configured: bool) -> KeyStanding:
        if version == self._keys.version:
            return KeyStanding(version, True, configured, use, False, 0, "it is the newest")
        aged = since + self._ages if since else 0
        young = not since or self._now() < aged
        if use.messages > use.unrecoverable:
            why, at = "hashes are being written anew", 0
        elif use.messages:
            why, at = "the recipients of these messages are not known any more: they go with the messages", 0
        elif use.holds:
            why, at = "holds by recipient stand under it alone: end them, and make them anew", 0
        elif use.any or young:
            why, at = "keyed hashes that nobody can write anew go in time", aged
        else:
            return KeyStanding(version, False, configured, use, True, 0, "nothing stands under it")
        if not configured:
            why = f"it is not in the configuration: what stands under it is not found. {why}"
        return KeyStanding(version, False, configured, use, False, at, why)
