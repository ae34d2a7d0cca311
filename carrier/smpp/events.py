"""What a session tells its driver: one small tuple per event (hot: a link gets several for each message)."""

from __future__ import annotations

from typing import NamedTuple

from carrier.smpp.messages import Pdu


class Bound(NamedTuple):
    """The bind was accepted. `pdu` is its response; default fields if its body could not be read."""

    pdu: Pdu


class BindRejected(NamedTuple):
    """The bind was refused with `status`: close the connection."""

    status: int


class SubmitAnswered(NamedTuple):
    """A submit_sm was answered; `message_id` as the carrier wrote it, empty with an error."""

    ticket: object
    status: int
    message_id: bytes


class RequestAnswered(NamedTuple):
    """Another request was answered. `pdu` is None for a generic_nack and for a body that could not be read."""

    ticket: object
    status: int
    pdu: Pdu | None


class InDoubt(NamedTuple):
    """No response came in time; if one to a submit_sm comes later, it is a LateAnswer."""

    ticket: object


class LateAnswer(NamedTuple):
    """A submit_sm that was InDoubt has been answered after all."""

    ticket: object
    status: int
    message_id: bytes


class RequestReceived(NamedTuple):
    """The peer asks something: answer it with `Session.answer` or `Session.respond`."""

    sequence: int
    pdu: Pdu


class Notified(NamedTuple):
    """An outbind or alert_notification: it has no answer."""

    pdu: Pdu


class Nacked(NamedTuple):
    """A generic_nack that names no request of ours (sequence 0 among them)."""

    sequence: int
    status: int


class Unbound(NamedTuple):
    """The session is over in good order: close the connection. `by_peer`: the other end asked."""

    by_peer: bool


class Failed(NamedTuple):
    """The session cannot go on: send what is left and close the connection. `why` is for people."""

    why: str


Event = (
    Bound
    | BindRejected
    | SubmitAnswered
    | RequestAnswered
    | InDoubt
    | LateAnswer
    | RequestReceived
    | Notified
    | Nacked
    | Unbound
    | Failed
)
