"""gateway.sealed.compact: what of a JWE is taken to be opened at all."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sealed.compact import MAX_BYTES, Header, read_header
from gateway.sealed.errors import SealedRefused
from tests.gateway.sealed.keys import bound, jwe_of, payload_key, plaintext_of, sealed

EPK = {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}
TAIL = f"{'A' * 16}.{'A' * 40}.{'A' * 22}"


def compact(header: object, encrypted_key: str = "", tail: str = TAIL) -> str:
    """Return a compact serialization that nobody can open."""
    text = header if isinstance(header, str) else json.dumps(header)
    return f"{base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}.{encrypted_key}.{tail}"


def good(**changes: Any) -> dict[str, Any]:
    """Return a header of ECDH-ES with its ephemeral key."""
    return bound(payload_key(), **{"epk": EPK, **changes})


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048", "rsa4096"])
def test_read(kind: str) -> None:
    """What jwcrypto seals to each kind of key is read, with all that it is bound to."""
    key = payload_key(kind)
    header = read_header(sealed(key, salt=b"0123456789abcdef"))
    names = bound(key)
    assert header == Header(key.alg, key.kid, "demo", names["smsgw.to"], "key-1", names["smsgw.exp"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alg": "RSA1_5"}, "SEALED_ALGORITHM_REFUSED"),
        ({"alg": "RSA-OAEP"}, "SEALED_ALGORITHM_REFUSED"),
        ({"alg": "dir"}, "SEALED_ALGORITHM_REFUSED"),
        ({"alg": "PBES2-HS256+A128KW"}, "SEALED_ALGORITHM_REFUSED"),
        ({"alg": "ECDH-ES+A256KW"}, "SEALED_ALGORITHM_REFUSED"),
        ({"alg": ["ECDH-ES"]}, "SEALED_ALGORITHM_REFUSED"),
        ({"alg": None}, "SEALED_ALGORITHM_REFUSED"),
        ({"enc": "A128GCM"}, "SEALED_ALGORITHM_REFUSED"),
        ({"enc": "A256CBC-HS512"}, "SEALED_ALGORITHM_REFUSED"),
        ({"enc": None}, "SEALED_ALGORITHM_REFUSED"),
        ({"zip": "DEF"}, "SEALED_HEADER_REFUSED"),
        ({"crit": ["exp"]}, "SEALED_HEADER_REFUSED"),
        ({"cty": "JWT"}, "SEALED_HEADER_REFUSED"),
        ({"jwk": EPK}, "SEALED_HEADER_REFUSED"),
        ({"jku": "https://example.org"}, "SEALED_HEADER_REFUSED"),
        ({"apu": "AAAA"}, "SEALED_HEADER_REFUSED"),
        ({"p2c": 1_000_000_000}, "SEALED_HEADER_REFUSED"),
        ({"kid": None}, "SEALED_HEADER_REFUSED"),
        ({"kid": "a b"}, "SEALED_HEADER_REFUSED"),
        ({"kid": 7}, "SEALED_HEADER_REFUSED"),
        ({"epk": None}, "SEALED_HEADER_REFUSED"),
        ({"epk": "x"}, "SEALED_HEADER_REFUSED"),
        ({"epk": {**EPK, "d": "A" * 43}}, "SEALED_HEADER_REFUSED"),
        ({"epk": {**EPK, "crv": "P-384"}}, "SEALED_HEADER_REFUSED"),
        ({"epk": {**EPK, "x": "A" * 44}}, "SEALED_HEADER_REFUSED"),
        ({"epk": {**EPK, "x": 7}}, "SEALED_HEADER_REFUSED"),
        ({"epk": {"kty": [], "crv": {}}}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.tenant": None}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.tenant": ""}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.to": "+4915112345678"}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.key": "k" * 129}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.key": 1}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.exp": "1790000000"}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.exp": True}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.exp": 1.5}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.exp": 10**30}, "SEALED_HEADER_REFUSED"),
        ({"smsgw.exp": None}, "SEALED_HEADER_REFUSED"),
    ],
)
def test_refused(changes: dict[str, Any], reason: str) -> None:
    """Every algorithm and header that is not listed is refused, and every one of a wrong kind."""
    read_header(compact(good()))
    with pytest.raises(SealedRefused) as refused:
        read_header(compact(good(**changes)))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "jwe",
    [
        "",
        "x",
        "....",
        '{"protected":"e30","unprotected":{"zip":"DEF"}}',
        compact(good()).replace(".", ".."),
        compact(good()) + ".AAAA",
        compact(good()) + "\n",
        compact(good()) + "=",
        compact(good()).replace("A" * 22, "A" * 21 + "+"),
        compact(good(), encrypted_key="A" * 342),
        compact(bound(payload_key("rsa2048"))),
        compact(bound(payload_key("rsa2048")), encrypted_key="A" * 341),
        compact("[]"),
        compact("7"),
        compact("{"),
        compact('{"a":' * 250),
        compact("[" * 1500),
        compact('{"alg":"ECDH-ES","alg":"ECDH-ES"}'),
        compact(json.dumps(good())[:-1] + ',"kid":"other"}'),
        compact("\ufeff{}"),
    ],
)
def test_malformed(jwe: str) -> None:
    """What is no compact serialization with one JSON object is refused, JSON serializations among it."""
    with pytest.raises(SealedRefused) as refused:
        read_header(jwe)
    assert refused.value.reason == "SEALED_MALFORMED"


def test_bound_of_length() -> None:
    """8 KiB are taken, and not an octet more."""
    longest = compact(good(), tail=f"{'A' * 16}.{'A'}.{'A' * 22}")
    longest = longest.replace(".A.", f".{'A' * (MAX_BYTES - len(longest) + 1)}.")
    assert len(longest) == MAX_BYTES
    read_header(longest)
    with pytest.raises(SealedRefused) as refused:
        read_header(longest + "A")
    assert refused.value.reason == "SEALED_TOO_LONG"


def test_real_ones_of_refused_algorithms() -> None:
    """What jwcrypto makes by RSA1_5, or compressed, is refused: not only what was made up here."""
    key = payload_key("rsa2048")
    for header, algs in (
        (bound(key, alg="RSA1_5"), ["RSA1_5", "A256GCM"]),
        (bound(key, zip="DEF"), None),
        (bound(key, enc="A128GCM"), None),
    ):
        with pytest.raises(SealedRefused):
            read_header(jwe_of(key, header, plaintext_of(), algs=algs))


@settings(max_examples=40)
@given(st.text(max_size=200) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(str))
def test_only_the_documented_error(text: str) -> None:
    """Whatever comes, it is read or refused, and a refusal repeats nothing of it."""
    for jwe in (text, compact(text), compact(good(kid=text)), compact(good(epk={"kty": text}))):
        try:
            read_header(jwe)
        except SealedRefused as refused:
            told = str(refused)
        else:
            told = ""
        assert len(text) < 6 or text not in told
