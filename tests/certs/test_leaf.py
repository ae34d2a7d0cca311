"""The strict reading of a leaf: one field of a valid SVID is changed at a time (X509-SVID §2 to §4)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.errors import BadSpiffeId, BadSvid, IdentityRefused, Reason
from certs.leaf import read_leaf
from tests.certificates import CERT_SIGN, DIGITAL_SIGNATURE, TestAuthority

AUTHORITY = TestAuthority()
ID = "spiffe://example.org/service"

MUTATIONS: dict[str, tuple[dict[str, Any], Reason]] = {
    "no alternative name": ({"uris": ()}, Reason.NO_URI_SAN),
    "a DNS name only": ({"uris": (), "dns": ("x.example.org",)}, Reason.NO_URI_SAN),
    "two URIs": ({"uris": (ID, "spiffe://example.org/other")}, Reason.MANY_URI_SANS),
    "the same URI twice": ({"uris": (ID, ID)}, Reason.MANY_URI_SANS),
    "a second URI that is no SPIFFE ID": ({"uris": (ID, "https://example.org")}, Reason.MANY_URI_SANS),
    "upper-case domain": ({"uris": ("spiffe://EXAMPLE.org/service",)}, Reason.BAD_SPIFFE_ID),
    "a port": ({"uris": ("spiffe://example.org:1/service",)}, Reason.BAD_SPIFFE_ID),
    "a query": ({"uris": ("spiffe://example.org/service?a",)}, Reason.BAD_SPIFFE_ID),
    "a trailing slash": ({"uris": ("spiffe://example.org/service/",)}, Reason.BAD_SPIFFE_ID),
    "another scheme": ({"uris": ("https://example.org/service",)}, Reason.BAD_SPIFFE_ID),
    "an empty URI": ({"uris": ("",)}, Reason.BAD_SPIFFE_ID),
    "no path": ({"uris": ("spiffe://example.org",)}, Reason.NO_WORKLOAD_PATH),
    "cA true": ({"is_ca": True}, Reason.SIGNING_CERTIFICATE),
    "cA true with a path length": ({"is_ca": True, "path_length": 0}, Reason.SIGNING_CERTIFICATE),
    "an authority's key usage": ({"usages": CERT_SIGN}, Reason.SIGNING_CERTIFICATE),
    "keyCertSign beside digitalSignature": (
        {"usages": DIGITAL_SIGNATURE | {"key_cert_sign"}},
        Reason.SIGNING_CERTIFICATE,
    ),
    "cRLSign beside digitalSignature": ({"usages": DIGITAL_SIGNATURE | {"crl_sign"}}, Reason.SIGNING_CERTIFICATE),
    "a signing certificate whole": ({"is_ca": True, "usages": CERT_SIGN}, Reason.SIGNING_CERTIFICATE),
    "no key usage": ({"usages": None}, Reason.KEY_USAGE),
    "key usage not critical": ({"usages_critical": False}, Reason.KEY_USAGE),
    "no digitalSignature": ({"usages": frozenset({"key_encipherment"})}, Reason.KEY_USAGE),
    "serverAuth only": ({"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}, Reason.EXTENDED_KEY_USAGE),
    "clientAuth only": ({"purposes": (ExtendedKeyUsageOID.CLIENT_AUTH,)}, Reason.EXTENDED_KEY_USAGE),
    "anyExtendedKeyUsage only": (
        {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)},
        Reason.EXTENDED_KEY_USAGE,
    ),
    "no authority key id": ({"authority_key_id": False}, Reason.NO_AUTHORITY_KEY_ID),
    "an authority key id by name": ({"authority_key_id_by_name": True}, Reason.NO_AUTHORITY_KEY_ID),
    "an empty authority key id": ({"authority_key_id": b""}, Reason.NO_AUTHORITY_KEY_ID),
    "alternative name not critical": ({"san_critical": False}, Reason.SAN_NOT_CRITICAL),
}

ACCEPTED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "no basic constraints": {"is_ca": None},
    "no extended key usage": {"purposes": None},
    "a third purpose": {
        "purposes": (
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ExtendedKeyUsageOID.CODE_SIGNING,
        )
    },
    "a DNS name": {"dns": ("gateway.example.org",)},
    "key agreement too": {"usages": DIGITAL_SIGNATURE | {"key_agreement"}},
    "a subject": {"common_name": "service", "san_critical": False},
    "a subject and a critical alternative name": {"common_name": "service"},
    "no subject key id": {"subject_key_id": False},
}


@pytest.mark.parametrize(("mutation", "reason"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_refuses_each_mutation(mutation: dict[str, Any], reason: Reason) -> None:
    """A leaf that breaks one rule is refused for that rule."""
    with pytest.raises(IdentityRefused) as refused:
        read_leaf(AUTHORITY.svid(**mutation).leaf)
    assert refused.value.reason is reason


@pytest.mark.parametrize("variation", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts_what_the_specification_allows(variation: dict[str, Any]) -> None:
    """A leaf that differs within the rules is read as the same identity."""
    assert str(read_leaf(AUTHORITY.svid(**variation).leaf).spiffe_id) == ID


def test_facts() -> None:
    """What is read is what the certificate says."""
    svid = AUTHORITY.svid("/a/b", dns=("gw.example.org",), serial=0xABC)
    facts = read_leaf(svid.leaf)
    issuer = AUTHORITY.intermediate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert facts.dns_names == ("gw.example.org",)
    assert facts.serial == "abc"
    assert facts.authority_key_id == issuer.digest.hex()
    assert (facts.not_before, facts.not_after) == (svid.leaf.not_valid_before_utc, svid.leaf.not_valid_after_utc)


@pytest.mark.parametrize(
    ("oid", "value"),
    [("2.5.29.17", b"\x30\x03\x86\x05abc"), ("2.5.29.35", b"\x04"), ("2.5.29.15", b"\x03\x02\x07")],
    ids=["alternative name", "authority key id", "key usage"],
)
def test_malformed_extension(oid: str, value: bytes) -> None:
    """An extension whose octets are not what they should be is refused, and does not escape as another error."""
    left_out: dict[str, Any] = {"uris": ()} if oid == "2.5.29.17" else {"authority_key_id": False}
    if oid == "2.5.29.15":
        left_out = {"usages": None}
    broken = x509.UnrecognizedExtension(ObjectIdentifier(oid), value)
    with pytest.raises(BadSvid) as refused:
        read_leaf(AUTHORITY.svid(extra=((broken, True),), **left_out).leaf)
    assert refused.value.reason is Reason.MALFORMED


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=127), max_size=40))
def test_any_uri_is_read_or_refused(uri: str) -> None:
    """No URI in a certificate makes anything but an identity with exactly that text, or a refusal."""
    try:
        facts = read_leaf(AUTHORITY.svid(uris=(uri,)).leaf)
    except (BadSvid, BadSpiffeId):
        return
    assert str(facts.spiffe_id) == uri


def test_names_of_a_kind_that_cannot_be_read() -> None:
    """An alternative name that the library has no reader for makes a malformed certificate, and no defect."""
    octets = AUTHORITY.svid(dns=("a.example",)).leaf.public_bytes(Encoding.DER)
    x400 = octets.replace(b"\x82\x09a.example", b"\xa3\x09a.example")  # GeneralName [3], RFC 5280 §4.2.1.6
    assert x400 != octets
    with pytest.raises(BadSvid, match="malformed") as refused:
        read_leaf(x509.load_der_x509_certificate(x400))
    assert refused.value.reason is Reason.MALFORMED
