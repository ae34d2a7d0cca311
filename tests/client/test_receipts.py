"""Receipts of the audit log: what they prove, and by whose keys."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from gateway.commitments import commitment
from gateway.records import encode_envelope
from smsgw.client import Message, ReceiptInvalid
from smsgw.client import convert as client_convert
from smsgw.client.commitments import commitment as client_commitment
from smsgw.client.messages import Binary
from tests.client.receipt_samples import KEYS, LIFE, LOG, MESSAGE, SALT, SECOND, TEXT, receipt_json, verify
from tests.gateway.proving.logs import MemoryLog


def test_what_is_proven() -> None:
    """The steps come out with their times and their place in the log, in order, and lead to where the message is."""
    verified = verify(witness_keys=KEYS, witnesses=2)
    assert [(step.kind, step.seq) for step in verified.steps] == [
        ("MESSAGE_STORED", 1), ("MESSAGES_SENDING", 3), ("STATE_CHANGED", 5), ("STATE_CHANGED", 306),
    ]  # fmt: skip
    assert verified.state == "DELIVERED"
    assert verified.gapless
    assert verified.content_shown
    assert (verified.origin, verified.size) == ("audit.example.org", 307)
    assert verified.steps[0].at == dt.datetime(2027, 1, 15, 8, 0, 0, 123456, tzinfo=dt.UTC)
    assert verified.steps[3].committed_at - verified.steps[0].committed_at == dt.timedelta(seconds=305)
    assert set(verified.witnesses) == {"witness-0.example.org", "witness-1.example.org"}
    assert verified.witnesses["witness-0.example.org"] == dt.datetime(2027, 1, 15, 8, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 255, 256, 257, 307])
def test_at_any_size_of_the_log(size: int) -> None:
    """A receipt is good in a tree of any size."""
    log = MemoryLog()
    note = log.append(LIFE[:size])
    verified = verify(receipt_json(log, note, LIFE[:size]), log_key=log.vkey)
    assert verified.size == size
    assert verified.gapless


def test_a_gap_is_told() -> None:
    """Where a step is missing, or stands elsewhere, the receipt says no more than it can."""
    for removed, gapless in ((0, False), (1, True), (2, False), (3, True)):
        document = json.loads(TEXT)
        del document["commits"][removed]
        verified = verify(json.dumps(document), message=None)
        assert verified.gapless is gapless, removed


def test_too_few_witnesses() -> None:
    """As many witnesses as are asked for must have cosigned, and only those that are known count."""
    for keys, number in ((KEYS, 3), (KEYS[2:], 1), ([], 1)):
        with pytest.raises(ReceiptInvalid) as error:
            verify(witness_keys=keys, witnesses=number)
        assert error.value.reason == "WITNESSES"
    assert len(verify(witness_keys=KEYS[:1], witnesses=1).witnesses) == 1


@pytest.mark.parametrize(
    "log", [MemoryLog(key=2), MemoryLog(origin="other.example.org"), MemoryLog(origin="audit.example.org", key=3)]
)
def test_a_wrong_key(log: MemoryLog) -> None:
    """Another log's key, or another key of that name, accepts nothing."""
    with pytest.raises(ReceiptInvalid) as error:
        verify(log_key=log.vkey)
    assert error.value.reason == "SIGNATURE"


@pytest.mark.parametrize(
    "key", ["", "a", KEYS[0], LOG.vkey[:-4], LOG.vkey.replace("+", "-"), LOG.vkey[:-8] + "AAAAAAA="]
)
def test_what_is_no_key(key: str) -> None:
    """What is no key of a log is a mistake of the caller's, not of the receipt."""
    with pytest.raises(ValueError, match="key"):
        verify(log_key=key)


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE,
        Message(to="+14155550123", sender="12345", category="PROMOTIONAL", text="é😀" * 30, client_reference="ä" * 9),
        Message(
            to="+14155550123", sender="ACME", category="TRANSACTIONAL",
            binary=Binary(data=b"\x00\x01", data_coding=4, user_data_header=b"\x01\x02"),
            not_before=dt.datetime(2027, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))),
            labels={"b": "2", "a": "1"},
        ),
    ],
    ids=["text", "long", "binary"],
)  # fmt: skip
def test_commitments_as_the_gateway_makes_them(message: Message) -> None:
    """The client computes from its message what the gateway computed from the request."""
    proto = client_convert.outbound(message)
    not_before = round(message.not_before.timestamp() * SECOND) if message.not_before else 0
    envelope = encode_envelope(message.to, message.client_reference, message.labels, not_before)
    content = proto.content.SerializeToString()
    made = commitment(SALT, "acme", message.sender, proto.category, envelope, content)
    assert client_commitment(message, salt=SALT, tenant="acme") == made
