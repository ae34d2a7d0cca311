"""The format of a sealed field: fixed octets, round trips, and everything that is refused."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StoreCorrupt
from gateway.sealing.envelope import (
    MAX_FIELDS,
    OVERHEAD,
    FieldOpener,
    FieldSealer,
    KeyUsedUp,
    key_id_of,
)

KEY = bytes(range(32))
KEY_ID = b"key-id-1"
ID = bytes(range(16))
GOLDEN = (
    "016b65792d69642d3100000000000000000000000057d3c0ac954fecd96d88c046381da3aae67660eef52955167e0a823880600f8053ed35"
)


def sealer(tenant: str = "demo", **options: int) -> FieldSealer:
    """Return a sealer with the fixed key."""
    return FieldSealer(KEY_ID, KEY, tenant, **options)


def opener(tenant: str = "demo", key: bytes = KEY, key_id: bytes = KEY_ID) -> FieldOpener:
    """Return an opener with the fixed key."""
    return FieldOpener(key_id, key, tenant)


def opened(stored: bytes) -> bytes:
    """Open a field with the fixed key, under whatever key id it says."""
    return opener(key_id=key_id_of(stored)).open(ID, "content", stored)


def test_golden() -> None:
    """The format is as documented, to the octet: another version octet is needed before it may change."""
    assert sealer().seal(ID, "content", b"Your code is 123456").hex() == GOLDEN


def test_by_another_hand() -> None:
    """What the format's description says, written again with other calls, opens what was sealed."""
    sealed = sealer("tenänt").seal(ID, "envelope", b"payload")
    version, key_id, nonce, body, tag = sealed[:1], sealed[1:9], sealed[9:21], sealed[21:-16], sealed[-16:]
    name = "tenänt".encode()
    head = b"smsgw.field" + version + key_id + struct.pack(">H", len(name)) + name
    place = struct.pack(f">B{len(ID)}sB8s", len(ID), ID, 8, b"envelope")
    judge = Cipher(algorithms.AES256(KEY), modes.GCM(nonce, tag)).decryptor()
    judge.authenticate_additional_data(head + place)
    assert judge.update(body) + judge.finalize() == b"payload"
    assert (version, key_id) == (b"\x01", KEY_ID)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=20), st.binary(max_size=255), st.text(max_size=60))
def test_round_trip(payload: bytes, tenant: str, object_id: bytes, field: str) -> None:
    """Whatever was sealed comes back, 37 octets longer in between, and nothing of it shows."""
    sealed = sealer(tenant).seal(object_id, field, payload)
    assert len(sealed) == len(payload) + OVERHEAD
    assert key_id_of(sealed) == KEY_ID
    assert opener(tenant).open(object_id, field, sealed) == payload
    assert len(payload) < 8 or payload not in sealed


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_bit(data: st.DataObject) -> None:
    """One bit changed anywhere, and the field is refused."""
    sealed = bytearray(sealer().seal(ID, "content", b"payload"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StoreCorrupt):
        opened(bytes(sealed))


PLACES = st.tuples(st.text(max_size=3), st.binary(max_size=3), st.text(max_size=3))


@settings(max_examples=150, deadline=None)
@given(PLACES, PLACES)
def test_place(put: tuple[str, bytes, str], asked: tuple[str, bytes, str]) -> None:
    """A field opens under its own tenant, object and name only, however these run into one another."""
    sealed = sealer(put[0]).seal(put[1], put[2], b"payload")
    if put == asked:
        assert opener(asked[0]).open(asked[1], asked[2], sealed) == b"payload"
        return
    with pytest.raises(StoreCorrupt):
        opener(asked[0]).open(asked[1], asked[2], sealed)


def test_one_text_for_all() -> None:
    """A wrong key, tenant, object, field or octet is refused with the same words: they give no clue."""
    sealed = sealer().seal(ID, "content", b"payload")
    attempts = [
        (opener(key=bytes(32)), ID, "content", sealed),
        (opener("other"), ID, "content", sealed),
        (opener(), ID[::-1], "content", sealed),
        (opener(), ID, "envelope", sealed),
        (opener(), ID, "content", sealed[:-1] + bytes((sealed[-1] ^ 1,))),
        (opener(), ID, "content", sealed[:-1]),
        (opener(), b"x" * 256, "content", sealed),
    ]
    texts = set()
    for judge, object_id, field, stored in attempts:
        with pytest.raises(StoreCorrupt) as refusal:
            judge.open(object_id, field, stored)
        assert refusal.value.__cause__ is None
        texts.add(str(refusal.value))
    assert len(texts) == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_foreign_octets(stored: bytes) -> None:
    """Any octets are refused in the one documented way."""
    with pytest.raises(StoreCorrupt):
        opener(key_id=key_id_of(stored)).open(ID, "content", stored)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_other_versions(version: int) -> None:
    """A row of another version, one in the clear among them, is refused and says so."""
    stored = bytes((version,)) + sealer().seal(ID, "content", b"payload")[1:]
    with pytest.raises(StoreCorrupt, match=f"has version {version}.*before sealing"):
        key_id_of(stored)


def test_nonces_count() -> None:
    """No nonce comes twice under a key: they count up, and the same text never gives the same octets."""
    one = sealer()
    sealed = [one.seal(ID, "content", b"same") for _ in range(1000)]
    assert [int.from_bytes(octets[9:21], "big") for octets in sealed] == list(range(1000))
    assert len({octets[21:] for octets in sealed}) == 1000


def test_used_up() -> None:
    """After its last field a key seals nothing more, however often it is asked."""
    one = sealer(max_fields=3)
    for _ in range(3):
        one.seal(ID, "content", b"x")
    for _ in range(3):
        with pytest.raises(KeyUsedUp):
            one.seal(ID, "content", b"x")


def test_keys_are_checked() -> None:
    """A key or key id of the wrong length, and too many fields, are refused when the key is taken."""
    for build in (FieldSealer, FieldOpener):
        for key_id, key in ((KEY_ID, KEY[:16]), (KEY_ID, b""), (b"short", KEY)):
            with pytest.raises(ValueError, match="octets"):
                build(key_id, key, "demo")
    for count in (0, MAX_FIELDS + 1):
        with pytest.raises(ValueError, match="fields"):
            sealer(max_fields=count)


def test_nothing_shows() -> None:
    """The text forms of sealer and opener say nothing."""
    assert (repr(sealer()), repr(opener())) == ("FieldSealer(**)", "FieldOpener(**)")
