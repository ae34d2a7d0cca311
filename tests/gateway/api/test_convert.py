"""Rows into messages of the API."""

from __future__ import annotations

from typing import Any

import pytest

from carrier.inbound import InboundPart, pack_part
from gateway.api.convert import timestamp, to_event, to_message
from gateway.api.unreadable import Damage
from gateway.errors import KeyDestroyed, StoreCorrupt
from gateway.records import encode_envelope
from gateway.states import Category, State
from gateway.store.contract import EventRow, MessageRow
from smsgw.v1 import message_pb2
from tests.gateway.sealing.boxes import memory_box
from visibility.alerts import Alerts
from visibility.catalogue import NODE

ID = bytes(range(16))
BOX = memory_box()
ENVELOPE = encode_envelope("+4915112345678", "ref", {"k": "v"}, 5_000_001)
ROW = MessageRow(
    tenant="a", id=ID, owner="spiffe://x.org/a", category=2, state=4, sender="ACME",
    masked_recipient="+49XXXXXXX5678", envelope=BOX.put("a", ID, "envelope", ENVELOPE),
    encoding=2, segments=3, accepted_at=1_000_001, due_at=2, expires_at=9_000_000, sending_at=6_000_000,
    submitted_at=7_000_000, done_at=8_000_000, carrier="acme", attempts=2, carrier_ids="a\n\nc", part_states="DSD",
    reason_code="", reason_text="", smpp_status=None, network_error="", operator_done_at=7_500_000,
)  # fmt: skip
EVENT = EventRow(1, 5, ID, 0, 0, "", b"", 1, "acme", "", "", None, "", None, ())

PART_ID = b"p" * 16  # each part has an id of its own, before its payload; the last to come gives the message its id


def stored_part(part: InboundPart, part_id: bytes = ID) -> bytes:
    """Return a part as it is stored."""
    return part_id + BOX.put("a", part_id, "inbound", pack_part(part))


def inbound(*parts: InboundPart) -> EventRow:
    """Return the event of an inbound message that the first of `parts` completed."""
    ids = [ID, *[PART_ID] * (len(parts) - 1)]
    return EVENT._replace(parts=tuple(map(stored_part, parts, ids)))


def test_enums_are_the_same() -> None:
    """States and categories have the API's numbers: no layer translates them."""
    assert {s.name: int(s) for s in State} == _names(message_pb2.MessageState, "MESSAGE_STATE_")
    assert {c.name: int(c) for c in Category} == _names(message_pb2.Category, "CATEGORY_")


def _names(kind: type[message_pb2.MessageState | message_pb2.Category], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): value for name, value in kind.items() if value}


def test_message() -> None:
    """Every column and the envelope come out in their fields."""
    found = to_message(ROW, BOX)
    assert found.message_id == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert (found.state, found.category, found.encoding, found.segments, found.attempts) == (4, 2, 2, 3, 2)
    assert (found.client_reference, dict(found.labels)) == ("ref", {"k": "v"})
    assert list(found.carrier_message_ids) == ["a", "c"]
    names = ("accepted_at", "not_before", "expires_at", "sending_at", "submitted_at", "done_at", "operator_done_at")
    assert [getattr(found, name).ToMicroseconds() for name in names] == [
        1_000_001, 5_000_001, 9_000_000, 6_000_000, 7_000_000, 8_000_000, 7_500_000,
    ]  # fmt: skip
    assert not found.HasField("reason")


def test_unset() -> None:
    """What is not known is unset, not zero."""
    found = to_message(ROW._replace(segments=0, sending_at=None, done_at=None, operator_done_at=None), BOX)
    assert not found.HasField("segments")
    assert not found.HasField("sending_at")
    assert not found.HasField("done_at")
    assert not found.HasField("operator_done_at")


@pytest.mark.parametrize("column", ["reason_code", "reason_text", "network_error"])
def test_reason(column: str) -> None:
    """A reason is there as soon as one thing of it is known; a status of 0 is known."""
    changes: dict[str, Any] = {column: "x"}
    assert to_message(ROW._replace(**changes), BOX).HasField("reason")
    assert to_message(ROW._replace(smpp_status=0), BOX).reason.HasField("smpp_status")


class Closed:
    """A box whose keys are gone; `error` is what it says."""

    opens = True

    def __init__(self, error: StoreCorrupt) -> None:
        self._error = error

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Refuse."""
        raise self._error


DESTROYED: Any = Closed(KeyDestroyed("the data key 00 was destroyed on purpose"))


def test_a_message_that_cannot_be_opened() -> None:
    """It is shown without what is sealed, and says why; of damage the operators are told, of a destroyed key not."""
    sink = Alerts(NODE)
    message = to_message(ROW, DESTROYED, Damage(sink))
    assert (message.unreadable, message.content_removed, message.recipient_removed) == (1, True, True)
    assert (message.masked_recipient, message.state, message.client_reference) == ("+49XXXXXXX5678", 4, "")
    assert sink.active() == []
    message = to_message(ROW._replace(envelope=b"\x09"), BOX, Damage(sink))
    assert (message.unreadable, message.content_removed, message.recipient_removed) == (2, True, True)
    (alert,) = sink.active()
    assert alert.kind.name == "stored_data_corrupt"
    assert not message_pb2.Message.FromString(to_message(ROW, BOX, Damage(sink)).SerializeToString()).unreadable


def test_events_that_cannot_be_opened() -> None:
    """So are the events of such a message, and of one from a handset."""
    change = to_event(EVENT._replace(state=4, envelope=ROW.envelope), "a", "c", DESTROYED).state_change
    assert (change.unreadable, change.recipient_removed, change.state, change.client_reference) == (1, True, 4, "")
    gone = to_event(inbound(PARTS[0]._replace(total=1, reference=None)), "a", "c", DESTROYED).inbound
    assert (gone.unreadable, gone.content_removed, gone.sender, gone.carrier) == (1, True, "", "acme")


def test_inbound_text() -> None:
    """Parts become one text, whatever order they stand in."""
    parts = [InboundPart("+49", "12345", 1, n, 2, 0, text, b"") for n, text in ((2, b"two"), (1, b"one "))]
    assert to_event(inbound(*parts), "a", "c", BOX).inbound.text == "one two"


def test_inbound_binary() -> None:
    """Octets stay octets, with their coding and header."""
    found = to_event(inbound(InboundPart("+49", "1", None, 1, 1, 4, b"\x01", b"\x02\x70\x00")), "a", "c", BOX)
    assert found.inbound.binary == message_pb2.BinaryContent(
        data=b"\x01", data_coding=4, user_data_header=b"\x02\x70\x00"
    )


PARTS = [InboundPart("+49", "12345", 1, n, 2, 0, b"text", b"") for n in (1, 2)]


@pytest.mark.parametrize(
    "parts",
    [(ID + b"\x00junk",), (ID + b"\x09",), (ID,), (b"\x00junk",),
     (stored_part(PARTS[0], PART_ID), stored_part(PARTS[1], PART_ID)),  # another message's, whole
     (stored_part(PARTS[0]),), (stored_part(PARTS[0]), stored_part(PARTS[0])),
     (stored_part(PARTS[0]), stored_part(PARTS[1]._replace(sender="+48"), PART_ID)),
     (stored_part(PARTS[0]), PART_ID + stored_part(PARTS[1])[16:])],
)  # fmt: skip
def test_corrupt_inbound(parts: tuple[bytes, ...]) -> None:
    """Inbound parts that are missing, cannot be read or belong to other messages are damage, and nothing is told."""
    told = to_event(EVENT._replace(parts=parts), "a", "c", BOX).inbound
    assert (told.unreadable, told.content_removed, told.sender) == (2, True, "")
    assert told.WhichOneof("content") is None


def test_timestamp() -> None:
    """Microseconds survive, before the epoch too."""
    assert [timestamp(micros).ToMicroseconds() for micros in (0, 1_000_001, -1)] == [0, 1_000_001, -1]


def test_what_was_let_go_of_is_marked() -> None:
    """A message without content or envelope says so, and keeps what is left; nothing is opened for it."""
    whole = to_message(ROW, BOX)
    assert (whole.content_removed, whole.recipient_removed) == (False, False)
    without = to_message(ROW._replace(content_kept=0), BOX)
    assert (without.content_removed, without.recipient_removed, without.client_reference) == (True, False, "ref")
    masked = to_message(ROW._replace(content_kept=0, envelope=b""), BOX)
    assert (masked.content_removed, masked.recipient_removed) == (True, True)
    assert (masked.masked_recipient, masked.client_reference, dict(masked.labels)) == ("+49XXXXXXX5678", "", {})
    assert not masked.HasField("not_before")


def test_events_of_what_was_let_go_of_are_marked() -> None:
    """So do the events of such a message, and of one from a handset."""
    change = EVENT._replace(state=4, envelope=ROW.envelope)
    assert not to_event(change, "a", "c", BOX).state_change.recipient_removed
    assert to_event(change._replace(envelope=b""), "a", "c", BOX).state_change.recipient_removed
    gone = to_event(EVENT, "a", "c", BOX).inbound
    assert (gone.content_removed, gone.sender, gone.carrier) == (True, "", "acme")
    assert gone.received_at.ToMicroseconds() == 5
