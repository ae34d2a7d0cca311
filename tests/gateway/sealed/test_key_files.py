"""gateway.sealed.key_files: what a file of a payload key has to hold."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from jwcrypto.jwk import JWK

from gateway.config.secret_files import SecretFileRefused
from gateway.sealed.errors import PayloadKeyRefused, SealedRefused
from gateway.sealed.key_files import (
    KINDS,
    new_key_file,
    public_file,
    read_key,
    read_keys,
    read_public_key,
    read_public_keys,
)
from tests.gateway.sealed.keys import key_file, payload_key


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"rsa3072"}))
def test_new(kind: str) -> None:
    """A new key reads back, with its thumbprint as another library computes it, and is told by no representation."""
    until = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    kid, octets = new_key_file(kind, until) if kind != "rsa4096" else _made(kind)
    key = read_key(octets)
    assert (key.kid, key.not_after) == (kid, int(until.timestamp()))
    judge = JWK.from_json(octets.decode())
    assert (judge.thumbprint(), judge.has_private) == (kid, True)
    secret = json.loads(octets)["d"]
    assert secret not in repr(key)
    assert "d" not in key.public


def _made(kind: str) -> tuple[str, bytes]:
    octets = key_file(kind)
    return json.loads(octets)["kid"], octets


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"use": "sig"}, "use"),
        ({"use": None}, "use"),
        ({"alg": "ECDH-ES+A256KW"}, "alg"),
        ({"alg": None}, "alg"),
        ({"kid": "a.b"}, "kid"),
        ({"kid": None}, "kid"),
        ({"exp": None}, "exp"),
        ({"exp": "2027"}, "exp"),
        ({"exp": True}, "exp"),
        ({"d": None}, "public"),
        ({"kty": "oct"}, "P-256"),
        ({"kty": None}, "P-256"),
        ({"x": "AAAA"}, "sound"),
        ({"crv": "P-384"}, "P-256"),
        ({"crv": []}, "P-256"),
        ({"kty": []}, "P-256"),
    ],
)
def test_refused(changes: dict[str, Any], why: str) -> None:
    """Each member has to be there and right; the refusal says which, and holds nothing of the key."""
    jwk = {**json.loads(key_file()), **changes}
    jwk = {name: value for name, value in jwk.items() if value is not None}
    with pytest.raises(PayloadKeyRefused, match=why) as refused:
        read_key(json.dumps(jwk).encode())
    assert json.loads(key_file())["d"] not in str(refused.value)


def test_other_keys_are_refused() -> None:
    """RSA below 2048 bits, curves that are not taken, and what is no JWK at all."""
    small, other = JWK.generate(kty="RSA", size=1024), JWK.generate(kty="EC", crv="P-384")
    names = {"use": "enc", "kid": "k", "exp": 4102444800}
    for jwk, alg, why in ((small, "RSA-OAEP-256", "1024 bits"), (other, "ECDH-ES", "P-256")):
        octets = json.dumps({**jwk.export(as_dict=True), **names, "alg": alg}).encode()
        with pytest.raises(PayloadKeyRefused, match=why):
            read_key(octets)
    for octets in (b"", b"[]", b"7", b"\xff", b"[" * 5000):
        with pytest.raises(PayloadKeyRefused):
            read_key(octets)


def test_files(tmp_path: Path) -> None:
    """Files are private, and no two have the same kid."""
    for name in ("a", "b"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(key_file())
    assert len(read_keys([tmp_path / "a"])) == 1
    with pytest.raises(PayloadKeyRefused, match="b has the kid"):
        read_keys([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").chmod(0o644)
    with pytest.raises(SecretFileRefused, match="chmod 600"):
        read_keys([tmp_path / "a"])


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048"])
def test_public_halves(kind: str) -> None:
    """The file of a public half publishes the same key, has nothing private, and opens nothing; a private key is
    refused where the public one is wanted."""
    key = payload_key(kind)
    octets = public_file(key)
    assert not JWK.from_json(octets.decode()).has_private
    public = read_public_key(octets)
    assert (public.public, public.kid, public.not_after) == (key.public, key.kid, key.not_after)
    with pytest.raises(SealedRefused, match="public half"):
        public.private  # noqa: B018 -- it raises
    with pytest.raises(PayloadKeyRefused, match="is a private key") as refused:
        read_public_key(key_file(kind))
    assert json.loads(key_file(kind))["d"] not in str(refused.value)
    with pytest.raises(PayloadKeyRefused, match="is a public key"):
        read_key(octets)


def test_public_files(tmp_path: Path) -> None:
    """They may be read by anybody, and written by nobody else; a fault names the file."""
    file = tmp_path / "a.pub.jwk"
    file.write_bytes(public_file(payload_key()))
    file.chmod(0o644)
    assert [key.kid for key in read_public_keys([file])] == [payload_key().kid]
    file.chmod(0o666)
    with pytest.raises(SecretFileRefused, match=r"others can write to .*a\.pub\.jwk"):
        read_public_keys([file])
    file.chmod(0o644)
    file.write_bytes(key_file())
    with pytest.raises(PayloadKeyRefused, match=r"a\.pub\.jwk is a private key"):
        read_public_keys([file])
