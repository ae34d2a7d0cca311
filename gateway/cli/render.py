"""How messages and events look: as JSON for machines, as a line for people. Text of strangers is escaped here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from gateway.cli.manners import shown
from gateway.states import FINAL, Category, State
from smsgw.v1 import message_pb2 as pb

_PREFIXES = ("MESSAGE_STATE_", "CATEGORY_", "ENCODING_", "CARRIER_MODE_", "QUEUED_MESSAGES_", "UNREADABLE_")
_ENUM_FIELDS = frozenset({"state", "category", "encoding", "mode", "queued", "unreadable"})
_UNREADABLE: dict[int, str] = {
    pb.UNREADABLE_KEY_DESTROYED: "the key of what is stored was destroyed: it stays closed for good",
    pb.UNREADABLE_DAMAGED: "what is stored cannot be opened: its key is missing, or it is damaged",
}

_COLOURS = {
    State.DELIVERED: "bold green",
    State.UNDELIVERABLE: "bold red",
    State.REJECTED: "bold red",
    State.EXPIRED: "red",
    State.CANCELLED: "yellow",
    State.UNKNOWN: "magenta",
}


def as_json(message: ProtoMessage, *, whole: bool = False) -> dict[str, object]:
    """Return a message as JSON has it, with the field names of the protos and enumerations without their prefix.

    `whole`: with the fields that have their default.
    """
    fields: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=whole
    )
    return _plain(fields)


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: _plain_value(key, value) for key, value in fields.items()}


def _plain_value(key: str, value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value) if key == "labels" else _plain(value)
    if isinstance(value, list):
        return [_plain_value(key, each) for each in value]
    if key in _ENUM_FIELDS and isinstance(value, str):
        for prefix in _PREFIXES:
            value = value.removeprefix(prefix)
    return value


def clock(moment: Timestamp) -> str:
    """Return the local time of day, with milliseconds."""
    return f"{moment.ToDatetime(dt.UTC).astimezone():%H:%M:%S.%f}"[:-3]


def state_text(state: int) -> Text:
    """Return the state's name in its colour."""
    known = State(state) if state in State._value2member_map_ else None
    return Text(known.name if known else f"STATE {state}", style=_COLOURS.get(known, "") if known else "")


def is_final(state: int) -> bool:
    """Say whether a message in `state` stays there."""
    return state in FINAL


def event_line(event: pb.Event) -> Text:
    """Return an event as a line."""
    line = Text(f"{clock(event.time)}  ", style="")
    if event.WhichOneof("kind") == "inbound":
        return line.append_text(_inbound(event.inbound))
    return line.append_text(_state_change(event.state_change))


def _state_change(change: pb.StateChange) -> Text:
    state = state_text(change.state)
    state.pad_right(max(0, 13 - len(state)))
    words = [change.message_id, change.masked_recipient]
    if change.carrier:
        words.append(f"via {change.carrier}")
    if change.HasField("segments"):
        words.append(segments_text(change.segments))
    if change.client_reference:
        words.append(f"ref {change.client_reference}")
    words.append(reason_text(change.reason))
    words.append(unreadable_text(change.unreadable))
    return state.append("  " + "  ".join(shown(word) for word in words if word))


def _inbound(inbound: pb.InboundMessage) -> Text:
    if inbound.content_removed:
        content = unreadable_text(inbound.unreadable) or "not kept any more"
    elif inbound.WhichOneof("content") == "binary":
        content = f"{len(inbound.binary.data)} octets"
    else:
        content = f'"{shown(inbound.text)}"'
    between = f"{shown(inbound.sender)} → {shown(inbound.recipient)}" if inbound.sender else inbound.inbound_id
    words = [between, f"via {shown(inbound.carrier)}", content]
    return Text("INBOUND", style="cyan").append("        " + "  ".join(words), style="none")


def segments_text(count: int) -> str:
    """Return a number of segments for people."""
    return f"{count} segment" if count == 1 else f"{count} segments"


def unreadable_text(why: int) -> str:
    """Return why what is stored of a message cannot be opened, empty when it can be."""
    return _UNREADABLE.get(why, "cannot be opened") if why else ""


def reason_text(reason: pb.Reason) -> str:
    """Return why a message is where it is, empty when there is nothing to say."""
    words = [reason.code, reason.text]
    if reason.HasField("smpp_status"):
        words.append(f"SMPP status 0x{reason.smpp_status:08x}")
    if reason.network_error.strip("0"):  # 000 is "no error"
        words.append(f"network error {reason.network_error}")
    return ", ".join(word for word in words if word)


def message_lines(message: pb.Message) -> list[Text]:
    """Return a message as lines of name and value, what is unset left out."""
    rows: list[tuple[str, str | Text]] = [
        ("message", message.message_id),
        ("state", state_text(message.state)),
        ("why", reason_text(message.reason)),
        ("category", _category(message.category)),
        ("sender", message.sender),
        ("recipient", message.masked_recipient),
        ("segments", str(message.segments) if message.HasField("segments") else ""),
        ("encoding", pb.Encoding.Name(message.encoding).removeprefix("ENCODING_") if message.encoding else ""),
        ("carrier", message.carrier),
        ("carrier ids", ", ".join(message.carrier_message_ids)),
        ("attempts", str(message.attempts) if message.attempts else ""),
        ("reference", message.client_reference),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(message.labels.items()))),
        ("not told", unreadable_text(message.unreadable)),
    ]
    for name in (
        "accepted_at",
        "not_before",
        "expires_at",
        "sending_at",
        "submitted_at",
        "done_at",
        "operator_done_at",
    ):
        if message.HasField(name):
            moment: Timestamp = getattr(message, name)
            rows.append((name.replace("_", " "), f"{moment.ToDatetime(dt.UTC).astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]))
    return [_row(name, value) for name, value in rows if value]


def _row(name: str, value: str | Text) -> Text:
    return Text(f"{name:<14}", style="dim").append_text(value if isinstance(value, Text) else Text(shown(value)))


def _category(category: int) -> str:
    return Category(category).name if category in Category._value2member_map_ else ""
