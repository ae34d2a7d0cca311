"""Records have one form, and only that form is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.codec import MAX_RECORD_BYTES, VERSION, decode, encode, frame, frames, kind_of, split
from gateway.audit.fields import MAX_IDS, Malformed
from gateway.audit.records import (
    KINDS,
    Kind,
    MessagesSending,
    MessageStored,
    NodeStopped,
    Record,
    Recovered,
    StateChanged,
)
from tests.gateway.audit.samples import AT, ID, SAMPLES, decision, records

GOLDEN = {
    "Decision": (
        "010100066517289a624000001d7370696666653a2f2f6578616d706c652e6f72672f61636d652f6170690461636d65046338"
        "65330466323731093139322e302e322e37242f736d7367772e76312e4d657373616765536572766963652f53656e644d6573"
        "736167650753656e644f747009464f5242494444454e000f6e6f2d6f74702d61742d6e6967687400066517289a623f000000"
        "03"
    ),
    "MessageAccepted": (
        "010200066517289a624001a20a82af4e7000800059821521b5190461636d65001d7370696666653a2f2f6578616d706c652e"
        "6f72672f61636d652f617069010441434d45024445000200"
    ),
    "StateChanged": (
        "010300066517289a624001a20a82af4e7000800059821521b5190461636d65020809636172726965722d3110434152524945"
        "525f52454a4543544544010000000b0000"
    ),
    "MessagesSending": (
        "010400066517289a62400461636d6509636172726965722d310009616e792d726f757465000201a20a82af4e700080005982"
        "1521b51901a20a82af5770008000e871b5cf5418"
    ),
    "MessagesRouted": (
        "010e00066517289a62400461636d6509636172726965722d310009616e792d726f75746505696e6469610641434d45494e000201"
        "a20a82af4e7000800059821521b51901a20a82af5770008000e871b5cf5418"
    ),
    "InboundReceived": "010500066517289a624001a20a82af4e7000800059821521b5190461636d6509636172726965722d310003",
    "RouteDenied": (
        "010600066517289a624001a20a82af4e7000800059821521b5190461636d6509636172726965722d3109464f524249444445"
        "4e000a6e6f742d6162726f6164"
    ),
    "Recovered": "010700066517289a62400000000700000002",
    "NodeStarted": "010800066517289a6240066e6f64652d3105302e312e3040" + "6162" * 32,
    "NodeStopped": "010900066517289a6240066e6f64652d31",
    "ConfigLoaded": "010a00066517289a6240066e6f64652d3108706f6c696369657340" + "6364" * 32,
    "KeyCreated": "010b00066517289a624010353132636236613030386462356235610461636d65",
    "CertificateRenewed": "010c00066517289a624004737669640463386533",
    "OperatorActed": "010d00066517289a6240066e6f64652d31001d7370696666653a2f2f6578616d706c652e6f72672f61636d652f617069"
    "0e636172726965722070617573656409636172726965722d310461636d650301000000000000000c0010746865792061736b656420757320746f",
    "CancelAsked": (
        "010f00066517289a624001a20a82af4e7000800059821521b5190461636d6509636172726965722d310002001d7370696666"
        "653a2f2f6578616d706c652e6f72672f61636d652f617069"
    ),
    "CancelAnswered": (
        "011000066517289a624001a20a82af4e7000800059821521b5190461636d6509636172726965722d31000100000100000011"
    ),
    "AlertChanged": ("011100066517289a6240066e6f64652d310d61756469745f6661696c696e670c776861743d6a6f75726e616c01"),
    "PoliciesReplaced": (
        "011200066517289a6240066e6f64652d31001d7370696666653a2f2f6578616d706c652e6f72672f61636d652f617069"
        "40" + "6162" * 32 + "40" + "6364" * 32 + "0000003c"
    ),
    "RevocationChanged": (
        "011300066517289a6240066e6f64652d31001e7370696666653a2f2f6578616d706c652e6f72672f61646d696e2f616e6e"
        "000835663361396332650b636572746966696361746500197370696666653a2f2f6578616d706c652e6f72672f61636d65"
        "043364353404316534340004686f6c640009686f7374206c6f7374"
    ),
    "MessageStored": (
        "011400066517289a624001a20a82af4e7000800059821521b5190461636d65001d7370696666653a2f2f6578616d706c652e"
        "6f72672f61636d652f617069010441434d450244450002" + bytes(range(32)).hex()
    ),
    "PrivacyActed": (
        "011500066517289a6240066e6f64652d31001d7370696666653a2f2f6578616d706c652e6f72672f61636d652f617069"
        "066572617365640461636d65000000000000000c00000000000000010000000000000003000f68652061736b656420666f72206974"
    ),
    "KeyDestroyed": (
        "011600066517289a6240066e6f64652d3100001035306138303030313032303330343035"
        "0461636d6500186e6f7468696e67206973206b65707420756e646572206974"
    ),
}


def test_every_kind_has_a_sample() -> None:
    """The golden octets cover every kind."""
    assert {type(sample) for sample in SAMPLES} == set(KINDS)
    assert set(KINDS.values()) == set(Kind)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_golden(sample: Record) -> None:
    """The octets are those that were agreed on, for ever."""
    assert encode(sample).hex() == GOLDEN[type(sample).__name__]
    assert decode(bytes.fromhex(GOLDEN[type(sample).__name__])) == sample


@settings(max_examples=200, deadline=None)
@given(records)
def test_round_trip(record: Record) -> None:
    """What is encoded is read again, the same and of the same type."""
    octets = encode(record)
    again = decode(octets)
    assert again == record
    assert type(again) is type(record)
    assert kind_of(octets) is KINDS[type(record)]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: bytes((VERSION, 1 + len(tail) % 12)) + tail))
def test_fuzz(octets: bytes) -> None:
    """Any octets are refused with the documented error, or are the one form of a record."""
    try:
        record = decode(octets)
    except Malformed:
        return
    assert encode(record) == octets


@settings(max_examples=150, deadline=None)
@given(records, st.data())
def test_damaged(record: Record, data: st.DataObject) -> None:
    """A record with an octet changed, missing or added is refused, or is another record: it never reads the same."""
    octets = encode(record)
    at = data.draw(st.integers(0, len(octets) - 1))
    changed = data.draw(st.integers(1, 255))
    variants = (
        octets[:at] + bytes((octets[at] ^ changed,)) + octets[at + 1 :],
        octets[:at] + octets[at + 1 :],
        octets + bytes((changed,)),
    )
    for variant in variants:
        try:
            assert variant == octets or decode(variant) != record
        except Malformed:
            continue


@settings(max_examples=60, deadline=None)
@given(st.lists(records, max_size=8))
def test_commits(batch: list[Record]) -> None:
    """A commit is its records, in order; cut anywhere but between two of them, it is refused."""
    octets = frames(batch)
    assert [decode(one) for one in split(octets)] == batch
    whole = {0}
    for record in batch:
        whole.add(max(whole) + 2 + len(encode(record)))
    for end in {1, len(octets) // 2, len(octets) - 1} - whole:
        if 0 < end < len(octets):
            with pytest.raises(Malformed, match="the commit ends within"):
                list(split(octets[:end]))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (decision(caller="x" * 2049), "DECISION.caller: a text has 2049 octets, and 2048 are allowed"),
        (decision(tenant="é" * 128), "DECISION.tenant: a text has 256 octets"),
        (decision(reason="\ud800"), "DECISION.reason: a text is no Unicode text"),
        (decision(times=0), "DECISION.times: a number is not within 1"),
        (NodeStopped(-1, "n"), "NODE_STOPPED.at: a number is not within 0"),
        (NodeStopped(1 << 64, "n"), "NODE_STOPPED.at"),
        (Recovered(AT, 1 << 32, 0), "RECOVERED.reclaimed"),
        (StateChanged(AT, ID[1:], "acme", 1, 2, "", "", None, ""), "STATE_CHANGED.message_id: an id has 15 octets"),
        (StateChanged(AT, ID, "acme", 0, 2, "", "", None, ""), "STATE_CHANGED.before"),
        (StateChanged(AT, ID, "acme", 1, 10, "", "", None, ""), "STATE_CHANGED.state"),
        (StateChanged(AT, ID, "acme", 1, 2, "", "", -1, ""), "STATE_CHANGED.smpp_status"),
        (MessageStored(AT, ID, "acme", "o", 1, "s", "DE", 1, ID), "MESSAGE_STORED.commitment: a hash has 16 octets"),
        (MessagesSending(AT, "acme", "c", "", ()), "MESSAGES_SENDING.message_ids: a list has 0 ids"),
        (MessagesSending(AT, "acme", "c", "", (ID,) * (MAX_IDS + 1)), "a list has 1001 ids"),
        (MessagesSending(AT, "acme", "c", "", (ID, ID + b"x")), "an id has not 16 octets"),
    ],
)
def test_values_that_no_record_holds(record: Any, text: str) -> None:
    """A value that does not fit is refused by name, never cut."""
    with pytest.raises(Malformed, match=text.replace(".", r"\.")):
        encode(record)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("", "too short"),
        ("01", "too short"),
        ("02" + GOLDEN["NodeStopped"][2:], "its version is 2"),
        ("0163" + GOLDEN["NodeStopped"][4:], "its kind is 99"),
        (GOLDEN["NodeStopped"] + "00", "1 octets are left over"),
        (GOLDEN["NodeStopped"][:-2], "NODE_STOPPED.node: it ends within a field"),
        ("010900066517289a624001ff", "NODE_STOPPED.node: a text is not UTF-8"),
        ("010100066517289a624002" + "00" * 40, "DECISION.allowed: a flag is neither 0 nor 1"),
        ("010100066517289a624000ffff", "DECISION.caller: a text has 65535 octets"),
        ("010400066517289a62400000" + "00000000", "MESSAGES_SENDING.message_ids: a list has 0 ids"),
    ],
)
def test_octets_that_are_no_record(octets: str, text: str) -> None:
    """Foreign octets are refused with a sentence that says where and why."""
    with pytest.raises(Malformed, match=text):
        decode(bytes.fromhex(octets))


def test_a_record_is_bounded() -> None:
    """A frame holds what its length can say; the largest record fits."""
    largest = encode(MessagesSending(AT, "t" * 255, "c" * 255, "p" * 1024, (ID,) * MAX_IDS))
    assert len(frame(largest)) == len(largest) + 2
    with pytest.raises(Malformed, match="at most 65535"):
        frame(bytes(MAX_RECORD_BYTES + 1))
