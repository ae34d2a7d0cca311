"""JWT-SVIDs: strict in what is believed, whoever signed it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from certs import jwk
from certs.bundle import Bundle
from certs.errors import BadSpiffeId, BadSvid, CertsError, NotValidNow, Reason, Untrusted
from certs.jwt_svid import JwtAuthority, sign, subject_of, verify
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import TestAuthority, new_key, utc_now

NOW = utc_now()
MINUTE = dt.timedelta(minutes=1)
KEY = new_key()
WHO = SpiffeId.parse("spiffe://example.org/billing")
OURS = (JwtAuthority(key_id="k1", key=KEY.public_key()),)
RSA = rsa.generate_private_key(65537, 2048)
SHA = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
LEAVE_OUT = object()


def token(key: Any = KEY, header: dict[str, object] | None = None, **claims: object) -> str:
    """Return a token as another implementation would make it, with fields changed, or left out."""
    fields = {"alg": "ES256", "kid": "k1", "typ": "JWT", **(header or {})}
    facts = {"sub": str(WHO), "aud": ["api"], "exp": int((NOW + 5 * MINUTE).timestamp()), **claims}
    parts = [
        jwk.encode(json.dumps({name: value for name, value in part.items() if value is not LEAVE_OUT}).encode())
        for part in (fields, facts)
    ]
    signed = ".".join(parts).encode()
    return f"{signed.decode()}.{jwk.encode(signature(str(fields['alg']), key, signed))}"


def signature(algorithm: str, key: Any, signed: bytes) -> bytes:
    """Return a signature as RFC 7518 §3 says."""
    digest = SHA.get(algorithm[2:], SHA["256"])
    if algorithm.startswith("RS"):
        return bytes(key.sign(signed, padding.PKCS1v15(), digest))
    if algorithm.startswith("PS"):
        return bytes(key.sign(signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest))
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def test_round_trip() -> None:
    """What is signed here is verified here, with all it says."""
    made = sign(WHO, ["api", "other"], NOW + 5 * MINUTE, NOW, key_id="k1", key=KEY)
    found = verify(made, OURS, "other", NOW)
    assert (found.spiffe_id, found.audiences, found.expires_at) == (WHO, ("api", "other"), NOW + 5 * MINUTE)
    assert found.claims["iat"] == int(NOW.timestamp())
    assert subject_of(made) == WHO


@pytest.mark.parametrize("algorithm", [kind + size for kind in ("RS", "PS", "ES") for size in SHA])
def test_every_algorithm_of_the_list(algorithm: str) -> None:
    """All nine algorithms of JWT-SVID §2.1 are verified, each with its own kind of key only."""
    key = RSA if algorithm[0] in "RP" else ec.generate_private_key(CURVES[algorithm])
    authorities = (JwtAuthority(key_id="k1", key=key.public_key()),)
    assert verify(token(key, {"alg": algorithm}), authorities, "api", NOW).spiffe_id == WHO
    with pytest.raises(Untrusted):
        verify(token(key, {"alg": algorithm}), OURS if algorithm != "ES256" else authorities[:0], "api", NOW)


@pytest.mark.parametrize(
    ("header", "claims", "error", "reason"),
    [
        ({"alg": "none"}, {}, BadSvid, Reason.JWT),
        ({"alg": "HS256"}, {}, BadSvid, Reason.JWT),
        ({"alg": LEAVE_OUT}, {}, BadSvid, Reason.JWT),
        ({"kid": LEAVE_OUT}, {}, BadSvid, Reason.JWT),
        ({"kid": "k2"}, {}, Untrusted, Reason.UNTRUSTED),
        ({"typ": "JWE"}, {}, BadSvid, Reason.JWT),
        ({"crit": ["b64"]}, {}, BadSvid, Reason.JWT),
        ({}, {"sub": LEAVE_OUT}, BadSvid, Reason.JWT),
        ({}, {"sub": 5}, BadSvid, Reason.JWT),
        ({}, {"sub": "spiffe://EXAMPLE.org/billing"}, BadSpiffeId, Reason.BAD_SPIFFE_ID),
        ({}, {"sub": "spiffe://example.org"}, BadSpiffeId, Reason.NO_WORKLOAD_PATH),
        ({}, {"aud": LEAVE_OUT}, BadSvid, Reason.JWT),
        ({}, {"aud": []}, BadSvid, Reason.JWT),
        ({}, {"aud": [5]}, BadSvid, Reason.JWT),
        ({}, {"aud": "other"}, Untrusted, Reason.UNTRUSTED),
        ({}, {"exp": LEAVE_OUT}, BadSvid, Reason.JWT),
        ({}, {"exp": "tomorrow"}, BadSvid, Reason.JWT),
        ({}, {"exp": -1}, BadSvid, Reason.JWT),
        ({}, {"exp": 1 << 50}, BadSvid, Reason.JWT),
        ({}, {"exp": int(NOW.timestamp())}, NotValidNow, Reason.EXPIRED),
        ({}, {"nbf": int((NOW + MINUTE).timestamp())}, NotValidNow, Reason.NOT_YET_VALID),
        ({}, {"iat": int((NOW + MINUTE).timestamp())}, NotValidNow, Reason.NOT_YET_VALID),
    ],
)
def test_one_field_changed(
    header: dict[str, object], claims: dict[str, object], error: type[CertsError], reason: Reason
) -> None:
    """Each field that is not as JWT-SVID wants it is refused with its reason, though the signature is right."""
    with pytest.raises(error) as refused:
        verify(token(KEY, header, **claims), OURS, "api", NOW)
    assert refused.value.reason is reason


def test_signature_of_another_key() -> None:
    """A token under a known key's id that another key signed is refused, and so is one whose claims were changed."""
    with pytest.raises(Untrusted, match="signature"):
        verify(token(new_key()), OURS, "api", NOW)
    head, _, tail = token().split(".")
    with pytest.raises(Untrusted, match="signature"):
        verify(f"{head}.{token(sub='spiffe://example.org/admin').split('.')[1]}.{tail}", OURS, "api", NOW)


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda part: ".".join([jwk.encode(part)] * 3)))
def test_rubbish(text: str) -> None:
    """Text that is no token is refused, and nothing else is raised."""
    with pytest.raises(BadSvid):
        verify(text, OURS, "api", NOW)


def test_bounds() -> None:
    """Tokens and audiences are bounded."""
    with pytest.raises(BadSvid, match="at most"):
        verify("x" * 20_000, OURS, "api", NOW)
    for audiences in ([], ["x"] * 33, [""], ["x" * 600]):
        with pytest.raises(ValueError, match="audience"):
            sign(WHO, audiences, NOW, NOW, key_id="k1", key=KEY)


def test_in_a_bundle() -> None:
    """A bundle carries JWT keys through its JSON, ignores those it cannot use, and refuses two with one id."""
    root = TestAuthority(now=NOW).root
    domain, both = TrustDomain("example.org"), (*OURS, JwtAuthority(key_id="k2", key=RSA.public_key()))
    bundle = Bundle(trust_domain=domain, authorities=(root,), jwt_authorities=both)
    assert Bundle.from_jwks(domain, bundle.to_jwks()) == bundle
    keys = json.loads(bundle.jwt_jwks())["keys"]
    assert [(key["use"], key["kid"], key["kty"]) for key in keys] == [
        ("jwt-svid", "k1", "EC"),
        ("jwt-svid", "k2", "RSA"),
    ]
    broken = [{**keys[0], "kid": ""}, {**keys[0], "x": "!"}, {**keys[0], "crv": "P-1"}, {**keys[1], "n": "A" * 3000}]
    kept = Bundle.from_jwks(domain, json.dumps({"keys": [*broken, keys[1]]}).encode())
    assert [authority.key_id for authority in kept.jwt_authorities] == ["k2"]
    with pytest.raises(CertsError, match="two with one"):
        Bundle(trust_domain=domain, authorities=(root,), jwt_authorities=(*OURS, *OURS))
