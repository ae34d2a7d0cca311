"""From a request's message to a `Draft` that the pipeline can take, or to the list of what is wrong with it.

Every rule of smsgw.v1.OutboundMessage is here or in the modules it uses (`contents`, `senders`, `destinations`). All
violations of a message are told at once, with paths as the caller wrote them (`messages[3].recipient`). It reads no
clock: `now` is an argument, in microseconds since the Unix epoch like all times here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from carrier.text.writing import PLAIN, Counting
from gateway.contents import SEALED, Measured, measure
from gateway.countries import country_at
from gateway.destinations import destination, is_e164
from gateway.errors import FieldViolation, InvalidRequest, SealedTooLate, Unsupported
from gateway.masking import mask_after
from gateway.records import encode_envelope, encode_sealed, join_fields
from gateway.sealed.binding import TOO_LATE, check_expiry, check_time
from gateway.sealed.compact import Header, read_header
from gateway.sealed.errors import SealedRefused
from gateway.sealed.keys import PayloadKeys
from gateway.senders import sender_fault
from gateway.states import Category
from smsgw.v1 import message_pb2

SECOND = 1_000_000
MIN_VALIDITY_S = 5
MAX_VALIDITY_S = 7 * 86_400
MAX_AHEAD_S = 7 * 86_400  # of not_before
MAX_REFERENCE_CHARACTERS = 128
MAX_LABELS = 16
MAX_LABEL_VALUE_CHARACTERS = 128

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_LABEL_KEY = re.compile(r"[a-z0-9_.-]{1,63}")
_CATEGORIES = frozenset(int(category) for category in Category)
_NANOS = 1_000_000_000
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)

NO_KEYS = PayloadKeys()

_CATEGORY_FAULT = FieldViolation("category", "is required: OTP, TRANSACTIONAL or PROMOTIONAL", "CATEGORY_REQUIRED")
_KEY_FAULT = FieldViolation(
    "idempotency_key", "must be 1 to 128 visible ASCII characters without spaces", "IDEMPOTENCY_KEY_INVALID"
)
_REFERENCE_FAULT = FieldViolation(
    "client_reference", f"must have at most {MAX_REFERENCE_CHARACTERS} characters", "CLIENT_REFERENCE_TOO_LONG"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRules:
    """What the operator may set. `max_segments` is 1 to 255; the validities are 5 s to 7 days. `sealed`: whether there
    is a payload key, so that content may come sealed."""

    max_segments: int = 10
    otp_validity_s: float = 300.0
    transactional_validity_s: float = 86_400.0
    promotional_validity_s: float = 14_400.0
    sealed: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_segments <= 255:
            raise ValueError(f"max_segments is 1 to 255, not {self.max_segments}")
        for category, validity_s in self.default_validity_s.items():
            if not MIN_VALIDITY_S <= validity_s <= MAX_VALIDITY_S:
                raise ValueError(f"the default validity of {category.name} is 5 s to 7 days, not {validity_s} s")

    @property
    def default_validity_s(self) -> dict[Category, float]:
        """The validity of each category for a message that asks for none."""
        return {
            Category.OTP: self.otp_validity_s,
            Category.TRANSACTIONAL: self.transactional_validity_s,
            Category.PROMOTIONAL: self.promotional_validity_s,
        }


class Draft(NamedTuple):
    """A message that may be sent, as the pipeline takes it. A NamedTuple: one is made for every message."""

    recipient: str
    masked_recipient: str
    sender: str
    category: int
    envelope: bytes  # see gateway.records
    content: bytes  # a serialized smsgw.v1.Content; of sealed content see gateway.records
    encoding: int  # 0 for sealed content
    segments: int  # 0 for sealed content
    due_at: int
    expires_at: int
    idempotency_key: str  # empty for none
    fingerprint: bytes  # what must be the same when the key comes again; empty without a key
    country: str  # of the recipient, see gateway.countries
    reserved: int = 0  # of its tenant's money: see gateway.usage.caps


class Validator:
    """Turns messages into drafts by one set of rules."""

    def __init__(
        self,
        rules: MessageRules,
        counting: Counting = PLAIN,
        payload_key: Callable[[Header, int], object] = NO_KEYS.opening,
    ) -> None:
        """`counting` knows how the carriers write texts. `payload_key` raises SealedRefused unless there is a key for
        content that is accepted at a time, in microseconds."""
        self._payload_key = payload_key
        self.use(rules, counting)

    def use(self, rules: MessageRules, counting: Counting) -> None:
        """Validate by these rules from now on."""
        self.counting = counting
        self._max_segments = rules.max_segments
        self._takes_sealed = rules.sealed
        self._default_validity = {
            int(category): round(validity_s * SECOND) for category, validity_s in rules.default_validity_s.items()
        }

    def draft(
        self, message: message_pb2.OutboundMessage, now: int, path: str, *, accepted_before: bool = False
    ) -> Draft:
        """Return the draft of `message`, accepted at `now`; `path` is the message's own (`message`, `messages[3]`).
        `accepted_before`: it is for looking up whether it was, and may be sealed to a key that has gone since.

        Raises InvalidRequest with every violation, SealedTooLate when there is no other than that, and Unsupported for
        sealed content where there is no payload key.
        """
        recipient, sender, category, labels = message.recipient, message.sender, message.category, message.labels
        reference, key = message.client_reference, message.idempotency_key
        found = destination(recipient) if is_e164(recipient) else None
        content = measure(message.content, self._max_segments, self.counting)
        if content is SEALED:
            content = self._sealed(message.content.sealed_jwe, key, now, accepted_before=accepted_before)
        validity = message.validity if message.HasField("validity") else None
        not_before = message.not_before if message.HasField("not_before") else None
        faults = (
            None if found is not None else _recipient_fault(recipient),
            sender_fault(sender),
            None if category in _CATEGORIES else _CATEGORY_FAULT,
            None if isinstance(content, Measured) else content,
            None if validity is None else _validity_fault(validity),
            None if not_before is None else _not_before_fault(not_before, now),
            None if not key or _IDEMPOTENCY_KEY.fullmatch(key) else _KEY_FAULT,
            None if len(reference) <= MAX_REFERENCE_CHARACTERS else _REFERENCE_FAULT,
            _labels_fault(labels) if labels else None,
        )
        if any(faults) or found is None or not isinstance(content, Measured):  # the rest is for the type checker
            raise _refusal([v._replace(field=f"{path}.{v.field}") for v in faults if v is not None])
        not_before_at = 0 if not_before is None else _micros(not_before)
        due_at = max(now, not_before_at)
        envelope = encode_envelope(recipient, reference, labels, not_before_at)
        return _tuple(Draft, (
            recipient,
            mask_after(recipient, len(found[0])),
            sender,
            category,
            envelope,
            content.octets,
            content.encoding,
            content.segments,
            due_at,
            due_at + (self._default_validity[category] if validity is None else _micros(validity)),
            key,
            _fingerprint(message, envelope, content.octets) if key else b"",
            country_at(found, recipient),
            0,
        ))  # fmt: skip

    def measure(self, content: message_pb2.Content) -> Measured | FieldViolation:
        """Return the measure of content that has been opened, or what is wrong with it."""
        return measure(content, self._max_segments, self.counting)

    def _sealed(self, jwe: str, key: str, now: int, *, accepted_before: bool) -> Measured | FieldViolation:
        """Return what is stored of sealed content that may be tried to be opened. Raises Unsupported."""
        if not self._takes_sealed:
            raise Unsupported(
                "this node has no payload key, so that sealed content cannot be opened here: send text or binary",
                reason="SEALED_CONTENT_UNSUPPORTED",
            )
        try:
            header = read_header(jwe)
            check_expiry(header, now)
            if not accepted_before:
                check_time(header, now)
                self._payload_key(header, now)
        except SealedRefused as refused:
            return FieldViolation("content.sealed_jwe", str(refused), refused.reason)
        sound = not key or _IDEMPOTENCY_KEY.fullmatch(key)  # of one that is not, nothing is stored
        content = message_pb2.Content(sealed_jwe=jwe).SerializeToString()
        return SEALED._replace(octets=encode_sealed(key, content)) if sound else SEALED


def _refusal(faults: Sequence[FieldViolation]) -> InvalidRequest:
    """Return what is wrong; what may only have come too late is told apart, by its type."""
    late = len(faults) == 1 and faults[0].reason in TOO_LATE
    return (SealedTooLate if late else InvalidRequest)(tuple(faults))


def _micros(value: Duration | Timestamp) -> int:
    return value.seconds * SECOND + value.nanos // 1000


def _recipient_fault(recipient: str) -> FieldViolation:
    if not is_e164(recipient):
        text = "must be a number in E.164: + and 7 to 15 digits without separators, such as +4915112345678"
        return FieldViolation("recipient", text, "RECIPIENT_INVALID")
    text = "begins with a country calling code that is not assigned"
    return FieldViolation("recipient", text, "CALLING_CODE_UNASSIGNED")


def _validity_fault(validity: Duration) -> FieldViolation | None:
    in_range = MIN_VALIDITY_S * SECOND <= _micros(validity) <= MAX_VALIDITY_S * SECOND
    if in_range and 0 <= validity.nanos < _NANOS:
        return None
    return FieldViolation("validity", "must be 5 s to 7 days, or unset for the category's default", "VALIDITY_INVALID")


def _not_before_fault(not_before: Timestamp, now: int) -> FieldViolation | None:
    if not_before.seconds < 0 or not 0 <= not_before.nanos < _NANOS:
        return FieldViolation("not_before", "is no sound time", "NOT_BEFORE_INVALID")
    if _micros(not_before) > now + MAX_AHEAD_S * SECOND:
        return FieldViolation("not_before", "may be at most 7 days ahead", "NOT_BEFORE_INVALID")
    return None


def _labels_fault(labels: Mapping[str, str]) -> FieldViolation | None:
    if len(labels) > MAX_LABELS:
        return FieldViolation("labels", f"has {len(labels)} entries; at most {MAX_LABELS} are kept", "LABELS_INVALID")
    for place, key in enumerate(sorted(labels), 1):  # told by its place: a key may be a number, or a name
        if not _LABEL_KEY.fullmatch(key):
            text = f"has a key, number {place} of them sorted, that is not 1 to 63 characters of [a-z0-9_.-]"
            return FieldViolation("labels", text, "LABELS_INVALID")
        if len(labels[key]) > MAX_LABEL_VALUE_CHARACTERS:
            text = f"has more than {MAX_LABEL_VALUE_CHARACTERS} characters under key number {place} of them sorted"
            return FieldViolation("labels", text, "LABELS_INVALID")
    return None


def _fingerprint(message: message_pb2.OutboundMessage, envelope: bytes, content: bytes) -> bytes:
    """Return octets that are the same for the same message and for no other: as it was written, without its key."""
    return join_fields(
        envelope,
        message.sender.encode(),
        content,
        b"%d" % message.category,
        _written(message.validity) if message.HasField("validity") else b"",
        _written(message.not_before) if message.HasField("not_before") else b"",
    )


def _written(value: Duration | Timestamp) -> bytes:
    return b"%d.%d" % (value.seconds, value.nanos)
