"""From a message to what a workload holds: whatever a peer would refuse is refused here already."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from certs.bundle import Bundle
from certs.errors import CertsError, NoIdentity, Reason
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.workload.messages import read_offer
from certs.workload.state import Pick, WorkloadState, state_of
from tests.certificates import TestAuthority
from tests.certs.workload.spire import Identity, der, identity, response

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
C = TestAuthority("third.org", now=A.now)
NOW = A.now
GOOD = A.svid()


def read(octets: bytes, pick: Pick | None = None, before: WorkloadState | None = None) -> WorkloadState:
    """Return the state of a message."""
    return state_of(read_offer(octets), pick or Pick(), before, NOW)


def refusal(octets: bytes, pick: Pick | None = None) -> CertsError:
    """Return why a message is refused."""
    with pytest.raises(CertsError) as refused:
        read(octets, pick)
    return refused.value


def names(state: WorkloadState) -> list[str]:
    """Return the other trust domains."""
    return [bundle.trust_domain.name for bundle in state.federated]


def test_a_good_message() -> None:
    """SVID, hint, end and bundles come out; the end is that of the first certificate on the path."""
    plain = read(response(identity(A, GOOD, hint="internal"), federated={"spiffe://other.org": der(B.root)}))
    assert (str(plain.svid.spiffe_id), plain.hint) == ("spiffe://example.org/service", "internal")
    assert plain.svid.chain == (GOOD.leaf, A.intermediate)
    assert plain.valid_until == GOOD.leaf.not_valid_after_utc
    assert plain.bundle == Bundle(trust_domain=TrustDomain("example.org"), authorities=(A.root,))
    assert plain.federated == (Bundle(trust_domain=TrustDomain("other.org"), authorities=(B.root,)),)
    assert plain.complaints == ()
    long = A.svid(not_after=NOW + dt.timedelta(days=4000))
    assert read(response(identity(A, long))).valid_until == A.intermediate.not_valid_after_utc


def test_an_svid_as_spire_makes_it() -> None:
    """A subject beside an uncritical alternative name, and no intermediate, are good."""
    issued = A.svid(common_name="SPIRE", san_critical=False, by_root=True)
    assert read(response(identity(A, issued))).svid.chain == (issued.leaf,)


def several() -> bytes:
    """Return a message with three identities in two trust domains, two of them with one hint."""
    return response(
        identity(A, A.svid("/one"), "/one", "internal"),
        identity(A, A.svid("/two"), "/two", "external"),
        identity(B, B.svid("/three"), "/three", "external"),
    )


@pytest.mark.parametrize(
    ("pick", "found"),
    [
        (Pick(), "spiffe://example.org/one"),
        (Pick(hint="external"), "spiffe://example.org/two"),
        (Pick(spiffe_id=SpiffeId.parse("spiffe://other.org/three")), "spiffe://other.org/three"),
        (Pick(trust_domain=TrustDomain("other.org")), "spiffe://other.org/three"),
        (Pick(trust_domain=TrustDomain("other.org"), hint="external"), "spiffe://other.org/three"),
    ],
)
def test_one_of_several(pick: Pick, found: str) -> None:
    """The default is the first; a SPIFFE ID, a hint or a trust domain picks the first that fits."""
    state = read(several(), pick)
    assert str(state.svid.spiffe_id) == found
    assert state.bundle.trust_domain == state.svid.spiffe_id.trust_domain


@pytest.mark.parametrize(
    "pick",
    [
        Pick(hint="nobody"),
        Pick(spiffe_id=SpiffeId.parse("spiffe://example.org/three")),
        Pick(trust_domain=TrustDomain("example.or")),
        Pick(trust_domain=TrustDomain("other.org"), hint="internal"),
    ],
)
def test_none_of_several(pick: Pick) -> None:
    """When the one that is meant is not there, no other stands in for it, and what is there is told."""
    refused = refusal(several(), pick)
    assert isinstance(refused, NoIdentity)
    assert "spiffe://example.org/one" in str(refused)
    assert str(pick) in str(refused)


HOUR = dt.timedelta(hours=1)
LEAFS: list[tuple[dict[str, Any], Reason]] = [
    ({"not_before": NOW - 2 * HOUR, "not_after": NOW - HOUR}, Reason.EXPIRED),
    ({"not_before": NOW + HOUR, "not_after": NOW + 2 * HOUR}, Reason.NOT_YET_VALID),
    ({"uris": ("spiffe://example.org/service", "spiffe://example.org/b")}, Reason.MANY_URI_SANS),
    ({"uris": ()}, Reason.NO_URI_SAN),
    ({"uris": ("spiffe://Example.org/service",)}, Reason.BAD_SPIFFE_ID),
    ({"uris": ("spiffe://example.org",)}, Reason.NO_WORKLOAD_PATH),
    ({"is_ca": True}, Reason.SIGNING_CERTIFICATE),
    ({"usages": None}, Reason.KEY_USAGE),
    ({"purposes": (ExtendedKeyUsageOID.CLIENT_AUTH,)}, Reason.EXTENDED_KEY_USAGE),
    ({"authority_key_id": False}, Reason.NO_AUTHORITY_KEY_ID),
    ({"authority_key_id": b"\x01" * 20}, Reason.AUTHORITY_KEY_MISMATCH),
]


@pytest.mark.parametrize(("mutation", "reason"), LEAFS, ids=[reason.value for _, reason in LEAFS])
def test_a_leaf_that_a_peer_would_refuse(mutation: dict[str, Any], reason: Reason) -> None:
    """One field of a good SVID at a time: each is refused with the reason that a peer would give."""
    assert refusal(response(identity(A, A.svid(**mutation)))).reason is reason


GOOD_ONE = identity(A, GOOD)
FEDERATED = response(GOOD_ONE, federated={"spiffe://other.org": der(B.root)})
MESSAGES: list[tuple[bytes, str]] = [
    (response(), "without an SVID"),
    (response(*[GOOD_ONE] * 65), "65 identities"),
    (response(replace(GOOD_ONE, spiffe_id="")), "mandatory field spiffe_id"),
    (response(replace(GOOD_ONE, chain=b"")), "mandatory field x509_svid"),
    (response(replace(GOOD_ONE, key=b"")), "mandatory field x509_svid_key"),
    (response(replace(GOOD_ONE, bundle=b"")), "mandatory field bundle"),
    (response(replace(GOOD_ONE, key=identity(A, A.svid()).key)), "does not fit"),
    (response(replace(GOOD_ONE, key=b"noise")), "PKCS #8"),
    (response(replace(GOOD_ONE, chain=GOOD_ONE.chain[:-1])), "one after the other"),
    (response(replace(GOOD_ONE, chain=der(GOOD.leaf))), "no path leads"),
    (response(replace(GOOD_ONE, chain=der(GOOD.leaf, *[A.intermediate] * 9))), "more than 9"),
    (response(replace(GOOD_ONE, bundle=der(B.root))), "no path leads"),
    (response(replace(GOOD_ONE, bundle=der(GOOD.leaf))), "leaf cannot be an authority"),
    (response(replace(GOOD_ONE, bundle=der(*[A.root] * 65))), "more than 64"),
    (response(replace(GOOD_ONE, spiffe_id="spiffe://example.org/other")), "sent spiffe://example.org/service as"),
    (response(identity(B, replace(GOOD), "/service")), "sent spiffe://example.org/service as"),
    (response(GOOD_ONE, federated={f"spiffe://d{at}.org": b"" for at in range(257)}), "257 trust domains"),
]


@pytest.mark.parametrize(("octets", "text"), MESSAGES, ids=[text for _, text in MESSAGES])
def test_a_message_that_cannot_be_used(octets: bytes, text: str) -> None:
    """Each says what is wrong, and never a key."""
    assert text in str(refusal(octets))


def test_another_domains_authority_cannot_give_our_identity() -> None:
    """An SVID of our trust domain that another domain's authority signed is refused, whatever is federated."""
    forged = B.svid(uris=("spiffe://example.org/service",))
    sent = replace(identity(A, forged), chain=der(forged.leaf, B.intermediate))
    assert refusal(response(sent, federated={"spiffe://other.org": der(B.root)})).reason is Reason.UNTRUSTED


def test_other_trust_domains() -> None:
    """What is absent is taken away, an empty bundle trusts nobody, and an unreadable one leaves the one before."""
    first = read(response(GOOD_ONE, federated={"spiffe://other.org": der(B.root), "spiffe://third.org": der(C.root)}))
    assert names(first) == ["other.org", "third.org"]
    assert names(read(response(GOOD_ONE, federated={"spiffe://third.org": der(C.root)}), None, first)) == ["third.org"]
    emptied = read(response(GOOD_ONE, federated={"spiffe://other.org": b""}), None, first)
    assert [bundle.authorities for bundle in emptied.federated] == [()]
    broken = {"spiffe://other.org": b"noise", "spiffe://third.org": der(C.root)}
    kept = read(response(GOOD_ONE, federated=broken), None, first)
    assert kept.federated == first.federated
    assert len(kept.complaints) == 1
    assert "other.org" in kept.complaints[0]
    assert names(read(response(GOOD_ONE, federated=broken))) == ["third.org"]


@pytest.mark.parametrize("key", ["other.org", "spiffe://other.org/x", "spiffe://Other.org", "spiffe://example.org"])
def test_names_of_other_trust_domains(key: str) -> None:
    """What is no trust domain's SPIFFE ID, or names our own, is told and not taken over."""
    state = read(response(GOOD_ONE, federated={key: der(B.root), "spiffe://third.org": der(C.root)}))
    assert names(state) == ["third.org"]
    assert state.bundle.authorities == (A.root,)
    assert len(state.complaints) == 1


@given(st.data())
def test_broken_octets(data: st.DataObject) -> None:
    """Whatever a few wrong octets make of a good message, a state or the one family of errors comes out."""
    octets = bytearray(FEDERATED)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read(bytes(octets))
    except CertsError:
        return


def test_a_certificate_whose_key_is_not_readable() -> None:
    """A leaf or an authority with an unknown kind of key, or two extensions of one kind, is refused as any other."""
    prime256v1, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")
    broken = replace(GOOD_ONE, chain=GOOD_ONE.chain.replace(prime256v1, unknown, 1))
    assert "key that is not readable" in str(refusal(response(broken)))
    subject_key_id, again = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")
    doubled = replace(GOOD_ONE, bundle=GOOD_ONE.bundle.replace(subject_key_id, again, 1))
    assert "no readable basic constraints" in str(refusal(response(doubled)))


def test_a_key_is_not_shown() -> None:
    """Neither the state nor an offered identity shows its key."""
    state = read(response(GOOD_ONE))
    assert "PrivateKey" not in repr(state)
    assert isinstance(GOOD_ONE, Identity)
