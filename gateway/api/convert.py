"""From the store's rows to the API's messages. Payloads are opened here, for callers that the guards have let in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from carrier.errors import TextError
from carrier.inbound import InboundPart, assemble, unpack_part
from gateway.api.unreadable import LOGGED, Damage, Why
from gateway.errors import StoreCorrupt
from gateway.ids import to_text
from gateway.payload import PayloadBox
from gateway.records import Envelope, decode_envelope
from gateway.store.contract import EventRow, MessageRow
from smsgw.v1 import message_pb2

_SECOND = 1_000_000
_ID_BYTES = 16
# The stored numbers are the API's own (see gateway.states).
_state = message_pb2.MessageState.ValueType
_category = message_pb2.Category.ValueType
_encoding = message_pb2.Encoding.ValueType
_NO_ENVELOPE = Envelope("", "", {}, 0)
_READABLE = message_pb2.UNREADABLE_UNSPECIFIED


def timestamp(micros: int) -> Timestamp:
    """Return a time given in microseconds since the Unix epoch."""
    seconds, rest = divmod(micros, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def to_message(row: MessageRow, box: PayloadBox, damage: Damage = LOGGED) -> message_pb2.Message:
    """Return a message as it stands; where nothing is opened, or can be, without reference, labels and not_before.
    Raises Unavailable when its key cannot be had at the moment."""
    if not row.envelope or not box.opens:
        return opened_message(row, None)
    envelope, unreadable = _envelope(row.tenant, row.id, row.envelope, box, damage)
    return opened_message(row, envelope, unreadable)


def _envelope(
    tenant: str, message_id: bytes, stored: bytes, box: PayloadBox, damage: Damage
) -> tuple[Envelope | None, Why]:
    """Return an envelope, and why it cannot be opened."""
    try:
        return decode_envelope(box.take(tenant, message_id, "envelope", stored)), _READABLE
    except StoreCorrupt as error:
        return None, damage.why(to_text(message_id), error)


def opened_message(row: MessageRow, opened: Envelope | None, unreadable: Why = _READABLE) -> message_pb2.Message:
    """Return the same of a message whose envelope is open already; None where it was let go of, or erased, or cannot be
    opened."""
    envelope = opened or _NO_ENVELOPE
    return message_pb2.Message(
        message_id=to_text(row.id),
        state=_state(row.state),
        category=_category(row.category),
        sender=row.sender,
        masked_recipient=row.masked_recipient,
        segments=row.segments or None,
        encoding=_encoding(row.encoding),
        client_reference=envelope.client_reference,
        labels=envelope.labels,
        accepted_at=timestamp(row.accepted_at),
        not_before=_optional(envelope.not_before or None),
        expires_at=timestamp(row.expires_at),
        sending_at=_optional(row.sending_at),
        submitted_at=_optional(row.submitted_at),
        done_at=_optional(row.done_at),
        carrier=row.carrier,
        attempts=row.attempts,
        carrier_message_ids=[carrier_id for carrier_id in row.carrier_ids.split("\n") if carrier_id],
        reason=_reason(row),
        operator_done_at=_optional(row.operator_done_at),
        content_removed=not row.content_kept or unreadable != _READABLE,
        recipient_removed=not row.envelope or unreadable != _READABLE,
        unreadable=unreadable,
    )


def to_event(row: EventRow, tenant: str, cursor: str, box: PayloadBox, damage: Damage = LOGGED) -> message_pb2.Event:
    """Return one event of a tenant's log, without what cannot be opened. Raises Unavailable when a key cannot be had at
    the moment."""
    event = message_pb2.Event(cursor=cursor, time=timestamp(row.at))
    if row.state:
        event.state_change.CopyFrom(_state_change(row, tenant, box, damage))
    else:
        event.inbound.CopyFrom(_inbound(row, tenant, box, damage))
    return event


def payloads_of(rows: Iterable[EventRow]) -> Iterator[bytes]:
    """Yield what `to_event` opens of these rows."""
    for row in rows:
        if row.state:
            yield row.envelope
        else:
            yield from (stored[_ID_BYTES:] for stored in row.parts)


def _state_change(row: EventRow, tenant: str, box: PayloadBox, damage: Damage) -> message_pb2.StateChange:
    envelope, unreadable = None, _READABLE  # a message that has been deleted since
    if row.envelope:
        envelope, unreadable = _envelope(tenant, row.message_id, row.envelope, box, damage)
    return message_pb2.StateChange(
        message_id=to_text(row.message_id),
        state=_state(row.state),
        category=_category(row.category),
        masked_recipient=row.masked_recipient,
        client_reference=envelope.client_reference if envelope else "",
        carrier=row.carrier,
        segments=row.segments or None,
        reason=_reason(row),
        operator_done_at=_optional(row.operator_done_at),
        recipient_removed=envelope is None,
        unreadable=unreadable,
    )


def _inbound(row: EventRow, tenant: str, box: PayloadBox, damage: Damage) -> message_pb2.InboundMessage:
    if not row.parts:
        return _closed(row, _READABLE)
    try:
        parts = _open_parts(row, tenant, box)
    except StoreCorrupt as error:
        return _closed(row, damage.why(to_text(row.message_id), error))
    message = message_pb2.InboundMessage(
        inbound_id=to_text(row.message_id),
        sender=parts[0].sender,
        recipient=parts[0].recipient,
        carrier=row.carrier,
        segments=len(parts),
        received_at=timestamp(row.at),
    )
    content = assemble(parts)
    if isinstance(content, str):
        message.text = content
    else:
        message.binary.data = content.data
        message.binary.data_coding = content.data_coding
        message.binary.user_data_header = content.udh
    return message


def _closed(row: EventRow, unreadable: Why) -> message_pb2.InboundMessage:
    """Return an inbound message of which nothing is told but that it came."""
    return message_pb2.InboundMessage(
        inbound_id=to_text(row.message_id),
        carrier=row.carrier,
        received_at=timestamp(row.at),
        content_removed=True,
        unreadable=unreadable,
    )


def _open_parts(row: EventRow, tenant: str, box: PayloadBox) -> list[InboundPart]:
    """Return the parts of an inbound message, all of them and no other message's.

    Each is sealed under an id of its own, which stands before it: it came before its message was complete. The last one
    to come gave the message its id, so one of them has that.
    """
    ids = [stored[:_ID_BYTES] for stored in row.parts]
    try:
        parts = [
            unpack_part(box.take(tenant, part_id, "inbound", stored[_ID_BYTES:]))
            for part_id, stored in zip(ids, row.parts, strict=True)
        ]
    except TextError as error:
        raise StoreCorrupt(f"the inbound message {to_text(row.message_id)}: {error}") from error
    if row.message_id not in ids or not _whole(parts):
        raise StoreCorrupt(f"the inbound message {to_text(row.message_id)} lacks parts, or has another's")
    return parts


def _whole(parts: list[InboundPart]) -> bool:
    """Say whether `parts` are all parts of one message."""
    names = {(part.sender, part.recipient, part.reference, part.total) for part in parts}
    return len(names) == 1 and sorted(part.part for part in parts) == list(range(1, parts[0].total + 1))


def _reason(row: MessageRow | EventRow) -> message_pb2.Reason | None:
    if not row.reason_code and not row.reason_text and row.smpp_status is None and not row.network_error:
        return None
    return message_pb2.Reason(
        code=row.reason_code, text=row.reason_text, smpp_status=row.smpp_status, network_error=row.network_error
    )


def _optional(micros: int | None) -> Timestamp | None:
    return None if micros is None else timestamp(micros)
