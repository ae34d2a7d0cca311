"""A timeline shows states with times, segments, ids and masked numbers."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.cli.timeline import Timeline
from gateway.states import State
from smsgw.v1 import message_pb2 as pb


def event(state: State, milliseconds: int, reason: str = "") -> pb.Event:
    """Return a state change so many milliseconds after a fixed time."""
    at = Timestamp()
    at.FromMilliseconds(1_700_000_000_000 + milliseconds)
    change = pb.StateChange(state=pb.MessageState.ValueType(state))
    if reason:
        change.reason.code = reason
    return pb.Event(time=at, state_change=change)


def timeline() -> Timeline:
    """Return the timeline of an accepted message."""
    accepted = pb.AcceptedMessage(
        message_id="id-1", state=pb.MESSAGE_STATE_ACCEPTED, segments=3, masked_recipient="+49XXXXXXX5678"
    )
    return Timeline("Hindi", accepted)


def test_steps_and_spans() -> None:
    """The first step has its time of day, the others what has passed since."""
    line = timeline()
    for step in (event(State.ACCEPTED, 0), event(State.SUBMITTED, 66), event(State.DELIVERED, 1500)):
        line.add(step)
    line.carrier_ids = ("a", "b\x1b")
    head, track, ids = (text.plain for text in line.lines())
    assert head.split() == ["Hindi", "+49XXXXXXX5678", "3", "segments", "id-1"]
    assert track.split("  ")[2:] == ["SUBMITTED +66 ms", "DELIVERED +1.50 s"]
    assert ids == "  carrier's ids: a, b\\x1b"
    assert line.final
    assert line.delivered


def test_reasons() -> None:
    """Why a message ended badly stands beside the state."""
    line = timeline()
    line.add(event(State.REJECTED, 0, "CARRIER_REJECTED"))
    assert "REJECTED" in line.track().plain
    assert "(CARRIER_REJECTED)" in line.track().plain
    assert line.final
    assert not line.delivered


def test_nothing_yet() -> None:
    """Before the first event there is only what was accepted."""
    line = timeline()
    assert len(line.lines()) == 1
    assert not line.final
