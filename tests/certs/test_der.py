"""Certificates and keys in DER."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from certs import der
from certs.errors import BadUpdate
from tests.certificates import TestAuthority, new_key

A = TestAuthority()
LEAF = A.svid().leaf
ONE, TWO = (each.public_bytes(Encoding.DER) for each in (LEAF, A.intermediate))


def read(octets: bytes, at_most: int = 3) -> int:
    """Return how many certificates are read."""
    return len(der.certificates(octets, at_most=at_most, error=BadUpdate, what="it"))


def test_one_after_the_other() -> None:
    """Certificates come back in their order, and nothing is none."""
    assert der.certificates(ONE + TWO, at_most=2, error=BadUpdate, what="it") == (LEAF, A.intermediate)
    assert read(b"") == 0


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (ONE + TWO + ONE + TWO, "more than 3"),
        (ONE[:-1], "one after the other"),
        (ONE + b"0", "one after the other"),
        (b"\x31" + ONE[1:], "one after the other"),
        (b"\x30\x80\x00\x00", "one after the other"),  # indefinite length
        (b"\x30\x85\x00\x00\x00\x00\x01\x00", "one after the other"),
        (b"\x30\x84\xff\xff\xff\xff", "one after the other"),
        (b"\x30\x03\x02\x01\x01", "not readable as certificates"),
        (b"\x30\x82\x40\x10" + bytes(0x4010), "16 KiB"),
        (b"\x30" * (3 * 16 * 1024 + 1), "more than 3"),
    ],
)
def test_what_is_refused(octets: bytes, text: str) -> None:
    """Cut, foreign, oversized or too many certificates are refused with what is wrong."""
    with pytest.raises(BadUpdate, match=text):
        read(octets)


@given(st.binary(max_size=80), st.integers(0, len(ONE)), st.integers(0, len(ONE)))
def test_nothing_else_is_raised(noise: bytes, start: int, end: int) -> None:
    """Whatever comes, certificates or the one error come out."""
    for octets in (noise, ONE[start:end] + noise, ONE + noise):
        try:
            read(octets)
        except BadUpdate:
            continue


@given(st.binary(max_size=80), st.integers(0, 60))
def test_no_key_raises_anything_else(noise: bytes, at: int) -> None:
    """A key with exchanged octets is one, or the one error, which never quotes it."""
    key = new_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    refused: BadUpdate | None = None
    try:
        der.private_key(key[:at] + noise + key[at + len(noise) :], error=BadUpdate, what="it")
    except BadUpdate as raised:
        refused = raised
    if refused is not None:
        assert str(refused).startswith("it: ")
        assert refused.__cause__ is None
        assert refused.__context__ is None


def test_keys() -> None:
    """EC keys are read; encrypted ones, other kinds and noise are refused."""
    key = new_key()
    octets = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert der.private_key(octets, error=BadUpdate, what="it").public_key() == key.public_key()
    locked = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for bad, text in ((locked, "unencrypted"), (b"noise", "PKCS #8"), (other, "Ed25519")):
        with pytest.raises(BadUpdate, match=text):
            der.private_key(bad, error=BadUpdate, what="it")
