"""The part of the store's contract that finds what is kept of one person, erases it, and seals anew what shares a key.

See `gateway.store.contract` for what holds of every call: one transaction, on disk when it returns. Erasing and sealing
anew are steps over given rows, each whole by itself and without harm when it is done again: after a crash they are.

A data key under which something was erased is written down (`retiring`) by the same transaction. Whoever holds the keys
seals anew what others have under it, and destroys it then: so that no older copy of the database opens it either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.audit.records import Record


class Kept(NamedTuple):
    """What is sealed of a message, and whether it is final; b"" is gone."""

    id: bytes
    final: bool
    envelope: bytes
    content: bytes


class KeptPart(NamedTuple):
    """A part of a message from a handset; `group` names the incomplete message that it waits for, else it is b""."""

    tenant: str
    id: bytes  # of the message; of an incomplete one, that of the part
    group: bytes
    part: int
    payload: bytes  # the part's own id, and what is sealed under it


class KeptEvent(NamedTuple):
    """What happened to a message."""

    seq: int
    at: int
    message_id: bytes
    state: int
    carrier: str
    reason_code: str
    smpp_status: int | None
    network_error: str
    operator_done_at: int | None


class KeptReceipt(NamedTuple):
    """A receipt that matched no message and names the recipient, or is evidence about one of the messages."""

    at: int
    carrier: str
    carrier_id: str
    stat: str
    network_error: str
    message_id: bytes  # b"" for none that is known


class PartPlace(NamedTuple):
    """Behind which part a page begins."""

    tenant: str
    id: bytes
    part: int


class Erased(NamedTuple):
    """What a step erased; `unfinished` of the given messages are not final, and stay."""

    messages: int
    unfinished: int


class Remainder(NamedTuple):
    """Something of what was erased that is left, in words for people."""

    what: str
    where: str
    until: str


class Retiring(NamedTuple):
    """A data key that is to be destroyed."""

    key_id: bytes
    tenant: str
    since: int
    oldest: bytes  # of the messages that were sealed anew under it; b"" for none


class SealedPage(NamedTuple):
    """Messages of a page that have something under a key, and where the next page begins; b"" at the end."""

    rows: list[Kept]
    busy: int  # of them: in the memory of a node, on their way; they are left alone
    until: int  # when the last of the busy ones is over at the latest
    after: bytes


class Resealed(NamedTuple):
    """A message's fields, to be put in the place of those that were read; None leaves a field alone."""

    tenant: str
    id: bytes
    old: tuple[bytes, bytes]  # envelope, content
    new: tuple[bytes, bytes]
    key_ids: tuple[bytes, ...]  # that what was sealed anew is under


class ResealedPart(NamedTuple):
    """The same for a part of a message from a handset."""

    part: KeptPart
    new: bytes
    key_id: bytes


class ErasureStore(Protocol):
    """What `Store` does for the rights of one person."""

    async def sealed_of(self, tenant: str, message_ids: Sequence[bytes]) -> list[Kept]:
        """Return what is sealed of these messages."""

    async def events_of(
        self, tenant: str, message_ids: Sequence[bytes], after: int, limit: int
    ) -> tuple[list[KeptEvent], int]:
        """Look at up to `limit` events of the tenant from `after` on: those of these messages, and where to go on; 0 at
        the end."""

    async def parts(self, after: PartPlace | None, limit: int, tenant: str = "") -> list[KeptPart]:
        """Return a page of parts of complete messages from handsets, of one tenant or of all."""

    async def held_parts(self) -> list[KeptPart]:
        """Return all parts that wait for others: their number is bounded."""

    async def receipts_of(self, hashes: Sequence[bytes], message_ids: Sequence[bytes]) -> list[KeptReceipt]:
        """Return receipts kept that name one of these recipients, and those noted about one of these messages."""

    async def erase(self, tenant: str, message_ids: Sequence[bytes], now: int, audit: Sequence[Record] = ()) -> Erased:
        """Take content, envelope, masked number, hash and carrier's ids from those of these messages that are final."""

    async def erase_parts(self, parts: Sequence[KeptPart], now: int) -> int:
        """Delete parts of messages from handsets; returns how many."""

    async def erase_receipts(self, hashes: Sequence[bytes], message_ids: Sequence[bytes]) -> int:
        """Delete what `receipts_of` finds; returns how many."""

    async def retiring(self) -> list[Retiring]:
        """Return the data keys that are to be destroyed, the oldest first."""

    async def sealed_under(self, key: Retiring, after: bytes, before: bytes, limit: int) -> SealedPage:
        """Look at up to `limit` of the tenant's messages between two ids for what is under a key."""

    async def reseal(self, batch: Sequence[Resealed], parts: Sequence[ResealedPart]) -> int:
        """Put fields in the place of those that were read, where they are still there and nobody has the message in
        memory; returns how many rows changed."""

    async def retired(self, key_id: bytes) -> None:
        """Forget a data key that was destroyed."""

    async def scrub(self, *, compact: bool = False) -> list[Remainder]:
        """Leave nothing of what was deleted in the files of the database, as far as they are in the engine's hands;
        what can be left in them all the same.

        `compact`: nor in unused space of pages. That writes tables anew, and holds up commits."""
