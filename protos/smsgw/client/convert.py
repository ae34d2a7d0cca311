"""Between our classes and the protos, both ways. Sans-IO."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import TypeVar

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message as Proto
from google.protobuf.timestamp_pb2 import Timestamp

from smsgw.client import messages as ours
from smsgw.client.errors import CallFailed
from smsgw.client.explaining import from_status
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.audit_service_pb2 import MessageReceipt

MAX_BATCH = 1000
MAX_BATCH_BYTES = 3 << 20  # the gateway takes requests of 4 MiB
_SEALED_BYTES = 2048  # header, encrypted key and tag of a JWE

_EnumT = TypeVar("_EnumT", ours.State, ours.Encoding, ours.Unreadable)


def outbound(message: ours.Message) -> pb.OutboundMessage:
    """Return the proto of a message. Raises RuntimeError for one that is still to be sealed: that never leaves."""
    if message.to_be_sealed:
        raise RuntimeError("the message is to be sealed before it is sent")
    proto = pb.OutboundMessage(
        recipient=message.to,
        sender=message.sender,
        category=pb.Category.Value(f"CATEGORY_{message.category}"),
        content=content(message.text, message.binary, message.sealed_jwe),
        idempotency_key=message.idempotency_key,
        client_reference=message.client_reference,
        labels=dict(message.labels),
    )
    if message.validity is not None:
        proto.validity.FromTimedelta(message.validity)
    if message.not_before is not None:
        proto.not_before.FromDatetime(message.not_before.astimezone(dt.UTC))
    return proto


def content(text: str | None, binary: ours.Binary | None = None, sealed_jwe: str | None = None) -> pb.Content:
    """Return the proto of a content."""
    if text is not None:
        return pb.Content(text=text)
    if binary is None:
        return pb.Content(sealed_jwe=sealed_jwe or "")
    octets = pb.BinaryContent(
        data=binary.data, data_coding=binary.data_coding, user_data_header=binary.user_data_header
    )
    return pb.Content(binary=octets)


def batches(messages: Iterable[ours.Message], at_most: int = MAX_BATCH) -> Iterator[list[ours.Message]]:
    """Yield the messages in batches, each within the gateway's bounds of number and size."""
    batch: list[ours.Message] = []
    octets = 0
    for message in messages:
        size = _size(message)
        if batch and (len(batch) >= at_most or octets + size > MAX_BATCH_BYTES):
            yield batch
            batch, octets = [], 0
        batch.append(message)
        octets += size
    if batch:
        yield batch


def _size(message: ours.Message) -> int:
    """Return about how many octets a message takes in a batch; of one that is still to be sealed, at most."""
    if not message.to_be_sealed:
        return outbound(message).ByteSize() + 8
    plain = outbound(dataclasses.replace(message, sealed=False)).ByteSize()
    return plain + plain // 2 + _SEALED_BYTES


def sent(accepted: pb.AcceptedMessage, message: ours.Message) -> ours.Sent:
    """Return what was said of an accepted message."""
    return ours.Sent(
        id=accepted.message_id,
        state=_state(accepted.state),
        segments=accepted.segments if accepted.HasField("segments") else None,
        masked_recipient=accepted.masked_recipient,
        replayed=accepted.replayed,
        idempotency_key=message.idempotency_key,
    )


def outcome(result: api.SendResult, message: ours.Message) -> ours.Sent | CallFailed:
    """Return what became of one message of a batch."""
    if result.WhichOneof("result") == "accepted":
        return sent(result.accepted, message)
    return from_status(result.error)


def status(message: pb.Message) -> ours.MessageStatus:
    """Return a message as it stands."""
    return ours.MessageStatus(
        id=message.message_id,
        state=_state(message.state),
        category=_category(message.category),
        sender=message.sender,
        masked_recipient=message.masked_recipient,
        segments=message.segments if message.HasField("segments") else None,
        encoding=_encoding(message.encoding),
        client_reference=message.client_reference,
        labels=dict(message.labels),
        accepted_at=_time(message, "accepted_at"),
        not_before=_time(message, "not_before"),
        expires_at=_time(message, "expires_at"),
        sending_at=_time(message, "sending_at"),
        submitted_at=_time(message, "submitted_at"),
        done_at=_time(message, "done_at"),
        operator_done_at=_time(message, "operator_done_at"),
        carrier=message.carrier,
        attempts=message.attempts,
        carrier_message_ids=tuple(message.carrier_message_ids),
        reason=_reason(message),
        content_removed=message.content_removed,
        recipient_removed=message.recipient_removed,
        unreadable=_unreadable(message.unreadable),
    )


def estimate(response: api.EstimateMessageResponse) -> ours.Estimate:
    """Return how a content would be sent."""
    return ours.Estimate(
        encoding=_encoding(response.encoding),
        segments=response.segments,
        units=response.units,
        capacity=response.capacity,
        non_gsm_characters=tuple(response.non_gsm_characters),
        sent_text=response.sent_text,
    )


def event(proto: pb.Event) -> ours.Event:
    """Return an event."""
    time = proto.time.ToDatetime(dt.UTC)
    kind = proto.WhichOneof("kind")
    if kind == "state_change":
        return _state_change(proto.cursor, time, proto.state_change)
    if kind == "inbound":
        return _received(proto.cursor, time, proto.inbound)
    return ours.OtherEvent(cursor=proto.cursor, time=time)


def receipt(proto: MessageReceipt) -> str:
    """Return a receipt of the audit log in its file form."""
    return MessageToJson(proto, preserving_proto_field_name=True) + "\n"


def states(wanted: Iterable[ours.State | str]) -> list[pb.MessageState.ValueType]:
    """Return the protos of states. Raises ValueError for what is none."""
    return [pb.MessageState.Value(f"MESSAGE_STATE_{ours.State(state)}") for state in wanted]


def _state_change(cursor: str, time: dt.datetime, change: pb.StateChange) -> ours.StateChanged:
    return ours.StateChanged(
        cursor=cursor,
        time=time,
        message_id=change.message_id,
        state=_state(change.state),
        category=_category(change.category),
        masked_recipient=change.masked_recipient,
        client_reference=change.client_reference,
        carrier=change.carrier,
        segments=change.segments if change.HasField("segments") else None,
        reason=_reason(change),
        operator_done_at=_time(change, "operator_done_at"),
        recipient_removed=change.recipient_removed,
        unreadable=_unreadable(change.unreadable),
    )


def _received(cursor: str, time: dt.datetime, inbound: pb.InboundMessage) -> ours.Received:
    octets = inbound.binary
    binary = ours.Binary(data=octets.data, data_coding=octets.data_coding, user_data_header=octets.user_data_header)
    is_text = inbound.WhichOneof("content") == "text"
    return ours.Received(
        cursor=cursor,
        time=time,
        inbound_id=inbound.inbound_id,
        sender=inbound.sender,
        recipient=inbound.recipient,
        text=inbound.text if is_text else None,
        binary=None if is_text else binary,
        carrier=inbound.carrier,
        segments=inbound.segments,
        received_at=_time(inbound, "received_at"),
        content_removed=inbound.content_removed,
        unreadable=_unreadable(inbound.unreadable),
    )


def _reason(proto: pb.Message | pb.StateChange) -> ours.Reason | None:
    if not proto.HasField("reason"):
        return None
    reason = proto.reason
    smpp_status = reason.smpp_status if reason.HasField("smpp_status") else None
    return ours.Reason(code=reason.code, text=reason.text, smpp_status=smpp_status, network_error=reason.network_error)


def _time(proto: Proto, name: str) -> dt.datetime | None:
    if not proto.HasField(name):
        return None
    stamp: Timestamp = getattr(proto, name)
    return stamp.ToDatetime(dt.UTC)


def _state(value: pb.MessageState.ValueType) -> ours.State:
    return _member(ours.State, pb.MessageState.DESCRIPTOR.values_by_number, value, "MESSAGE_STATE_")


def _encoding(value: pb.Encoding.ValueType) -> ours.Encoding:
    return _member(ours.Encoding, pb.Encoding.DESCRIPTOR.values_by_number, value, "ENCODING_")


def _unreadable(value: pb.Unreadable.ValueType) -> ours.Unreadable | None:
    if not value:
        return None
    return _member(ours.Unreadable, pb.Unreadable.DESCRIPTOR.values_by_number, value, "UNREADABLE_")


def _category(value: pb.Category.ValueType) -> str:
    known = pb.Category.DESCRIPTOR.values_by_number.get(value)
    return "" if known is None else known.name.removeprefix("CATEGORY_")


def _member(kind: type[_EnumT], names: object, value: int, prefix: str) -> _EnumT:
    """Return the member for a number; UNRECOGNISED for one that this client does not know."""
    known = names.get(value)  # type: ignore[attr-defined]  # a mapping of the protobuf runtime, without a type
    name = "" if known is None else known.name.removeprefix(prefix)
    return kind[name] if name in kind.__members__ else kind.UNRECOGNISED
