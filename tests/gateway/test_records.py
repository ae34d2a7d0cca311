"""Stored envelopes and keyed hashes."""

from __future__ import annotations

import itertools

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StoreCorrupt
from gateway.records import (
    SALT_BYTES,
    SALTED_VERSION,
    Envelope,
    IndexKeys,
    add_salt,
    content_of,
    decode_envelope,
    decode_sealed,
    encode_envelope,
    encode_sealed,
    join_fields,
)
from smsgw.v1 import message_pb2

KEYS = IndexKeys(b"k" * 32)
TEXTS = st.text(max_size=128)
SALT = bytes(range(SALT_BYTES))


@settings(max_examples=60, deadline=None)
@given(
    TEXTS.filter(lambda t: len(t.encode()) < 256),
    TEXTS,
    st.dictionaries(TEXTS.filter(lambda t: len(t.encode()) < 256), TEXTS, max_size=16),
    st.integers(0, 2**63),
)
def test_envelope_round_trip(recipient: str, reference: str, labels: dict[str, str], not_before: int) -> None:
    """What goes into an envelope comes out of it."""
    octets = encode_envelope(recipient, reference, labels, not_before)
    assert decode_envelope(octets) == Envelope(recipient, reference, labels, not_before)


def test_envelope_golden() -> None:
    """The stored form is fixed: rows of this version stay readable."""
    octets = encode_envelope("+4915112345678", "r", {"a": "b"}, 1)
    assert octets.hex() == "010e0001010000000000000001" + b"+4915112345678r".hex() + "010001" + b"ab".hex()


def test_salted_envelope() -> None:
    """A salt stands before the envelope, whose own form stays; rows without one are still read."""
    plain = encode_envelope("+4915112345678", "r", {"a": "b"}, 1)
    salted = add_salt(plain, SALT)
    assert salted == b"\x02" + SALT + plain
    assert decode_envelope(salted) == Envelope("+4915112345678", "r", {"a": "b"}, 1, SALT)
    assert decode_envelope(plain).salt == b""


@pytest.mark.parametrize("octets", [b"\x02", b"\x02" + bytes(16), b"\x02" + bytes(15), b"\x03" + bytes(40)])
def test_salted_envelope_truncated(octets: bytes) -> None:
    """A salt without an envelope behind it, a salt cut short and an unknown version are refused."""
    with pytest.raises(StoreCorrupt):
        decode_envelope(octets)


def test_salt_is_not_nested() -> None:
    """An envelope has one salt: a salted one in another is refused."""
    with pytest.raises(StoreCorrupt):
        decode_envelope(add_salt(add_salt(encode_envelope("1", "", {}), SALT), SALT))


def test_envelope_label_order() -> None:
    """The order in which labels were given does not show."""
    assert encode_envelope("1", "", {"a": "1", "b": "2"}) == encode_envelope("1", "", {"b": "2", "a": "1"})


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: bytes((SALTED_VERSION,)) + tail))
def test_envelope_fuzz(octets: bytes) -> None:
    """Octets are an envelope, exactly, or StoreCorrupt."""
    try:
        envelope = decode_envelope(octets)
    except StoreCorrupt:
        return
    assert len(encode_envelope(*envelope[:-1])) <= len(octets)


@pytest.mark.parametrize("cut", range(1, 30))
def test_envelope_truncated(cut: int) -> None:
    """A truncated envelope is refused at every length, and so is one with octets behind it."""
    octets = encode_envelope("+4915112345678", "ref", {"key": "value"})
    with pytest.raises(StoreCorrupt):
        decode_envelope(octets[:-cut])
    with pytest.raises(StoreCorrupt):
        decode_envelope(octets + b"x" * cut)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_join_fields_unambiguous(left: list[bytes], right: list[bytes]) -> None:
    """Different fields never join to the same octets."""
    assert (join_fields(*left) == join_fields(*right)) == (left == right)


def test_hashes_kept_apart() -> None:
    """The same input gives another hash for each purpose, under each key, and of the right size."""
    hashes = [
        keys_hash
        for keys in (KEYS, IndexKeys(b"l" * 32))
        for keys_hash in (
            keys.recipient_hash("x"),
            keys.content_hash(b"x"),
            keys.idempotency_key_hash("x", "x", "x"),
            keys.inbound_group("x", "x", "x", 1, 2),
            keys.inbound_fingerprint("x", b"x", 0),
        )
    ]
    assert [len(found) for found in hashes] == [16, 32, 32, 16, 16] * 2
    assert all(left[:16] != right[:16] for left, right in itertools.combinations(hashes, 2))


@pytest.mark.parametrize(
    ("left", "right"),
    [(("ab", "c", "d"), ("a", "bc", "d")), (("a", "bc", "d"), ("a", "b", "cd")), (("a", "b", ""), ("a", "", "b"))],
)
def test_key_hash_scope(left: tuple[str, str, str], right: tuple[str, str, str]) -> None:
    """Tenant, identity and key cannot be shifted into one another."""
    assert KEYS.idempotency_key_hash(*left) != KEYS.idempotency_key_hash(*right)


def test_inbound_group_parts() -> None:
    """Every part of the group's name counts."""
    base = ("c", "s", "r", 1, 2)
    others = [
        ("d", "s", "r", 1, 2),
        ("c", "t", "r", 1, 2),
        ("c", "s", "q", 1, 2),
        ("c", "s", "r", 2, 2),
        ("c", "s", "r", 1, 3),
    ]
    assert len({KEYS.inbound_group(*group) for group in (base, *others)}) == 6


def test_older_keys() -> None:
    """Lookups get the hash of each key, the newest first; what is written is hashed under the newest alone."""
    older = IndexKeys(b"l" * 32)
    both = IndexKeys(b"k" * 32, [b"l" * 32])
    assert both.recipient_hash("x") == KEYS.recipient_hash("x")
    assert both.recipient_hashes("x") == (KEYS.recipient_hash("x"), older.recipient_hash("x"))
    assert [keys.content_hash(b"x") for keys in both.older] == [older.content_hash(b"x")]
    with pytest.raises(ValueError, match="32 to 64 octets"):
        IndexKeys(b"k" * 32, [b"short"])


def test_hashes_name_their_key() -> None:
    """The two kinds of hashes that live long begin with two octets, the same for all under one key."""
    names = [
        {keys.recipient_hash(text)[:2] for text in "abc"} | {keys.idempotency_key_hash("t", "s", "k")[:2]}
        for keys in (KEYS, IndexKeys(b"l" * 32))
    ]
    assert [len(found) for found in names] == [1, 1]
    assert names[0] != names[1]


@pytest.mark.parametrize("length", [0, 16, 31, 65])
def test_key_length(length: int) -> None:
    """A short or an overlong key is refused."""
    with pytest.raises(ValueError, match="32 to 64 octets"):
        IndexKeys(b"k" * length)


def test_keys_do_not_show() -> None:
    """A key's text form says nothing."""
    assert repr(KEYS) == "IndexKeys(**)"


def test_sealed_content() -> None:
    """Key and Content come back; the form is no serialized Content, which a proto's first octet never is."""
    content = message_pb2.Content(sealed_jwe="a.b.c").SerializeToString()
    octets = encode_sealed("key-1", content)
    assert octets == b"\x00\x01\x05key-1" + content
    assert decode_sealed(octets) == ("key-1", content)
    assert decode_sealed(encode_sealed("", content)) == ("", content)
    assert content_of(octets) == content_of(content) == content
    with pytest.raises(DecodeError):
        message_pb2.Content.FromString(octets)


@pytest.mark.parametrize("octets", ["", "00", "000205", "010105", "000105aabb", "000101ff", "0a03616263"])
def test_sealed_content_that_is_none(octets: str) -> None:
    """Anything else is told to the operators."""
    with pytest.raises(StoreCorrupt):
        decode_sealed(bytes.fromhex(octets))
