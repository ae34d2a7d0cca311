"""Signing requests: a proof of possession, and nothing else that counts."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from certs.ca.csr import MAX_CSR_BYTES, read_csr
from certs.errors import ProfileRefused, Reason
from tests.certificates import PrivateKey, new_key
from tests.certs.ca.requests import csr


@pytest.mark.parametrize(
    "key",
    [new_key(), ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-256", "P-384", "RSA-2048"],
)
def test_allowed_keys(key: PrivateKey) -> None:
    """Of a sound request the key is taken, whatever subject it names."""
    assert read_csr(csr(key)) == read_csr(csr(key, common_name="anything")) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP521R1()), ec.generate_private_key(ec.SECP256K1()),
     rsa.generate_private_key(65537, 1024),  # noqa: S505 -- it is to be refused
     rsa.generate_private_key(3, 2048)],
    ids=["P-521", "secp256k1", "RSA-1024", "RSA with e=3"],
)  # fmt: skip
def test_keys_that_are_not_allowed(key: PrivateKey) -> None:
    """Kinds and sizes of keys outside the profile are refused, with what is allowed."""
    with pytest.raises(ProfileRefused, match=r"P-256|65537") as refused:
        read_csr(csr(key))
    assert refused.value.reason is Reason.PROFILE


def test_no_extension_chosen_by_the_caller() -> None:
    """A request that asks for names, or to be an authority, is refused and not trimmed."""
    wishes = (
        x509.SubjectAlternativeName([x509.DNSName("bank.example")]),
        x509.BasicConstraints(ca=True, path_length=0),
    )
    for wish in wishes:
        with pytest.raises(ProfileRefused, match="without them") as refused:
            read_csr(csr(None, wish))
        assert refused.value.reason is Reason.CSR


def test_possession_is_proved() -> None:
    """A request whose signature is another key's, or none, is refused."""
    der = bytearray(csr())
    der[-2] ^= 1
    with pytest.raises(ProfileRefused):
        read_csr(bytes(der))
    one, other = csr(new_key()), csr(new_key())
    spki = x509.load_der_x509_csr(one).public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    victim = x509.load_der_x509_csr(other).public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    with pytest.raises(ProfileRefused, match="not signed by the key"):
        read_csr(one.replace(spki, victim))


@given(st.binary(max_size=120) | st.integers(0, 120).map(lambda size: csr()[:size]))
def test_rubbish(content: bytes) -> None:
    """Octets that are no request are refused, and nothing else is raised."""
    with pytest.raises(ProfileRefused):
        read_csr(content)


def test_bound() -> None:
    """A request is bounded before it is parsed."""
    with pytest.raises(ProfileRefused, match="at most"):
        read_csr(b"0" * (MAX_CSR_BYTES + 1))
