"""What a caller gives and gets: messages, and what became of them. Frozen, typed, and silent about whom and what.

The representation of each leaves out recipients, contents, labels and references, so that a log line or a traceback
that shows one tells nothing of a person. What the fields mean is said in protos/smsgw/v1/message.proto.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field


class Category(enum.StrEnum):
    """Why a message is sent: the lane it goes by."""

    OTP = "OTP"
    TRANSACTIONAL = "TRANSACTIONAL"
    PROMOTIONAL = "PROMOTIONAL"


class State(enum.StrEnum):
    """Where a message stands."""

    ACCEPTED = "ACCEPTED"
    SENDING = "SENDING"
    SUBMITTED = "SUBMITTED"
    DELIVERED = "DELIVERED"
    UNDELIVERABLE = "UNDELIVERABLE"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    UNRECOGNISED = "UNRECOGNISED"  # of a node that is newer than this client

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self in _FINAL


_FINAL = frozenset({State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.CANCELLED, State.REJECTED})


class Encoding(enum.StrEnum):
    """How a text becomes octets."""

    GSM7 = "GSM7"
    UCS2 = "UCS2"
    BINARY = "BINARY"
    LATIN1 = "LATIN1"
    UNRECOGNISED = "UNRECOGNISED"


class Unreadable(enum.StrEnum):
    """Why what is stored of a message cannot be opened: its key was destroyed on purpose, or something is damaged."""

    KEY_DESTROYED = "KEY_DESTROYED"
    DAMAGED = "DAMAGED"
    UNRECOGNISED = "UNRECOGNISED"


class Start(enum.StrEnum):
    """Where events begin without a cursor: with the next one, or with the oldest kept."""

    NOW = "NOW"
    OLDEST = "OLDEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """Octets for a handset. `user_data_header` with its length octet; empty for none."""

    data: bytes = field(repr=False)
    data_coding: int
    user_data_header: bytes = field(default=b"", repr=False)


def new_key() -> str:
    """Return an idempotency key that nobody else has."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to be sent. Exactly one of text, binary and sealed_jwe.

    Attributes:
        to: E.164 with its plus sign.
        sender: alphanumeric (1 to 11), a short code, or a number in E.164.
        category: OTP, TRANSACTIONAL or PROMOTIONAL; a text with that name will do.
        text: a text; the gateway chooses the encoding and splits it.
        binary: octets.
        sealed_jwe: a content encrypted to the gateway's payload key.
        sealed: encrypt text or binary to that key before it is sent. For a retry of your own keep what `seal` returns:
            encrypted a second time, it is another content for the gateway.
        validity: how long a delivery is of use, 5 s to 7 days; the category's default when left out.
        not_before: do not send before; aware, at most 7 days ahead.
        idempotency_key: the same key and content again is the same message; made anew for each when left out.
        client_reference: your own id, returned with it; at most 128 characters.
        labels: at most 16.
    """

    to: str = field(repr=False)
    sender: str
    category: Category | str
    text: str | None = field(default=None, repr=False)
    binary: Binary | None = field(default=None, repr=False)
    sealed_jwe: str | None = field(default=None, repr=False)
    sealed: bool = False
    validity: dt.timedelta | None = None
    not_before: dt.datetime | None = None
    idempotency_key: str = field(default_factory=new_key, repr=False)
    client_reference: str = field(default="", repr=False)
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if sum(content is not None for content in (self.text, self.binary, self.sealed_jwe)) != 1:
            raise ValueError("give a message one of text, binary and sealed_jwe")
        object.__setattr__(self, "category", _category(self.category))
        if self.not_before is not None and self.not_before.tzinfo is None:
            raise ValueError("not_before needs a time zone: datetime.now(UTC) + ...")
        if not self.idempotency_key:
            object.__setattr__(self, "idempotency_key", new_key())

    @property
    def to_be_sealed(self) -> bool:
        """Whether its content has to be encrypted before it may leave."""
        return self.sealed and self.sealed_jwe is None


def _category(given: str) -> Category:
    try:
        return Category(given.upper())
    except ValueError:
        raise ValueError("category is one of OTP, TRANSACTIONAL, PROMOTIONAL") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that the gateway has on its disk.

    Attributes:
        id: its id, a UUIDv7.
        state: ACCEPTED, or what became of it since when it is a replay.
        segments: how many SMS it takes; None for sealed content.
        masked_recipient: with its middle digits hidden.
        replayed: whether an earlier call with the same key had made it.
        idempotency_key: the key it was sent with.
    """

    id: str
    state: State
    segments: int | None
    masked_recipient: str
    replayed: bool
    idempotency_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a message is where it is: `code` for machines, `text` for people."""

    code: str
    text: str
    smpp_status: int | None = None
    network_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatus:
    """A message as it stands; times are aware, None for what has not happened."""

    id: str
    state: State
    category: str
    sender: str
    masked_recipient: str
    segments: int | None
    encoding: Encoding
    client_reference: str = field(repr=False)
    labels: Mapping[str, str] = field(repr=False)
    accepted_at: dt.datetime | None
    not_before: dt.datetime | None
    expires_at: dt.datetime | None
    sending_at: dt.datetime | None
    submitted_at: dt.datetime | None
    done_at: dt.datetime | None
    operator_done_at: dt.datetime | None
    carrier: str
    attempts: int
    carrier_message_ids: tuple[str, ...]
    reason: Reason | None
    content_removed: bool = False  # its content is not kept any more
    recipient_removed: bool = False  # neither are its recipient, client_reference, labels and not_before
    unreadable: Unreadable | None = None  # why what is stored of it cannot be opened

    @property
    def delivered(self) -> bool:
        """Whether the carrier's receipt says that the handset has it."""
        return self.state is State.DELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How a content would be encoded and split. `non_gsm_characters` force UCS-2; `sent_text` goes instead, if any."""

    encoding: Encoding
    segments: int
    units: int
    capacity: int
    non_gsm_characters: tuple[str, ...] = field(repr=False)
    sent_text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A message of ours came into a state."""

    cursor: str
    time: dt.datetime
    message_id: str
    state: State
    category: str
    masked_recipient: str
    client_reference: str = field(repr=False)
    carrier: str
    segments: int | None
    reason: Reason | None
    operator_done_at: dt.datetime | None
    recipient_removed: bool = False  # the message's recipient and client_reference are not kept any more
    unreadable: Unreadable | None = None  # why what is stored of it cannot be opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that a handset sent to one of our numbers. One of text and binary is None."""

    cursor: str
    time: dt.datetime
    inbound_id: str
    sender: str = field(repr=False)
    recipient: str
    text: str | None = field(repr=False)
    binary: Binary | None = field(repr=False)
    carrier: str
    segments: int
    received_at: dt.datetime | None
    content_removed: bool = False  # what it said, its sender and its recipient are not kept any more
    unreadable: Unreadable | None = None  # why what is stored of it cannot be opened


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent:
    """An event of a kind that this client is too old to know: its cursor counts all the same."""

    cursor: str
    time: dt.datetime


Event = StateChanged | Received | OtherEvent
