"""Messages into drafts: every rule, every path."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import FieldViolation, InvalidRequest, Unsupported
from gateway.records import Envelope, decode_envelope
from gateway.validation import Draft, MessageRules, Validator
from smsgw.v1.message_pb2 import Content, OutboundMessage

SECOND = 1_000_000
DAY = 86_400
NOW = 1_800_000_000 * SECOND
VALIDATOR = Validator(MessageRules())
MOMENTS: dict[str, Any] = {"seconds": st.integers(-(2**60), 2**60), "nanos": st.integers(-(2**31), 2**31 - 1)}
GOOD: dict[str, Any] = {
    "recipient": "+4915112345678",
    "sender": "ACME",
    "category": 1,
    "content": Content(text="Your code is 123456"),
}


def message(**changes: Any) -> OutboundMessage:
    """Return a good message with some fields changed."""
    return OutboundMessage(**{**GOOD, **changes})


def draft(**changes: Any) -> Draft:
    """Return the draft of a good message with some fields changed."""
    return VALIDATOR.draft(message(**changes), NOW, "message")


def faults(**changes: Any) -> tuple[FieldViolation, ...]:
    """Return what is wrong with a message."""
    with pytest.raises(InvalidRequest) as refused:
        VALIDATOR.draft(message(**changes), NOW, "messages[3]")
    return refused.value.violations


def test_good() -> None:
    """A good message becomes a draft with everything the pipeline needs."""
    made = draft(client_reference="order 1", labels={"team": "a"}, idempotency_key="key-1")
    assert made[:4] == ("+4915112345678", "+49XXXXXXX5678", "ACME", 1)
    assert decode_envelope(made.envelope) == Envelope("+4915112345678", "order 1", {"team": "a"}, 0)
    assert Content.FromString(made.content) == GOOD["content"]
    assert (made.encoding, made.segments, made.due_at, made.expires_at) == (1, 1, NOW, NOW + 300 * SECOND)
    assert made.idempotency_key == "key-1"
    assert made.fingerprint


@pytest.mark.parametrize(("category", "validity_s"), [(1, 300), (2, DAY), (3, 4 * 3600)])
def test_default_validity(category: int, validity_s: int) -> None:
    """Each category has its default validity."""
    assert draft(category=category).expires_at == NOW + validity_s * SECOND


def test_validity_from_not_before() -> None:
    """Validity counts from not_before when that is later than acceptance."""
    later = Timestamp(seconds=NOW // SECOND + 3600, nanos=5_000)
    made = draft(not_before=later, validity=Duration(seconds=60))
    assert made.due_at == NOW + 3600 * SECOND + 5
    assert made.expires_at == made.due_at + 60 * SECOND
    assert decode_envelope(made.envelope).not_before == made.due_at


def test_not_before_past() -> None:
    """A not_before that has passed means now: a retry with the same content stays possible."""
    made = draft(not_before=Timestamp(seconds=NOW // SECOND - 3600), validity=Duration(seconds=60))
    assert (made.due_at, made.expires_at) == (NOW, NOW + 60 * SECOND)


@pytest.mark.parametrize(
    "changes",
    [{"validity": Duration(seconds=5)}, {"validity": Duration(seconds=7 * DAY)},
     {"not_before": Timestamp(seconds=NOW // SECOND + 7 * DAY)}, {"idempotency_key": "!" + "~" * 127},
     {"client_reference": "ü" * 128}, {"labels": {f"k{n}": "v" * 128 for n in range(16)}}, {"labels": {"a" * 63: ""}},
     {"recipient": "+1234567"}, {"recipient": "+123456789012345"}, {"sender": "12345"}],
)  # fmt: skip
def test_bounds_are_inside(changes: dict[str, Any]) -> None:
    """The bounds themselves are allowed."""
    assert draft(**changes)


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [({"recipient": ""}, "recipient", "RECIPIENT_INVALID"),
     ({"recipient": "015112345678"}, "recipient", "RECIPIENT_INVALID"),
     ({"recipient": "+49 151 12345678"}, "recipient", "RECIPIENT_INVALID"),
     ({"recipient": "+9991234567"}, "recipient", "CALLING_CODE_UNASSIGNED"),
     ({"sender": ""}, "sender", "SENDER_INVALID"),
     ({"sender": "TwelveLetter"}, "sender", "SENDER_INVALID"),
     ({"category": 0}, "category", "CATEGORY_REQUIRED"),
     ({"category": 4}, "category", "CATEGORY_REQUIRED"),
     ({"content": None}, "content", "CONTENT_REQUIRED"),
     ({"content": Content(text="")}, "content.text", "CONTENT_REQUIRED"),
     ({"content": Content(text="a" * 1531)}, "content.text", "CONTENT_TOO_LONG"),
     ({"validity": Duration()}, "validity", "VALIDITY_INVALID"),
     ({"validity": Duration(seconds=4, nanos=999_999_999)}, "validity", "VALIDITY_INVALID"),
     ({"validity": Duration(seconds=7 * DAY, nanos=1000)}, "validity", "VALIDITY_INVALID"),
     ({"validity": Duration(seconds=-60)}, "validity", "VALIDITY_INVALID"),
     ({"validity": Duration(seconds=60, nanos=-1)}, "validity", "VALIDITY_INVALID"),
     ({"not_before": Timestamp(seconds=NOW // SECOND + 7 * DAY, nanos=1000)}, "not_before", "NOT_BEFORE_INVALID"),
     ({"not_before": Timestamp(seconds=-1)}, "not_before", "NOT_BEFORE_INVALID"),
     ({"not_before": Timestamp(seconds=1, nanos=1_000_000_000)}, "not_before", "NOT_BEFORE_INVALID"),
     ({"idempotency_key": "a b"}, "idempotency_key", "IDEMPOTENCY_KEY_INVALID"),
     ({"idempotency_key": "ü"}, "idempotency_key", "IDEMPOTENCY_KEY_INVALID"),
     ({"idempotency_key": "k" * 129}, "idempotency_key", "IDEMPOTENCY_KEY_INVALID"),
     ({"idempotency_key": "key\n"}, "idempotency_key", "IDEMPOTENCY_KEY_INVALID"),
     ({"client_reference": "r" * 129}, "client_reference", "CLIENT_REFERENCE_TOO_LONG"),
     ({"labels": {f"k{n}": "" for n in range(17)}}, "labels", "LABELS_INVALID"),
     ({"labels": {"": "v"}}, "labels", "LABELS_INVALID"),
     ({"labels": {"Key": "v"}}, "labels", "LABELS_INVALID"),
     ({"labels": {"a" * 64: "v"}}, "labels", "LABELS_INVALID"),
     ({"labels": {"k": "v" * 129}}, "labels", "LABELS_INVALID")],
)  # fmt: skip
def test_refused(changes: dict[str, Any], field: str, reason: str) -> None:
    """One wrong field gives one violation, with its path as the caller wrote it."""
    (fault,) = faults(**changes)
    assert (fault.field, fault.reason) == (f"messages[3].{field}", reason)


def test_all_at_once() -> None:
    """Everything that is wrong is told at once."""
    found = faults(
        recipient="1", sender="", category=0, content=Content(), validity=Duration(), idempotency_key=" ",
        client_reference="r" * 200, labels={"K": ""}, not_before=Timestamp(seconds=-5),
    )  # fmt: skip
    assert {fault.field.removeprefix("messages[3].") for fault in found} == {
        "recipient", "sender", "category", "content", "validity", "idempotency_key", "client_reference", "labels",
        "not_before",
    }  # fmt: skip


def test_empty_message() -> None:
    """An empty message says which fields are required."""
    with pytest.raises(InvalidRequest) as refused:
        VALIDATOR.draft(OutboundMessage(), NOW, "message")
    assert [fault.field for fault in refused.value.violations] == [
        "message.recipient", "message.sender", "message.category", "message.content",
    ]  # fmt: skip


def test_no_personal_data() -> None:
    """Violations repeat neither number nor text nor key."""
    found = faults(recipient="+9995551234", content=Content(text="secret" * 500), idempotency_key="se cret")
    assert not any(word in f"{fault}" for fault in found for word in ("5551234", "secret", "se cret"))


def test_sealed() -> None:
    """Sealed content is refused where there is no key to open it."""
    with pytest.raises(Unsupported):
        draft(content=Content(sealed_jwe="e30.."))


def test_fingerprint_only_with_key() -> None:
    """Without an idempotency key there is nothing to compare."""
    assert draft().fingerprint == b""


def test_fingerprint_same() -> None:
    """The key itself, the time of the call and the order of labels are not content."""
    first = draft(idempotency_key="a", labels={"a": "1", "b": "2"})
    again = VALIDATOR.draft(message(idempotency_key="b", labels={"b": "2", "a": "1"}), NOW + 5 * SECOND, "message")
    assert first.fingerprint == again.fingerprint


def test_fingerprint_differs() -> None:
    """Every field that makes the content makes the fingerprint."""
    changes: list[dict[str, Any]] = [
        {}, {"recipient": "+4915112345679"}, {"sender": "OTHER"}, {"category": 2}, {"content": Content(text="x")},
        {"validity": Duration(seconds=300)}, {"validity": Duration(seconds=301)},
        {"not_before": Timestamp(seconds=1)}, {"not_before": Timestamp(seconds=1, nanos=1)},
        {"client_reference": "r"}, {"labels": {"a": "1"}}, {"labels": {"a": "2"}}, {"labels": {"b": "1"}},
    ]  # fmt: skip
    made = {draft(idempotency_key="k", **change).fingerprint for change in changes}
    assert len(made) == len(changes)


@pytest.mark.parametrize(
    "limit",
    [{"max_segments": 0}, {"max_segments": 256}, {"otp_validity_s": 4.0}, {"promotional_validity_s": 8.0 * DAY}],
)
def test_rules_checked(limit: dict[str, Any]) -> None:
    """Rules that no message could meet are refused."""
    with pytest.raises(ValueError, match="is"):
        MessageRules(**limit)


def test_rules_apply() -> None:
    """The operator's rules count."""
    validator = Validator(MessageRules(max_segments=1, otp_validity_s=60))
    assert validator.draft(message(), NOW, "message").expires_at == NOW + 60 * SECOND
    with pytest.raises(InvalidRequest):
        validator.draft(message(content=Content(text="a" * 161)), NOW, "message")


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        OutboundMessage,
        recipient=st.one_of(st.just("+4915112345678"), st.text(max_size=20)),
        sender=st.one_of(st.just("ACME"), st.text(max_size=14)),
        category=st.integers(0, 5),
        content=st.builds(Content, text=st.text(max_size=400)),
        validity=st.one_of(st.none(), st.builds(Duration, **MOMENTS)),
        not_before=st.one_of(st.none(), st.builds(Timestamp, **MOMENTS)),
        idempotency_key=st.text(max_size=140),
        client_reference=st.text(max_size=140),
        labels=st.dictionaries(st.text(max_size=70), st.text(max_size=140), max_size=18),
    )
)  # fmt: skip
def test_fuzz(candidate: OutboundMessage) -> None:
    """Whatever comes in is a sound draft or a list of violations within the message."""
    try:
        made = VALIDATOR.draft(candidate, NOW, "message")
    except InvalidRequest as refused:
        paths = [fault.field for fault in refused.violations]
    else:
        check_sound(made)
        return
    assert paths
    assert all(path.startswith("message.") for path in paths)


def check_sound(made: Draft) -> None:
    """Check a draft against the promises of its fields."""
    assert NOW <= made.due_at <= NOW + 7 * DAY * SECOND
    assert 5 * SECOND <= made.expires_at - made.due_at <= 7 * DAY * SECOND
    assert 1 <= made.segments <= 10
