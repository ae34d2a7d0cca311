"""Following a node's events from a test, in the foreground, with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from smsgw.v1 import message_service_pb2_grpc as rpc

_DEADLINE_S = 40.0


def starting_cursor(stub: rpc.MessageServiceStub) -> str:
    """Return where the event log stands now."""
    call = stub.WatchEvents(s.WatchEventsRequest(start=s.WATCH_START_NOW), timeout=_DEADLINE_S)
    try:
        cursor: str = next(iter(call)).cursor
        return cursor
    finally:
        call.cancel()


def events_until(stub: rpc.MessageServiceStub, cursor: str, enough: Callable[[list[m.Event]], bool]) -> list[m.Event]:
    """Return the events after `cursor`, as soon as they are `enough`. grpc raises when that takes too long."""
    seen: list[m.Event] = []
    call = stub.WatchEvents(s.WatchEventsRequest(cursor=cursor), timeout=_DEADLINE_S)
    try:
        for event in _flat(call):
            seen.append(event)
            if enough(seen):
                return seen
    finally:
        call.cancel()
    raise AssertionError(f"the stream of events ended early, after {len(seen)}")


def _flat(responses: Iterator[s.WatchEventsResponse]) -> Iterator[m.Event]:
    for response in responses:
        yield from response.events


def delivered(ids: set[str]) -> Callable[[list[m.Event]], bool]:
    """Return a condition: every one of `ids` has been delivered."""

    def enough(events: list[m.Event]) -> bool:
        changes = [event.state_change for event in events if event.HasField("state_change")]
        return ids <= {change.message_id for change in changes if change.state == m.MESSAGE_STATE_DELIVERED}

    return enough


def states_of(events: list[m.Event], message_id: str) -> list[str]:
    """Return the states that `events` tell of one message, in order, without their prefix."""
    changes = [event.state_change for event in events if event.HasField("state_change")]
    return [
        m.MessageState.Name(change.state).removeprefix("MESSAGE_STATE_")
        for change in changes
        if change.message_id == message_id
    ]
