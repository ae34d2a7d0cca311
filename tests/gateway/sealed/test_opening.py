"""gateway.sealed.opening, binding and jose: what opens, and for whom."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwcrypto.jwk import JWK

from gateway.ids import IdSource
from gateway.sealed.binding import MAX_AHEAD_S, SECOND, Bearer, check_bearer, check_expiry
from gateway.sealed.compact import read_header
from gateway.sealed.errors import SealedRefused
from gateway.sealed.keys import PayloadKey, PayloadKeys
from gateway.sealed.opener import Opener
from smsgw.v1.message_pb2 import BinaryContent, Content, SealedContent
from tests.gateway.sealed.keys import SALT, bound, hashed, jwe_of, payload_key, plaintext_of, sealed

NOW = 1_790_000_000 * SECOND
BEARER = Bearer("demo", "+4915112345678", "key-1", NOW)


def opened(jwe: str, key: PayloadKey, bearer: Bearer = BEARER) -> Content:
    """Return what a node with one key makes of it."""
    header = read_header(jwe)
    check_bearer(header, bearer, NOW)
    opener = Opener(PayloadKeys([key]))
    opener.check(header, bearer.accepted_at)
    return opener.open(jwe, header, bearer)


def reason(jwe: str, key: PayloadKey, bearer: Bearer = BEARER) -> str:
    """Return why it is refused."""
    with pytest.raises(SealedRefused) as refused:
        opened(jwe, key, bearer)
    return refused.value.reason


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048", "rsa4096"])
def test_opens(kind: str) -> None:
    """What jwcrypto has sealed to any kind of key opens."""
    key = payload_key(kind)
    assert opened(sealed(key, "Привет 4711"), key).text == "Привет 4711"


def test_octets() -> None:
    """Octets with their header come out as they went in."""
    content = Content(binary=BinaryContent(data=b"\x00\x01", data_coding=4, user_data_header=b"\x02\x70\x00"))
    key = payload_key()
    plaintext = SealedContent(recipient_salt=SALT, content=content).SerializeToString()
    assert opened(jwe_of(key, bound(key), plaintext), key) == content


@pytest.mark.parametrize(
    ("kind", "part"),
    [(kind, part) for kind in ("p256", "x25519", "rsa2048") for part in range(5) if part != 1 or kind == "rsa2048"],
)
def test_every_part_is_authentic(kind: str, part: int) -> None:
    """A bit changed in any part: it does not open, and the reason does not say which part it was."""
    key = payload_key(kind)
    parts = sealed(key).split(".")
    if part == 0:  # a header that is read, and says something else
        parts[0] = sealed(key, smsgw__exp=1_790_000_601).split(".")[0]
        if kind != "rsa2048":  # the ephemeral key is another one, too
            assert parts[0] != sealed(key).split(".")[0]
    else:
        octets = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
        octets[3] ^= 1
        parts[part] = base64.urlsafe_b64encode(octets).decode().rstrip("=")
    assert reason(".".join(parts), key) == "SEALED_UNOPENABLE"


def test_another_key() -> None:
    """Sealed to another key under this one's kid, it does not open; nor does a point that is of no curve."""
    key = payload_key()
    assert reason(sealed(payload_key("p256", 1), kid=key.kid), key) == "SEALED_UNOPENABLE"
    assert reason(sealed(payload_key("x25519"), kid=key.kid), key) == "SEALED_UNOPENABLE"
    header, *rest = sealed(key).split(".")
    text = base64.urlsafe_b64decode(header + "==").decode()
    x = text.split('"x":"')[1][:43]
    off_curve = base64.urlsafe_b64encode(text.replace(x, "A" * 43).encode()).decode().rstrip("=")
    assert reason(".".join([off_curve, *rest]), key) == "SEALED_UNOPENABLE"


def test_low_order_points() -> None:
    """An ephemeral X25519 key of small order, whose shared secret everybody knows, opens nothing (RFC 7748 §6.1)."""
    key = payload_key("x25519")
    header, *rest = sealed(key).split(".")
    text = base64.urlsafe_b64decode(header + "==").decode()
    x = text.split('"x":"')[1][:43]
    changed = base64.urlsafe_b64encode(text.replace(x, "A" * 43).encode()).decode().rstrip("=")
    assert reason(".".join([changed, *rest]), key) == "SEALED_UNOPENABLE"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["p256", "x25519", "rsa2048"]), st.integers(0, 4), st.binary(min_size=1, max_size=60), st.data())
def test_only_the_documented_error(kind: str, part: int, octets: bytes, data: st.DataObject) -> None:
    """Whatever stands in a part, reading and opening raise what is documented: a node must not fall over it."""
    key = payload_key(kind)
    parts = _MADE.setdefault(kind, sealed(key)).split(".")
    text = parts[part]
    at = data.draw(st.integers(0, len(text)))
    piece = base64.urlsafe_b64encode(octets).decode().rstrip("=")
    parts[part] = data.draw(st.sampled_from([text[:at] + piece + text[at + len(piece) :], text[:at] + piece, piece]))
    try:
        header = read_header(".".join(parts))
        Opener(PayloadKeys([key])).open(".".join(parts), header, BEARER)
    except SealedRefused:
        return
    assert ".".join(parts) == _MADE[kind]


_MADE: dict[str, str] = {}


def test_algorithm_of_another_key() -> None:
    """A key is used with its own algorithm only."""
    key, rsa = payload_key(), payload_key("rsa2048")
    assert reason(sealed(rsa, kid=key.kid), key) == "SEALED_ALGORITHM_REFUSED"


@pytest.mark.parametrize(
    ("bearer", "why"),
    [
        (BEARER._replace(tenant="other"), "SEALED_FOR_OTHER_TENANT"),
        (BEARER._replace(recipient="+4915112345679"), "SEALED_FOR_OTHER_RECIPIENT"),
        (BEARER._replace(key="key-2"), "SEALED_FOR_OTHER_KEY"),
        (BEARER._replace(key=""), "SEALED_WITHOUT_KEY"),
        (BEARER._replace(accepted_at=NOW - 73 * 3600 * SECOND), "SEALED_EXPIRY_TOO_FAR"),
    ],
)
def test_bound(bearer: Bearer, why: str) -> None:
    """It is for one tenant, one recipient and one idempotency key, and no other message is sent with it."""
    key = payload_key()
    assert reason(sealed(key), key, bearer) == why


def test_expiry() -> None:
    """It is not sent from its end on, and its end is no later than that of its idempotency key."""
    key = payload_key()
    assert reason(sealed(key, smsgw__exp=NOW // SECOND), key) == "SEALED_EXPIRED"
    assert opened(sealed(key, smsgw__exp=NOW // SECOND + 1), key).text
    header = read_header(sealed(key))._replace(expires_at=NOW // SECOND + MAX_AHEAD_S)
    check_expiry(header, NOW)
    with pytest.raises(SealedRefused):
        check_expiry(header._replace(expires_at=header.expires_at + 1), NOW)


def test_recipient_is_not_in_the_header() -> None:
    """The header does not tell the recipient: its hash is under a salt, so equal numbers give other hashes."""
    key = payload_key()
    one, two = (read_header(sealed(key)).recipient for _ in range(2))
    assert one != two


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\xff",
        plaintext_of(salt=b""),
        plaintext_of(salt=b"x" * 15),
        plaintext_of(salt=b"x" * 65),
        SealedContent(recipient_salt=SALT).SerializeToString(),
        SealedContent(recipient_salt=SALT, content=Content(sealed_jwe="e30....")).SerializeToString(),
    ],
)
def test_inside(plaintext: bytes) -> None:
    """What is inside has to be a content with a salt: no second JWE, and no other octets."""
    key = payload_key()
    salt = SealedContent.FromString(plaintext).recipient_salt if plaintext != b"\xff" else SALT
    header = bound(key, **{"smsgw.to": hashed("+4915112345678", salt)})
    assert reason(jwe_of(key, header, plaintext), key) == "SEALED_MALFORMED"


def test_retired_and_unknown() -> None:
    """A key opens what was accepted before its end, whenever that is; nothing later, and nothing when it is gone."""
    live, old = payload_key("p256", 1), payload_key("p256", 2, not_after=NOW // SECOND)
    keys = PayloadKeys([live, old])
    jwe = sealed(old)
    header = read_header(jwe)
    assert keys.opening(header, NOW - 1) is old
    with pytest.raises(SealedRefused, match="retired at 2026-09-21") as refused:
        keys.opening(header, NOW)
    assert refused.value.reason == "PAYLOAD_KEY_RETIRED"
    keys.use([live])
    with pytest.raises(SealedRefused) as gone:
        keys.opening(header, NOW - 1)
    assert (gone.value.reason, old.kid in str(gone.value)) == ("PAYLOAD_KEY_UNKNOWN", False)


def test_published() -> None:
    """Published is what may be sealed to, in order, without a private part; another library reads it."""
    first, second = payload_key("rsa2048"), payload_key("p256", not_after=NOW // SECOND + 1)
    keys = PayloadKeys([first, second, payload_key("x25519", not_after=NOW // SECOND)])
    text = keys.published(NOW)
    found = [JWK.from_json(part) for part in _members(text)]
    assert [key["kid"] for key in found] == [first.kid, second.kid]
    assert not any(key.has_private for key in found)
    assert [(key["use"], key["alg"], key["exp"]) for key in found] == [
        ("enc", "RSA-OAEP-256", first.not_after), ("enc", "ECDH-ES", second.not_after),
    ]  # fmt: skip
    assert len(_members(keys.published(NOW + SECOND))) == 1
    assert _members(PayloadKeys().published(NOW)) == []


def _members(jwk_set: str) -> list[str]:
    import json

    return [json.dumps(member) for member in json.loads(jwk_set)["keys"]]


def test_ids_tell_when() -> None:
    """When a message was accepted is in its id: nothing else has to be stored for that."""
    from gateway.ids import made_at

    assert abs(made_at(IdSource(now_ms=lambda: NOW // 1000).new()) - NOW) < 1000
