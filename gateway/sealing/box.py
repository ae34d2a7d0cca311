"""The `gateway.payload.PayloadBox` that seals: see `gateway.sealing.envelope` for what it writes."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import StoreCorrupt
from gateway.payload import cannot_open
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.envelope import KeyUsedUp, key_id_of, key_ids_of
from gateway.sealing.openers import Openers


class SealingBox:
    """Seals payloads on their way into the store and opens them on their way out. It belongs to one event loop."""

    __slots__ = ("_keys", "_openers")

    def __init__(self, keys: DataKeys, openers: Openers | None) -> None:
        """Without `openers` it seals only."""
        self._keys = keys
        self._openers = openers

    def __repr__(self) -> str:
        return "SealingBox(**)"

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return `payload`, sealed for this tenant, object and field, under a key of the tenant for this field, which
        is a `gateway.sealing.keyring.Purpose`. Raises Unavailable when there is no key."""
        sealer = self._keys.sealer(tenant, field)
        try:
            return sealer.seal(object_id, field, payload)
        except KeyUsedUp:
            self._keys.retire(tenant, sealer)
            return self._keys.sealer(tenant, field).seal(object_id, field, payload)

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return what was put there. Raises StoreCorrupt for anything else, and when its key is lost; Unavailable when
        its key cannot be had at the moment."""
        if self._openers is None:
            raise cannot_open()
        opener = self._openers.get(key_id_of(stored))
        if opener.tenant != tenant:  # the associated data would say so too
            raise StoreCorrupt("a stored field is not what was sealed there")
        return opener.open(object_id, field, stored)

    def at_hand(self, stored: Iterable[bytes]) -> bool:
        """Whether `take` need not fetch a key for any of these."""
        return self._openers is not None and not self._openers.missing(key_ids_of(stored))

    async def ready(self, stored: Iterable[bytes]) -> None:
        """Fetch the keys that `take` needs for these, beside the event loop. Raises Unavailable."""
        if self._openers is None:
            raise cannot_open()
        await self._openers.load(key_ids_of(stored))

    @property
    def opens(self) -> bool:
        """Whether it opens anything: not on a node that only accepts."""
        return self._openers is not None
