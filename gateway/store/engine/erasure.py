"""The part of an engine for one person's rights: the coroutines of `gateway.store.erasure.ErasureStore`, and no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.audit.records import Record
from gateway.store.engine import erasing
from gateway.store.engine.calls import Calls
from gateway.store.engine.writer import Kind
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

_ERASE = Kind(40, "erase", erasing.erase)
_ERASE_PARTS = Kind(41, "erase_parts", erasing.erase_parts)
_ERASE_RECEIPTS = Kind(42, "erase_receipts", erasing.erase_receipts)
_RESEAL = Kind(43, "reseal", erasing.reseal)
_RETIRED = Kind(44, "retired", erasing.retired)


class ErasureCalls(Calls):
    """What is kept of one person, and data keys that are to be destroyed."""

    async def sealed_of(self, tenant: str, message_ids: Sequence[bytes]) -> list[Kept]:
        """Return what is sealed of these messages."""
        found: list[Kept] = await self._read(lambda look: erasing.read_sealed(look, tenant, message_ids))
        return found

    async def events_of(
        self, tenant: str, message_ids: Sequence[bytes], after: int, limit: int
    ) -> tuple[list[KeptEvent], int]:
        """Look at up to `limit` events of the tenant: those of these messages, and where to go on; 0 at the end."""
        found: tuple[list[KeptEvent], int]
        found = await self._read(lambda look: erasing.read_events(look, tenant, message_ids, after, limit))
        return found

    async def parts(self, after: PartPlace | None, limit: int, tenant: str = "") -> list[KeptPart]:
        """Return a page of parts of complete messages from handsets, of one tenant or of all."""
        found: list[KeptPart] = await self._read(lambda look: erasing.read_parts(look, after, limit, tenant))
        return found

    async def held_parts(self) -> list[KeptPart]:
        """Return all parts that wait for others."""
        found: list[KeptPart] = await self._read(erasing.read_held)
        return found

    async def receipts_of(self, hashes: Sequence[bytes], message_ids: Sequence[bytes]) -> list[KeptReceipt]:
        """Return receipts kept that name one of these recipients, and those noted about one of these messages."""
        found: list[KeptReceipt] = await self._read(lambda look: erasing.read_receipts(look, hashes, message_ids))
        return found

    async def erase(self, tenant: str, message_ids: Sequence[bytes], now: int, audit: Sequence[Record] = ()) -> Erased:
        """Take from those of these messages that are final what is personal."""
        step = erasing.Erase(tenant, tuple(message_ids), now)
        erased: Erased = await self._write(_ERASE, [step], single=True, audit=audit)
        return erased

    async def erase_parts(self, parts: Sequence[KeptPart], now: int) -> int:
        """Delete parts of messages from handsets; returns how many."""
        deleted: int = await self._write(_ERASE_PARTS, [erasing.EraseParts(tuple(parts), now)], single=True)
        return deleted

    async def erase_receipts(self, hashes: Sequence[bytes], message_ids: Sequence[bytes]) -> int:
        """Delete what `receipts_of` finds; returns how many."""
        step = erasing.EraseReceipts(tuple(hashes), tuple(message_ids))
        deleted: int = await self._write(_ERASE_RECEIPTS, [step], single=True)
        return deleted

    async def retiring(self) -> list[Retiring]:
        """Return the data keys that are to be destroyed, the oldest first."""
        found: list[Retiring] = await self._read(erasing.read_retiring)
        return found

    async def sealed_under(self, key: Retiring, after: bytes, before: bytes, limit: int) -> SealedPage:
        """Look at up to `limit` of the tenant's messages between two ids for what is under a key."""
        page: SealedPage = await self._read(lambda look: erasing.read_sealed_under(look, key, after, before, limit))
        return page

    async def reseal(self, batch: Sequence[Resealed], parts: Sequence[ResealedPart] = ()) -> int:
        """Put fields in the place of those that were read, where they are still there."""
        changed: int = await self._write(_RESEAL, [erasing.Reseal(tuple(batch), tuple(parts))], single=True)
        return changed

    async def retired(self, key_id: bytes) -> None:
        """Forget a data key that was destroyed."""
        await self._write(_RETIRED, [key_id], single=True)
