"""Protos and our classes say the same: no field of the API is forgotten, and none that is unknown stops a client."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from google.protobuf.descriptor import Descriptor

from smsgw.client import Binary, Category, Encoding, Message, OtherEvent, State, messages
from smsgw.client.convert import event, outbound, states, status
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api

# What is named otherwise here than there, or comes as several fields of one.
RENAMED: dict[type, dict[str, str]] = {
    messages.Message: {"to": "recipient"},
    messages.Sent: {"id": "message_id"},
    messages.MessageStatus: {"id": "message_id"},
}
OURS_ALONE: dict[type, set[str]] = {
    messages.Message: {"text", "binary", "sealed_jwe", "sealed"},
    messages.Sent: {"idempotency_key"},
    messages.StateChanged: {"cursor", "time"},
    messages.Received: {"cursor", "time"},
}
THEIRS_ALONE: dict[type, set[str]] = {messages.Message: {"content"}}
PAIRS: list[tuple[type, Descriptor]] = [
    (messages.Message, pb.OutboundMessage.DESCRIPTOR),
    (messages.Sent, pb.AcceptedMessage.DESCRIPTOR),
    (messages.MessageStatus, pb.Message.DESCRIPTOR),
    (messages.Reason, pb.Reason.DESCRIPTOR),
    (messages.Estimate, api.EstimateMessageResponse.DESCRIPTOR),
    (messages.StateChanged, pb.StateChange.DESCRIPTOR),
    (messages.Received, pb.InboundMessage.DESCRIPTOR),
    (messages.Binary, pb.BinaryContent.DESCRIPTOR),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_no_field_is_forgotten(ours: type, theirs: Descriptor) -> None:
    """Each field of a proto has its place in our class."""
    names = {RENAMED.get(ours, {}).get(field.name, field.name) for field in dataclasses.fields(ours)}
    expected = {field.name for field in theirs.fields} - THEIRS_ALONE.get(ours, set())
    assert names - OURS_ALONE.get(ours, set()) == expected


def test_no_member_is_forgotten() -> None:
    """Each value of an enumeration has its member, and the final states are those that the API calls final."""
    for ours, theirs, prefix in (
        (State, pb.MessageState, "MESSAGE_STATE_"),
        (Encoding, pb.Encoding, "ENCODING_"),
        (Category, pb.Category, "CATEGORY_"),
    ):
        known = {name.removeprefix(prefix) for name in theirs.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 -- no dict
        assert set(ours.__members__) - {"UNRECOGNISED"} == known
    assert {state for state in State if not state.final} == {
        State.ACCEPTED, State.SENDING, State.SUBMITTED, State.UNKNOWN, State.UNRECOGNISED,
    }  # fmt: skip


def test_what_is_sent() -> None:
    """Every field of a message arrives in the proto; each kind of content in its own."""
    moment = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    proto = outbound(
        Message(
            to="+4915112345678", sender="ACME", category="otp", text="hi", validity=dt.timedelta(minutes=3),
            not_before=moment, idempotency_key="k", client_reference="r", labels={"a": "b"},
        )
    )  # fmt: skip
    assert (proto.recipient, proto.sender, proto.category) == ("+4915112345678", "ACME", pb.CATEGORY_OTP)
    assert (proto.content.text, proto.validity.seconds, proto.idempotency_key) == ("hi", 180, "k")
    assert proto.not_before.ToDatetime(dt.UTC) == moment
    assert (proto.client_reference, dict(proto.labels)) == ("r", {"a": "b"})
    binary = Binary(data=b"1", data_coding=245, user_data_header=b"2")
    assert outbound(Message(to="x", sender="y", category=Category.OTP, binary=binary)).content.binary == (
        pb.BinaryContent(data=b"1", data_coding=245, user_data_header=b"2")
    )
    assert outbound(Message(to="x", sender="y", category="OTP", sealed_jwe="j")).content.sealed_jwe == "j"


def test_a_newer_node() -> None:
    """A state, an encoding or an event that this client does not know is told as such, and stops nothing."""
    newer = pb.Message.FromString(pb.Message(message_id="1").SerializeToString() + bytes((2 << 3, 99, 7 << 3, 99)))
    found = status(newer)
    assert (found.state, found.state.final, found.encoding) == (State.UNRECOGNISED, False, Encoding.UNRECOGNISED)
    assert event(pb.Event(cursor="c")) == OtherEvent(cursor="c", time=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(ValueError, match="SOMETHING"):
        states(["SOMETHING"])


def test_what_is_not_kept_any_more() -> None:
    """That a message's content or recipient has been let go of is told with it, and with its events."""
    assert status(pb.Message(content_removed=True)).content_removed
    assert status(pb.Message(recipient_removed=True)).recipient_removed
    changed = event(pb.Event(state_change=pb.StateChange(recipient_removed=True)))
    assert isinstance(changed, messages.StateChanged)
    assert changed.recipient_removed
    received = event(pb.Event(inbound=pb.InboundMessage(content_removed=True)))
    assert isinstance(received, messages.Received)
    assert received.content_removed


def test_what_cannot_be_opened() -> None:
    """Why what is stored of a message cannot be opened is told; a reason from later times is UNRECOGNISED."""
    assert status(pb.Message()).unreadable is None
    assert status(pb.Message(unreadable=pb.UNREADABLE_KEY_DESTROYED)).unreadable is messages.Unreadable.KEY_DESTROYED
    changed = event(pb.Event(state_change=pb.StateChange(unreadable=pb.UNREADABLE_DAMAGED)))
    assert isinstance(changed, messages.StateChanged)
    assert changed.unreadable is messages.Unreadable.DAMAGED
    newer = pb.Event.FromString(pb.Event(inbound=pb.InboundMessage(content_removed=True)).SerializeToString())
    newer.inbound.MergeFromString(bytes((10 << 3, 99)))
    received = event(newer)
    assert isinstance(received, messages.Received)
    assert received.unreadable is messages.Unreadable.UNRECOGNISED
