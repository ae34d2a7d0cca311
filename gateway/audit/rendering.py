"""Audit records for readers: as JSON, every field under its name; for people, the words that matter.

Texts come from callers and files; whoever prints words to a terminal escapes them (`gateway.cli.manners.shown`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from gateway.audit.records import (
    KINDS,
    AlertChanged,
    CancelAnswered,
    CancelAsked,
    CertificateRenewed,
    ConfigLoaded,
    Decision,
    InboundReceived,
    KeyCreated,
    KeyDestroyed,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    NodeStarted,
    NodeStopped,
    OperatorActed,
    PoliciesReplaced,
    PrivacyActed,
    Record,
    Recovered,
    RevocationChanged,
    RouteDenied,
    StateChanged,
)
from gateway.ids import to_text
from gateway.states import Category, State

_HASHES = ("commitment",)
_TIMES = ("at", "since")
_STATES = ("before", "state")


def moment(at: int) -> str:
    """Return a time as RFC 3339 has it, in UTC with microseconds."""
    seconds, fraction = divmod(at, 1_000_000)
    try:
        text = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a number that is no time: shown as it is
        return str(at)
    return f"{text}.{fraction:06}Z"


def tenant_of(record: Record) -> str:
    """Return whose record it is, "" for the node's own."""
    return str(getattr(record, "tenant", ""))


def as_json(record: Record) -> dict[str, object]:
    """Return a record with its kind and all its fields: ids, times, states and categories as text."""
    fields = {name: _plain(name, value) for name, value in record._asdict().items()}
    return {"kind": KINDS[type(record)].name, **fields}


def _plain(name: str, value: Any) -> object:
    if name in _HASHES:
        return value.hex()
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, tuple):
        return [to_text(each) for each in value]
    if name in _TIMES:
        return moment(value)
    if name in _STATES:
        return State(value).name
    return (Category(value).name if value else "") if name == "category" else value


def words(record: Record) -> list[str]:
    """Return what a record says, in words for people; time and kind are not among them."""
    return [word for word in _WORDS[type(record)](record) if word]


def _decision(record: Decision) -> Iterator[str]:
    yield "allowed" if record.allowed else "DENIED"
    yield record.caller or "(nobody recognised)"
    yield record.action or record.method
    yield record.reason
    yield _named("by policy", record.policy)
    yield _named("from", record.address)
    if record.times > 1:
        yield f"{record.times} times since {moment(record.since)}"


def _accepted(record: MessageAccepted) -> Iterator[str]:
    yield to_text(record.message_id)
    yield f"tenant {record.tenant}"
    yield Category(record.category).name
    yield f"from {record.sender} to {record.country}"
    yield f"{record.segments} segments" if record.segments != 1 else "1 segment"
    yield f"by {record.owner}"
    yield "replayed" if record.replayed else ""


def _stored(record: MessageStored) -> Iterator[str]:
    yield to_text(record.message_id)
    yield f"tenant {record.tenant}"
    yield Category(record.category).name
    yield f"from {record.sender} to {record.country}"
    yield f"{record.segments} segments" if record.segments != 1 else "1 segment"
    yield f"by {record.owner}"


def _changed(record: StateChanged) -> Iterator[str]:
    yield to_text(record.message_id)
    yield f"tenant {record.tenant}"
    yield f"{State(record.before).name} → {State(record.state).name}"
    yield _named("via", record.carrier)
    yield record.reason
    yield "" if record.smpp_status is None else f"SMPP status 0x{record.smpp_status:08x}"
    yield _named("by", record.by)


def _sending(record: MessagesSending) -> Iterator[str]:
    count = len(record.message_ids)
    yield f"tenant {record.tenant}"
    yield f"→ SENDING via {record.carrier}"
    yield _named("by policy", record.policy)
    yield to_text(record.message_ids[0]) + (f" and {count - 1} more" if count > 1 else "")


def _routed(record: MessagesRouted) -> Iterator[str]:
    count = len(record.message_ids)
    yield f"tenant {record.tenant}"
    yield f"→ SENDING via {record.carrier}"
    yield f"by route {record.route}"
    yield _named("as", record.sender)
    yield _named("by policy", record.policy)
    yield to_text(record.message_ids[0]) + (f" and {count - 1} more" if count > 1 else "")


def _inbound(record: InboundReceived) -> Iterator[str]:
    yield to_text(record.inbound_id)
    yield f"tenant {record.tenant}"
    yield f"via {record.carrier}"
    yield f"{record.segments} segments" if record.segments != 1 else "1 segment"


def _route(record: RouteDenied) -> Iterator[str]:
    yield to_text(record.message_id)
    yield f"tenant {record.tenant}"
    yield f"DENIED via {record.carrier}"
    yield record.reason
    yield _named("by policy", record.policy)


def _recovered(record: Recovered) -> Iterator[str]:
    yield f"{record.reclaimed} put back, {record.in_doubt} in doubt"


def _started(record: NodeStarted) -> Iterator[str]:
    yield f"{record.node} with smsgw {record.version}"
    yield f"configuration {record.config}"


def _stopped(record: NodeStopped) -> Iterator[str]:
    yield record.node


def _loaded(record: ConfigLoaded) -> Iterator[str]:
    yield f"{record.node}: {record.what} {record.digest}"


def _replaced(record: PoliciesReplaced) -> Iterator[str]:
    yield record.node
    yield f"policies {record.replaced} → {record.digest}"
    yield f"{record.policies} of them"
    yield f"by {record.by}" if record.by else "by a signal"


def _key(record: KeyCreated) -> Iterator[str]:
    yield record.key_id
    yield f"tenant {record.tenant}"


def _renewed(record: CertificateRenewed) -> Iterator[str]:
    yield record.what
    yield _named("serial", record.serial)


def _acted(record: OperatorActed) -> Iterator[str]:
    yield record.what
    yield _named("carrier", record.carrier)
    yield _named("tenant", record.tenant)
    yield Category(record.category).name if record.category else ""
    yield "to one recipient" if record.by_recipient else ""
    yield str(record.number) if record.number else ""
    yield f"by {record.by}"
    yield f"because: {record.reason}" if record.reason else ""


def _cancel_asked(record: CancelAsked) -> Iterator[str]:
    yield to_text(record.message_id)
    yield f"tenant {record.tenant}"
    yield f"carrier {record.carrier} is asked to cancel {record.parts}"
    yield f"by {record.by}"


def _cancel_answered(record: CancelAnswered) -> Iterator[str]:
    yield to_text(record.message_id)
    yield f"tenant {record.tenant}"
    yield f"carrier {record.carrier} cancelled {record.cancelled}"
    yield f"no answer for {record.unanswered}" if record.unanswered else ""
    yield "" if record.smpp_status is None else f"SMPP status 0x{record.smpp_status:08x}"


def _alert(record: AlertChanged) -> Iterator[str]:
    yield f"{record.name} is {'raised' if record.active else 'over'}"
    yield record.labels
    yield f"on {record.node}"


def _revocation(record: RevocationChanged) -> Iterator[str]:
    yield f"{record.what} {'taken back' if record.restored else 'revoked'} ({record.revocation})"
    yield record.spiffe_id
    yield _named("serial", record.serial)
    yield _named("key", record.key)
    yield f"what waits: {record.queued}"
    yield _named("by", record.by)
    yield f"because: {record.reason}" if record.reason else ""


def _privacy(record: PrivacyActed) -> Iterator[str]:
    yield f"what is kept of a person {record.what}"
    yield _named("tenant", record.tenant)
    yield f"{record.messages} messages ({record.unfinished} not final), {record.inbound} from handsets"
    yield _named("by", record.by)
    yield f"because: {record.reason}"


def _destroyed(record: KeyDestroyed) -> Iterator[str]:
    yield f"data key {record.key_id} destroyed"
    yield _named("tenant", record.tenant)
    yield _named("by", record.by)
    yield f"because: {record.reason}"


def _named(name: str, value: str) -> str:
    return f"{name} {value}" if value else ""


_WORDS: dict[type[Record], Callable[[Any], Iterator[str]]] = {
    Decision: _decision,
    MessageAccepted: _accepted,
    MessageStored: _stored,
    StateChanged: _changed,
    MessagesSending: _sending,
    MessagesRouted: _routed,
    InboundReceived: _inbound,
    RouteDenied: _route,
    Recovered: _recovered,
    NodeStarted: _started,
    NodeStopped: _stopped,
    ConfigLoaded: _loaded,
    KeyCreated: _key,
    CertificateRenewed: _renewed,
    OperatorActed: _acted,
    CancelAsked: _cancel_asked,
    CancelAnswered: _cancel_answered,
    AlertChanged: _alert,
    PoliciesReplaced: _replaced,
    RevocationChanged: _revocation,
    PrivacyActed: _privacy,
    KeyDestroyed: _destroyed,
}
