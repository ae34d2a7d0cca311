"""RSA wraps with the public half, and unwraps with the private one only; openssl agrees on every octet."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.config.secret_files import SecretFileRefused
from gateway.sealing.providers import ProviderUnavailable
from gateway.sealing.rsa_provider import RsaProvider
from tests.gateway.sealing.providers import conforms, context


@functools.cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Return a key; making one takes a while."""
    del number
    return rsa.generate_private_key(65537, bits)


def halves(
    folder: Path,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    name: str = "kek",
    encryption: KeySerializationEncryption | None = None,
) -> tuple[Path, Path]:
    """Write both halves; the files of the public and of the private one."""
    public, private = folder / f"{name}.pub", folder / f"{name}.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return public, private


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_round_trip(tmp_path: Path, bits: int) -> None:
    """Each size that is accepted wraps, and refuses what was altered."""
    _, private = halves(tmp_path, rsa_key(bits))
    wrapped = conforms(RsaProvider(None, [private]), flip=slice(None, None, 64))
    assert len(wrapped.octets) == bits // 8


def test_the_public_half_opens_nothing(tmp_path: Path) -> None:
    """With the public half alone a node wraps, and says clearly that it does not unwrap; the private half does."""
    public, private = halves(tmp_path, rsa_key())
    accepting, relaying = RsaProvider(public), RsaProvider(None, [private])
    assert (accepting.unwraps, relaying.unwraps) == (False, True)
    key = os.urandom(32)
    wrapped = accepting.wrap(key, context())
    assert wrapped.kek_id == relaying.kek_id
    with pytest.raises(ProviderUnavailable, match="only the public half"):
        accepting.unwrap(wrapped, context())
    assert relaying.unwrap(wrapped, context()) == key


def test_the_next_key(tmp_path: Path) -> None:
    """A new key wraps, and the one of before still unwraps what it has wrapped."""
    _, old = halves(tmp_path, rsa_key(), "old")
    public, new = halves(tmp_path, rsa_key(2048, 1), "new")
    key = os.urandom(32)
    wrapped = RsaProvider(None, [old]).wrap(key, context())
    both = RsaProvider(public, [new, old])
    assert both.unwrap(wrapped, context()) == key
    assert both.wrap(key, context()).kek_id == RsaProvider(public).kek_id != wrapped.kek_id
    assert "rsa:" in repr(both)


def test_what_is_refused(tmp_path: Path) -> None:
    """Keys that are too small, of another kind, under a passphrase, readable by others, or none at all."""
    small, large = rsa.generate_private_key(65537, 1024), rsa_key()  # noqa: S505 -- it is refused
    for key, words in ((small, "1024 bits"), (ec.generate_private_key(ec.SECP256R1()), "not RSA")):
        public, private = halves(tmp_path, key)
        with pytest.raises(SecretFileRefused, match=words):
            RsaProvider(public)
        with pytest.raises(SecretFileRefused, match=words):
            RsaProvider(None, [private])
    _, private = halves(tmp_path, large, encryption=BestAvailableEncryption(b"passphrase"))
    with pytest.raises(SecretFileRefused, match="without a passphrase"):
        RsaProvider(None, [private])
    public, private = halves(tmp_path, large)
    private.chmod(0o644)
    with pytest.raises(SecretFileRefused):
        RsaProvider(None, [private])
    public.write_text("-----BEGIN PUBLIC KEY-----\n")
    for broken in (public, tmp_path / "none"):
        with pytest.raises(SecretFileRefused):
            RsaProvider(broken)
    with pytest.raises(SecretFileRefused, match="both"):
        RsaProvider(None)


@pytest.mark.interop
@pytest.mark.parametrize("bits", [2048, 4096])
def test_openssl_agrees(tmp_path: Path, bits: int) -> None:
    """openssl unwraps what we wrapped, and we what openssl wrapped: OAEP with SHA-256, and the context as label."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    public, private = halves(tmp_path, rsa_key(bits))
    options = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"]
    options += ["-pkeyopt", f"rsa_oaep_label:{context().hex()}"]

    def pkeyutl(*words: object, octets: bytes) -> bytes:
        command = [openssl, "pkeyutl", *map(str, words), *options]
        return subprocess.run(command, input=octets, capture_output=True, timeout=60, check=True).stdout

    key, provider = os.urandom(32), RsaProvider(public, [private])
    wrapped = provider.wrap(key, context())
    assert pkeyutl("-decrypt", "-inkey", private, octets=wrapped.octets) == key
    theirs = pkeyutl("-encrypt", "-pubin", "-inkey", public, octets=key)
    assert provider.unwrap(wrapped._replace(octets=theirs), context()) == key
