"""Records to put into a store: each with sensible values, of which a test names those that matter to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from gateway.ids import IdSource
from gateway.states import Category, PartState, State
from gateway.store.contract import (
    EventRow,
    Idempotency,
    NewInboundPart,
    NewMessage,
    Queue,
    Sending,
    Settlement,
    Store,
    Waiting,
)
from gateway.store.receipts import Learned, NewReceipt, Source
from gateway.store.usage import Bill

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND
CARRIER = "acme-sms"
TENANT = "acme"
OTP, TRANSACTIONAL, PROMOTIONAL = Category

COMMITMENT = bytes(range(32))
_ids = IdSource(now_ms=lambda: NOW // 1000)


def digest(text: str, size: int = 16) -> bytes:
    """Return `size` octets that stand for `text`."""
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def key(name: str, content: str = "content", *, expires_at: int = NOW + 72 * HOUR) -> Idempotency:
    """Return an idempotency record."""
    return Idempotency(digest(name, 32), digest(content, 32), expires_at)


def message(**fields: Any) -> NewMessage:
    """Return a message of one segment, claimed by the accepting node."""
    new = NewMessage(
        tenant=TENANT,
        id=_ids.new(),
        owner="spiffe://example.org/acme/service",
        category=TRANSACTIONAL,
        sender="ACME",
        masked_recipient="+49XXXXXXX5678",
        recipient_hash=digest("+4915112345678"),
        envelope=b"\x00envelope",
        content=b"\x00content",
        encoding=1,
        segments=1,
        accepted_at=NOW,
        due_at=NOW,
        expires_at=NOW + HOUR,
        claimed=True,
        idempotency=None,
        country="DE",
        commitment=COMMITMENT,
    )
    return new._replace(**fields)


def sending(new: NewMessage | Waiting, **fields: Any) -> Sending:
    """Return the step of a message to a carrier."""
    return Sending(new.tenant, new.id, CARRIER, NOW + SECOND)._replace(**fields)


def submitted(new: NewMessage | Waiting, carrier_ids: str, **fields: Any) -> Settlement:
    """Return the settlement of a message whose parts were all answered."""
    parts = PartState.SUBMITTED.value * len(carrier_ids.split("\n"))
    settlement = Settlement(
        tenant=new.tenant,
        id=new.id,
        state=State.SUBMITTED,
        at=NOW + 2 * SECOND,
        carrier=CARRIER,
        carrier_ids=carrier_ids,
        part_states=parts,
        queue=Queue.AWAITING,
        due_at=NOW + 2 * HOUR,
        reason_code="",
        reason_text="",
        smpp_status=None,
        cause="",
        bill=Bill(new.category, new.country, new.reserved, 0),
    )
    return settlement._replace(**fields)


def in_doubt(new: NewMessage | Waiting, **fields: Any) -> Settlement:
    """Return the settlement of a message that no answer came for, to be sent again."""
    values: dict[str, Any] = {
        "state": State.UNKNOWN,
        "part_states": "-",
        "queue": Queue.WAITING_TRANSACTIONAL,
        "due_at": NOW + 3 * SECOND,
        "reason_code": "OUTCOME_UNKNOWN",
        "reason_text": "no answer came",
        "cause": "resend.no_answer",
    }
    return submitted(new, "")._replace(**values | fields)


def again(new: NewMessage | Waiting, **fields: Any) -> Settlement:
    """Return the settlement of a message that the carrier wants later."""
    values: dict[str, Any] = {
        "state": State.ACCEPTED,
        "reason_code": "CARRIER_BUSY",
        "reason_text": "the carrier asked for later",
        "smpp_status": 0x58,
        "cause": "retry.throttled",
    }
    return in_doubt(new)._replace(**values | fields)


def rejected(new: NewMessage | Waiting, **fields: Any) -> Settlement:
    """Return the settlement of a message that the carrier refused."""
    values: dict[str, Any] = {
        "state": State.REJECTED,
        "queue": None,
        "due_at": 0,
        "reason_code": "CARRIER_REJECTED",
        "reason_text": "ESME_RINVDSTADR",
        "smpp_status": 0x0B,
        "cause": "",
    }
    return in_doubt(new)._replace(**values | fields)


def receipt(carrier_id: str, part_state: str = "D", **fields: Any) -> NewReceipt:
    """Return a receipt that names no recipient."""
    new = NewReceipt(
        carrier=CARRIER,
        carrier_id=carrier_id,
        recipient_hash=b"",
        part_state=part_state,
        at=NOW + 5 * SECOND,
        operator_done_at=None,
        stat={"D": "DELIVRD", "U": "UNDELIV", "E": "EXPIRED"}.get(part_state, "ENROUTE"),
        network_error="000",
    )
    return new._replace(**fields)


def learned(new: NewMessage, parts: Sequence[int], part_state: str = "C", **fields: Any) -> Learned:
    """Return what a carrier said of parts of a message, asked to cancel it."""
    told = receipt("", part_state, **{"source": Source.CANCEL, "stat": "", "network_error": "", **fields})
    return Learned(new.tenant, new.id, tuple(parts), told)


def inbound_part(name: str, part: int = 1, total: int = 1, **fields: Any) -> NewInboundPart:
    """Return a part of the inbound message `name`."""
    new = NewInboundPart(
        tenant=TENANT,
        id=_ids.new(),
        carrier=CARRIER,
        group_hash=digest(name) if total > 1 else b"",
        part=part,
        total=total,
        payload=f"{name}/{part}".encode(),
        fingerprint=digest(f"{name}/{part}/{total}"),
        seen_until=NOW + 72 * HOUR,
        at=NOW,
        expires_at=NOW + HOUR,
    )
    return new._replace(**fields)


async def send(store: Store, news: Sequence[NewMessage], carrier_ids: Sequence[str]) -> None:
    """Take claimed messages to SUBMITTED with these carrier ids."""
    assert all(await store.sending([sending(new) for new in news]))
    settlements = [submitted(new, ids) for new, ids in zip(news, carrier_ids, strict=True)]
    assert await store.settle(settlements) == [State.SUBMITTED] * len(news)


async def state_of(store: Store, new: NewMessage) -> State:
    """Return where a message stands."""
    row = await store.get_message(new.tenant, new.id)
    assert row is not None
    return State(row.state)


async def told(store: Store, new: NewMessage) -> list[int]:
    """Return the states that the events of a message tell, in order."""
    return [event.state for event in await all_events(store, new.tenant) if event.message_id == new.id]


async def all_events(store: Store, tenant: str = TENANT) -> list[EventRow]:
    """Return the events of a tenant."""
    return await store.events(tenant, 0, 10_000)
