"""What is kept of one person: found through the keyed index, told whole, and erased.

A number is looked for under every index key in use. What handsets wrote has no index: it is opened, page by page, and
compared. Nothing here writes a number anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from carrier.errors import TextError
from carrier.inbound import InboundPart, unpack_part
from gateway.errors import GatewayError, KeyDestroyed, StoreCorrupt, WrongState
from gateway.payload import PayloadBox
from gateway.privacy.retiring import Standing
from gateway.records import Envelope, IndexKeys, decode_envelope
from gateway.states import FINAL
from gateway.store.contract import ListFilter, MessageRow
from gateway.store.contract import Store as WholeStore
from gateway.store.erasure import Kept as Sealed
from gateway.store.erasure import KeptEvent, KeptPart, KeptReceipt, PartPlace, Remainder
from gateway.store.operating import MessageHold

log = logging.getLogger(__name__)

PAGE = 500
_EVENTS = 2_000
_ID_BYTES = 16
_IN_BACKUPS = Remainder(
    "masked number and keyed hash, which are not sealed", "backups of the database from before", "they are deleted"
)
_ROUNDS = 3  # messages that end, or come, while others are erased


class Store(WholeStore, Protocol):
    """What is needed of the store."""


class Retiring(Protocol):
    """What is needed of `gateway.privacy.retiring.Retirement`."""

    async def work(self) -> list[Standing]:
        """Destroy what can be destroyed now; how it stands with each key of the list."""

    async def standing(self) -> list[Standing]:
        """Return how it stood with each key of the list when it was worked off last."""


class FoundMessage(NamedTuple):
    """A message to the person. `envelope` and `content` are None when they are not kept, or cannot be opened: `closed`
    says why, of one of them."""

    row: MessageRow
    envelope: Envelope | None
    content: bytes | None
    events: list[KeptEvent]
    closed: StoreCorrupt | None = None


class FoundInbound(NamedTuple):
    """A message from the person, or those parts of it that have come."""

    tenant: str
    id: bytes
    parts: list[InboundPart]
    complete: bool


Found: TypeAlias = FoundMessage | FoundInbound | KeptReceipt | MessageHold


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How much there is."""

    messages: dict[str, list[bytes]]  # ids by tenant
    unfinished: int
    ends: int  # when the last of the unfinished is over at the latest, microseconds; 0 without any
    newest: int  # when the newest was accepted; 0 without any
    parts: list[KeptPart]

    @property
    def number(self) -> int:
        """Of messages."""
        return sum(map(len, self.messages.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased, and what was not."""

    messages: int
    inbound: int  # parts of messages from handsets
    receipts: int
    cancelled: int
    unfinished: int
    unfinished_until: int  # microseconds; 0 without any
    hashes_until: int  # keyed hashes of idempotency keys and contents go then; 0 without any
    keys: list[Standing]
    holds: int
    remains: list[Remainder]  # what is left in files all the same


class Persons:
    """Belongs to one event loop. `now`: microseconds since the Unix epoch; `grace`: how long beyond its validity a
    message waits for its receipt, and `keys_for`: how long an idempotency key is kept, in microseconds."""

    def __init__(
        self,
        *,
        store: Store,
        box: PayloadBox,
        keys: IndexKeys,
        retirement: Retiring,
        now: Callable[[], int],
        grace: int,
        keys_for: int,
    ) -> None:
        self._store = store
        self._box = box
        self._keys = keys
        self._retirement = retirement
        self._now = now
        self._grace = grace
        self._keys_for = keys_for

    async def find(self, number: str, tenant: str) -> Kept:
        """Return how much is kept of a number in E.164, of one tenant or ("") of all. Raises what the store raises."""
        messages: dict[str, list[bytes]] = {}
        unfinished = ends = newest = 0
        tenants = await self._tenants(tenant)
        for name in tenants:
            async for row in self._rows(name, number):
                messages.setdefault(name, []).append(row.id)
                newest = max(newest, row.accepted_at)
                if row.state not in FINAL:
                    unfinished, ends = unfinished + 1, max(ends, row.expires_at + self._grace)
        parts = [part for name in tenants for part in await self._parts(name, number)]
        return Kept(messages=messages, unfinished=unfinished, ends=ends, newest=newest, parts=parts)

    async def tell(self, number: str, tenant: str) -> AsyncIterator[Found]:
        """Yield all that is kept of a number. Raises what the store raises, and Unavailable."""
        hashes = self._keys.recipient_hashes(number)
        ids: list[bytes] = []
        for name in await self._tenants(tenant):
            rows = [row async for row in self._rows(name, number)]
            ids += [row.id for row in rows]
            events = await self._events(name, rows)
            for at in range(0, len(rows), PAGE):
                for found in await self._messages(name, rows[at : at + PAGE], events):
                    yield found
            for inbound in self._inbound(await self._parts(name, number)):
                yield inbound
        for receipt in await self._store.receipts_of(hashes, ids):
            yield receipt
        for hold in await self._holds(hashes, tenant):
            yield hold

    async def standing(self) -> list[Standing]:
        """Return the keys that are to be destroyed, and what they wait for. Raises what the store raises."""
        return await self._retirement.standing()

    async def erase(self, number: str, tenant: str, *, cancel: bool, compact: bool, by: str) -> Erasure:
        """Erase what is kept of a number; what is not final is cancelled first, if `cancel` and it has not left.

        Raises WrongState (UNFINISHED) when something is not final and `cancel` is not wished; then nothing is erased.
        """
        hashes, kept = self._keys.recipient_hashes(number), await self.find(number, tenant)
        if kept.unfinished and not cancel:
            raise unfinished(kept.unfinished)
        cancelled = messages = inbound = 0
        ids = [message_id for of_tenant in kept.messages.values() for message_id in of_tenant]
        receipts = await self._store.erase_receipts(hashes, ids)
        newest = kept.newest
        for _ in range(_ROUNDS):
            cancelled += await self._cancel(kept, by) if cancel else 0
            erased = await self._erase_messages(kept)
            inbound += await self._erase_parts(kept.parts)
            messages += erased
            kept = await self.find(number, tenant)
            if not kept.parts and kept.number == kept.unfinished:
                break
        remains = await self._store.scrub(compact=compact)
        standing = await self._retirement.work()
        until = newest + self._keys_for
        return Erasure(
            messages=messages,
            inbound=inbound,
            receipts=receipts,
            cancelled=cancelled,
            unfinished=kept.unfinished,
            unfinished_until=kept.ends,
            hashes_until=until if newest and until > self._now() else 0,
            keys=standing,
            holds=len(await self._holds(hashes, tenant)),
            remains=[*remains, _IN_BACKUPS],
        )

    async def _tenants(self, tenant: str) -> Sequence[str]:
        return [tenant] if tenant else await self._store.stored_tenants()

    async def _rows(self, tenant: str, number: str) -> AsyncIterator[MessageRow]:
        where, before = ListFilter((), self._keys.recipient_hashes(number)), None
        while True:
            rows = await self._store.list_messages(tenant, where, before, PAGE)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            before = rows[-1].id

    async def _events(self, tenant: str, rows: Sequence[MessageRow]) -> dict[bytes, list[KeptEvent]]:
        """Return what happened to messages: the tenant's log is gone through once."""
        found: dict[bytes, list[KeptEvent]] = {}
        if not rows:
            return found
        ids = [row.id for row in rows]
        after, _ = await self._store.event_bounds(tenant)
        while True:
            events, after = await self._store.events_of(tenant, ids, after, _EVENTS)
            for event in events:
                found.setdefault(event.message_id, []).append(event)
            if not after:
                return found

    async def _messages(
        self, tenant: str, rows: Sequence[MessageRow], events: dict[bytes, list[KeptEvent]]
    ) -> list[FoundMessage]:
        sealed = {kept.id: kept for kept in await self._store.sealed_of(tenant, [row.id for row in rows])}
        await self._box.ready(field for kept in sealed.values() for field in (kept.envelope, kept.content))
        return [self._message(row, sealed.get(row.id), events.get(row.id, [])) for row in rows]

    def _message(self, row: MessageRow, kept: Sealed | None, events: list[KeptEvent]) -> FoundMessage:
        """Return a message, without what cannot be opened: one bad row keeps nobody from all the others."""
        envelope: Envelope | None = None
        content: bytes | None = None
        closed: StoreCorrupt | None = None
        try:
            if kept and kept.envelope:
                envelope = decode_envelope(self._box.take(row.tenant, row.id, "envelope", kept.envelope))
        except StoreCorrupt as error:
            closed = error
        try:
            if kept and kept.content:
                content = self._box.take(row.tenant, row.id, "content", kept.content)
        except StoreCorrupt as error:
            closed = error
        return FoundMessage(row, envelope, content, events, closed)

    async def _parts(self, tenant: str, number: str) -> list[KeptPart]:
        """Return the parts of the tenant's messages from the number, those that wait for others too."""
        mine: list[KeptPart] = []
        after: PartPlace | None = None
        while True:
            page = await self._store.parts(after, PAGE, tenant)
            mine += await self._from(page, number)
            if len(page) < PAGE:
                break
            after = PartPlace(page[-1].tenant, page[-1].id, page[-1].part)
            await asyncio.sleep(0)
        held = [part for part in await self._store.held_parts() if part.tenant == tenant]
        for at in range(0, len(held), PAGE):
            mine += await self._from(held[at : at + PAGE], number)
        return mine

    async def _from(self, parts: Sequence[KeptPart], number: str) -> list[KeptPart]:
        await self._box.ready(part.payload[_ID_BYTES:] for part in parts)
        return [part for part in parts if (read := self._read(part)) is not None and same_number(read.sender, number)]

    def _read(self, part: KeptPart) -> InboundPart | None:
        """Return what a part says; None for one that nobody can read."""
        own = part.payload[:_ID_BYTES]
        try:
            return unpack_part(self._box.take(part.tenant, own, "inbound", part.payload[_ID_BYTES:]))
        except (TextError, KeyDestroyed):
            return None
        except StoreCorrupt as error:
            log.error("stored_data_corrupt", extra={"what": f"a part of {part.id.hex()}", "why": str(error)})
            return None

    def _inbound(self, parts: Sequence[KeptPart]) -> list[FoundInbound]:
        found: dict[tuple[bytes, bytes], FoundInbound] = {}
        for part in parts:
            read = self._read(part)
            key = (part.group, b"" if part.group else part.id)
            message = found.setdefault(key, FoundInbound(part.tenant, part.id, [], not part.group))
            if read is not None:
                message.parts.append(read)
        return list(found.values())

    async def _holds(self, hashes: Sequence[bytes], tenant: str) -> list[MessageHold]:
        wanted = frozenset(hashes)
        return [
            hold
            for hold in await self._store.message_holds()
            if wanted & frozenset(hold.selection.recipient_hashes)
            and (not tenant or hold.selection.tenant in ("", tenant))
        ]

    async def _cancel(self, kept: Kept, by: str) -> int:
        cancelled = 0
        if not kept.unfinished:
            return 0
        for tenant, ids in kept.messages.items():
            for message_id in ids:
                try:
                    done, _ = await self._store.cancel(tenant, message_id, self._now(), by)
                except WrongState:
                    continue
                cancelled += done
        return cancelled

    async def _erase_messages(self, kept: Kept) -> int:
        erased = 0
        for tenant, ids in kept.messages.items():
            for at in range(0, len(ids), PAGE):
                erased += (await self._store.erase(tenant, ids[at : at + PAGE], self._now())).messages
        return erased

    async def _erase_parts(self, parts: Sequence[KeptPart]) -> int:
        erased = 0
        for at in range(0, len(parts), PAGE):
            erased += await self._store.erase_parts(parts[at : at + PAGE], self._now())
        return erased


def same_number(written: str, number: str) -> bool:
    """Say whether a number as a carrier wrote it is `number`, in E.164."""
    digits = number.removeprefix("+")
    return written.removeprefix("+") == digits or written == f"00{digits}"


def unfinished(number: int) -> GatewayError:
    """Return the refusal of an erasure while messages are on their way."""
    return WrongState(
        f"{number} messages to this recipient are not finished: cancel what has not left (--cancel-unfinished), "
        "or come back when they have ended",
        reason="UNFINISHED",
    )
