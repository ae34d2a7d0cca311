"""The part of the store's contract that has to do with receipts.

See `gateway.store.contract` for what holds of every call: one transaction, on disk when it returns.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.audit.records import Record


class ReceiptVerdict(enum.Enum):
    """What `receipts` did with one."""

    APPLIED = 1  # a part or the message changed state
    RECORDED = 2  # known message, nothing to change: intermediate, duplicate, or after a final state
    KEPT = 3  # no such id (yet): kept, and matched when the response comes
    MISMATCH = 4  # the id belongs to a message for another recipient: nothing changed, noted
    CONTRADICTED = 5  # another final state than the one before: the first stays, this one is noted
    IMPOSSIBLE = 6  # no receipt of that time can be this message's: nothing changed, noted
    REFUSED = 7  # as KEPT, and the carrier is to deliver it again later


ANY_TIME = (1 << 62) - 1  # `NewReceipt.sent_by`, when its times do not matter
UNKNOWN_STAT = "?"  # `NewReceipt.part_state`, when nobody knows what the carrier means


class Source(enum.IntEnum):
    """Where the node has it from."""

    RECEIPT = 0
    QUERY = 1  # the carrier answered query_sm
    CANCEL = 2  # the carrier answered cancel_sm


class NewReceipt(NamedTuple):
    """A delivery receipt, ready to be matched by (carrier, carrier_id) and, unless empty, by the recipient's hash."""

    carrier: str
    carrier_id: str  # canonical
    recipient_hash: bytes  # under each hash key in use, joined: any may match; b"" without a usable address
    part_state: str  # a PartState, "" for an intermediate state, or UNKNOWN_STAT: the part stays as it is
    at: int
    operator_done_at: int | None
    stat: str  # as the carrier wrote it, escaped, at most 16 characters
    network_error: str  # as the carrier wrote it, escaped, at most 32 characters
    parts_rule: int = 0  # of the carrier: gateway.states.PartsRule
    sent_by: int = ANY_TIME  # a message first sent later than this cannot be meant; -1: none can
    refusals: int = 0  # how often it is REFUSED, while it matches nothing, before it is KEPT
    source: int = Source.RECEIPT
    by: str = ""  # the SPIFFE ID of the caller that wanted it: of a CANCEL


class Learned(NamedTuple):
    """What a carrier said of parts of a message when it was asked."""

    tenant: str
    message_id: bytes
    parts: tuple[int, ...]  # 0-based; `receipt` tells of each of them
    receipt: NewReceipt


Place = tuple[int, str, bytes]  # in the queue of those that await: due_at, tenant, id


class Awaiting(NamedTuple):
    """A message that left, and waits for a receipt."""

    place: Place
    state: int  # SUBMITTED or UNKNOWN
    sender: str  # that the carrier was told
    carrier: str
    carrier_ids: str
    part_states: str
    sent_at: int  # when it was last committed to a link


class Oddity(enum.IntEnum):
    """Why a receipt that changed nothing is noted; stored."""

    MISMATCH = 1  # it names another recipient
    CONTRADICTED = 2  # it gives another final state than the one before it
    IMPOSSIBLE = 3  # its times cannot be those of the message
    LATE = 4  # the message had been ended without a receipt
    UNKNOWN_STAT = 5  # nobody knows what its state means


class NotedReceipt(NamedTuple):
    """A receipt that changed nothing, as evidence: the newest of each oddity are kept."""

    at: int
    oddity: int
    carrier: str
    carrier_id: str
    tenant: str
    message_id: bytes
    stat: str
    network_error: str
    operator_done_at: int | None


class UnmatchedReceipt(NamedTuple):
    """A receipt whose carrier id belongs to no message (yet)."""

    at: int
    carrier: str
    carrier_id: str
    stat: str
    network_error: str
    operator_done_at: int | None
    addressed: bool  # it names its recipient
    refused: int  # how often the carrier was asked to deliver it again


class ReceiptStore(Protocol):
    """What `Store` does with receipts."""

    async def receipts(self, batch: Sequence[NewReceipt]) -> list[ReceiptVerdict]:
        """Apply receipts in order.

        A carrier that gives an id again to another recipient's message: the receipt's recipient tells them apart.
        """

    async def learned(self, batch: Sequence[Learned], audit: Sequence[Record] = ()) -> list[int]:
        """Record what carriers said when they were asked; the state of each message afterwards, 0 for one that is not
        stored. Nothing changes when the carrier is not that of the message's last attempt."""

    async def awaiting(self, after: Place | None, sent_before: int, limit: int) -> tuple[list[Awaiting], Place | None]:
        """Look at up to `limit` messages that wait for a receipt, from the place `after` on: those with carrier ids
        that were sent before that time, and the place to go on from; None at the end."""

    async def unmatched(self, before: int, limit: int) -> list[UnmatchedReceipt]:
        """Return receipts that match nothing and came before that time, the newest first."""

    async def noted(self, limit: int) -> list[NotedReceipt]:
        """Return receipts that changed nothing and should not have come, the newest first."""
