"""One field of a valid SVID changed at a time: our verification refuses each with its reason, and others agree.

`cryptography`'s verifier with its own web rules, and OpenSSL, know RFC 5280 and not SPIFFE. So each row says whether
they refuse the mutation as well; where SPIFFE alone is the ground, they accept it. None stands where their rules are a
matter of taste.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.bundle import Bundle, TrustBundles
from certs.errors import CertsError, Reason
from certs.spiffe_id import TrustDomain
from certs.verify import verify_peer
from tests.certificates import BOTH_PURPOSES, CERT_SIGN, IssuedSvid, TestAuthority, new_key, utc_now

NOW = utc_now()
A = TestAuthority(now=NOW)
STRANGER = TestAuthority(now=NOW)  # of the same trust domain's name, and another key
SECOND = dt.timedelta(seconds=1)
KEYS = (new_key(), ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048))
UNKNOWN_CRITICAL = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
CONSTRAINED = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None)

Make = Callable[[dict[str, object]], IssuedSvid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """What is changed, why we refuse it, and which of the other verifiers must do so too (None: they may differ)."""

    make: Make
    reason: Reason
    library: bool | None
    openssl: bool | None


def changed(**mutations: object) -> Make:
    """Return a maker of the base with fields of the leaf changed."""
    return lambda base: A.svid(**{**base, **mutations})  # type: ignore[arg-type]  # the fields of LeafPlan, by name


def flipped(at: int) -> Make:
    """Return a maker of the base with one bit of its DER changed, `at` octets from its end: in the signature."""

    def make(base: dict[str, object]) -> IssuedSvid:
        svid = A.svid(**base)  # type: ignore[arg-type]  # as above
        der = bytearray(svid.leaf.public_bytes(Encoding.DER))
        der[-at] ^= 0x01
        leaf = x509.load_der_x509_certificate(bytes(der))
        pem = leaf.public_bytes(Encoding.PEM)
        return IssuedSvid(leaf_pem=pem, chain_pem=svid.chain_pem, key_pem=svid.key_pem)

    return make


def by_stranger(base: dict[str, object]) -> IssuedSvid:
    """Return the base, signed by another authority of the same name."""
    return STRANGER.svid(**base)  # type: ignore[arg-type]  # as above


def without_chain(base: dict[str, object]) -> IssuedSvid:
    """Return the base, presented without its intermediate."""
    svid = A.svid(**base)  # type: ignore[arg-type]  # as above
    return IssuedSvid(leaf_pem=svid.leaf_pem, chain_pem=b"", key_pem=svid.key_pem)


TABLE = {
    "expired": Mutation(make=changed(not_after=NOW - SECOND), reason=Reason.EXPIRED, library=True, openssl=True),
    "not yet valid": Mutation(
        make=changed(not_before=NOW + SECOND), reason=Reason.NOT_YET_VALID, library=True, openssl=True
    ),
    "another signer": Mutation(make=by_stranger, reason=Reason.UNTRUSTED, library=True, openssl=True),
    "no intermediate": Mutation(make=without_chain, reason=Reason.UNTRUSTED, library=True, openssl=True),
    "signature": Mutation(make=flipped(3), reason=Reason.UNTRUSTED, library=True, openssl=True),
    "an authority": Mutation(make=changed(is_ca=True), reason=Reason.SIGNING_CERTIFICATE, library=True, openssl=None),
    "signs certificates": Mutation(
        make=changed(usages=CERT_SIGN | {"digital_signature"}),
        reason=Reason.SIGNING_CERTIFICATE,
        library=True,
        openssl=None,
    ),
    "no key usage": Mutation(make=changed(usages=None), reason=Reason.KEY_USAGE, library=False, openssl=False),
    "key usage not critical": Mutation(
        make=changed(usages_critical=False), reason=Reason.KEY_USAGE, library=False, openssl=False
    ),
    "no digital signature": Mutation(
        make=changed(usages=frozenset({"key_encipherment"})), reason=Reason.KEY_USAGE, library=False, openssl=None
    ),
    "servers only": Mutation(
        make=changed(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        reason=Reason.EXTENDED_KEY_USAGE,
        library=True,
        openssl=True,
    ),
    "clients only": Mutation(
        make=changed(purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
        reason=Reason.EXTENDED_KEY_USAGE,
        library=False,
        openssl=False,
    ),
    "for mail": Mutation(
        make=changed(purposes=(ExtendedKeyUsageOID.EMAIL_PROTECTION,)),
        reason=Reason.EXTENDED_KEY_USAGE,
        library=True,
        openssl=True,
    ),
    "no authority key id": Mutation(
        make=changed(authority_key_id=False), reason=Reason.NO_AUTHORITY_KEY_ID, library=True, openssl=None
    ),
    "another authority key id": Mutation(
        make=changed(authority_key_id=b"\x01" * 20), reason=Reason.AUTHORITY_KEY_MISMATCH, library=None, openssl=True
    ),
    "no names": Mutation(make=changed(uris=(), dns=()), reason=Reason.NO_URI_SAN, library=True, openssl=None),
    "no URI": Mutation(
        make=changed(uris=(), dns=("gw.example.org",)), reason=Reason.NO_URI_SAN, library=False, openssl=False
    ),
    "two URIs": Mutation(
        make=changed(uris=("spiffe://example.org/a", "spiffe://example.org/b")),
        reason=Reason.MANY_URI_SANS,
        library=False,
        openssl=False,
    ),
    "names not critical": Mutation(
        make=changed(san_critical=False), reason=Reason.SAN_NOT_CRITICAL, library=True, openssl=None
    ),
    "upper case": Mutation(
        make=changed(uris=("spiffe://EXAMPLE.org/a",)), reason=Reason.BAD_SPIFFE_ID, library=False, openssl=False
    ),
    "a port": Mutation(
        make=changed(uris=("spiffe://example.org:8443/a",)), reason=Reason.BAD_SPIFFE_ID, library=False, openssl=False
    ),
    "dots": Mutation(
        make=changed(uris=("spiffe://example.org/a/../b",)), reason=Reason.BAD_SPIFFE_ID, library=False, openssl=False
    ),
    "no path": Mutation(
        make=changed(uris=("spiffe://example.org",)), reason=Reason.NO_WORKLOAD_PATH, library=False, openssl=False
    ),
    "another trust domain": Mutation(
        make=changed(uris=("spiffe://example.com/a",)), reason=Reason.WRONG_TRUST_DOMAIN, library=False, openssl=False
    ),
    "unknown critical extension": Mutation(
        make=changed(extra=((UNKNOWN_CRITICAL, True),)), reason=Reason.UNTRUSTED, library=True, openssl=True
    ),
    "name constraints": Mutation(
        make=changed(extra=((CONSTRAINED, True),)), reason=Reason.UNTRUSTED, library=True, openssl=None
    ),
}


def bases() -> st.SearchStrategy[dict[str, object]]:
    """Return valid SVIDs of every shape: paths, names, keys, lifetimes."""
    segment = st.text("abcXYZ019._-", min_size=1, max_size=12).filter(lambda text: text not in {".", ".."})
    return st.fixed_dictionaries(
        {
            "path": st.lists(segment, min_size=1, max_size=5).map(lambda found: "/" + "/".join(found)),
            "dns": st.sampled_from([(), ("gw.example.org",)]),
            "key": st.sampled_from(KEYS),
            "not_after": st.integers(2, 86_400).map(lambda seconds: NOW + dt.timedelta(seconds=seconds)),
            "purposes": st.sampled_from([BOTH_PURPOSES, None]),
        }
    )


def ours(svid: IssuedSvid) -> Reason | None:
    """Return why our verification refuses, None when it accepts."""
    bundles = TrustBundles([Bundle(trust_domain=TrustDomain("example.org"), authorities=(A.root,))])
    try:
        verify_peer(svid.leaf_pem, svid.chain_pem, bundles, NOW)
    except CertsError as refused:
        return refused.reason
    return None


def library_refuses(svid: IssuedSvid) -> bool:
    """Ask `cryptography`'s verifier, with its own rules for web clients."""
    verifier = PolicyBuilder().store(Store([A.root])).time(NOW).build_client_verifier()
    try:
        verifier.verify(svid.leaf, x509.load_pem_x509_certificates(svid.chain_pem) if svid.chain_pem else [])
    except VerificationError:
        return True
    return False


def openssl_refuses(svid: IssuedSvid, folder: Path) -> bool:
    """Ask `openssl verify`, for a TLS client."""
    for name, content in (("leaf", svid.leaf_pem), ("chain", svid.chain_pem), ("root", A.bundle_pem)):
        (folder / f"{name}.pem").write_bytes(content)
    untrusted = ["-untrusted", str(folder / "chain.pem")] if svid.chain_pem else []
    command = ["openssl", "verify", "-purpose", "sslclient", "-attime", str(int(NOW.timestamp()))]
    command += ["-CAfile", str(folder / "root.pem"), *untrusted, str(folder / "leaf.pem")]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode != 0


@settings(max_examples=60, deadline=None)
@given(bases())
def test_valid_svids_of_every_shape(base: dict[str, object]) -> None:
    """Every valid SVID is accepted by our verification and by the library's."""
    svid = A.svid(**base)  # type: ignore[arg-type]  # the fields of LeafPlan, by name
    assert ours(svid) is None
    assert not library_refuses(svid)


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=bases())
def test_one_field_changed(name: str, base: dict[str, object]) -> None:
    """Each mutation of any valid SVID is refused with its reason, and by the library where RFC 5280 is the ground."""
    mutation = TABLE[name]
    svid = mutation.make(base)
    assert ours(svid) is mutation.reason
    if mutation.library is not None:
        assert library_refuses(svid) is mutation.library


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("name", [None, *TABLE])
def test_openssl_agrees(name: str | None, tmp_path: Path) -> None:
    """OpenSSL accepts the valid SVID, and refuses each mutation for which RFC 5280 is the ground."""
    base: dict[str, object] = {"path": "/billing/otp"}
    if name is None:
        assert not openssl_refuses(A.svid("/billing/otp"), tmp_path)
    elif TABLE[name].openssl is not None:
        assert openssl_refuses(TABLE[name].make(base), tmp_path) is TABLE[name].openssl
