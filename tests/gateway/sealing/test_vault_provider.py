"""Vault's transit engine, as a fake of ours answers by its API documentation: no Vault has judged it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.config.kinds import Address
from gateway.config.vault_settings import VaultSettings
from gateway.sealing import vault_provider
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped
from gateway.sealing.vault_provider import VaultTransitProvider
from tests.gateway.config.fake_vault import FakeVault, fake_vault
from tests.gateway.sealing.providers import conforms, context


class Transit:
    """A transit engine with one key, whose versions are AES-256-GCM keys."""

    def __init__(self, vault: FakeVault) -> None:
        self.vault = vault
        self.versions = [AESGCM(os.urandom(32))]
        vault.posted = self.answer

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body, as `vault server` would."""
        asked = json.loads(body)
        data = base64.b64decode(asked["associated_data"])
        if path == "/v1/transit/encrypt/smsgw":
            nonce = os.urandom(12)
            sealed = nonce + self.versions[-1].encrypt(nonce, base64.b64decode(asked["plaintext"]), data)
            text = f"vault:v{len(self.versions)}:{base64.b64encode(sealed).decode()}"
            return 200, json.dumps({"data": {"ciphertext": text, "key_version": len(self.versions)}}).encode()
        if path == "/v1/transit/decrypt/smsgw":
            _, version, text = asked["ciphertext"].split(":")
            sealed = base64.b64decode(text)
            try:
                plain = self.versions[int(version[1:]) - 1].decrypt(sealed[:12], sealed[12:], data)
            except InvalidTag:
                return 400, b'{"errors":["cipher: message authentication failed"]}'
            return 200, json.dumps({"data": {"plaintext": base64.b64encode(plain).decode()}}).encode()
        return 404, b'{"errors":[]}'


@pytest.fixture
def transit(tmp_path: Path) -> Iterator[Transit]:
    """Run a fake."""
    with fake_vault(tmp_path) as vault:
        yield Transit(vault)


def provider_of(transit: Transit, folder: Path, key: str = "smsgw") -> VaultTransitProvider:
    """Return a provider over the fake."""
    settings = VaultSettings(
        address=Address("localhost", transit.vault.port),
        ca_file=folder / "vault-ca.pem",
        token_file=folder / "vault.token",
        namespace="",
        mount="secret",
        timeout_s=5.0,
    )
    return VaultTransitProvider(settings, key=key, mount="transit")


def test_round_trip(transit: Transit, tmp_path: Path) -> None:
    """Wraps open under their own context only."""
    wrapped = conforms(provider_of(transit, tmp_path), flip=slice(0, 9))
    assert wrapped.kek_id == "vault:transit/smsgw:v1"
    assert wrapped.octets.startswith(b"vault:v1:")


def test_an_altered_wrap(transit: Transit, tmp_path: Path) -> None:
    """What Vault cannot authenticate is refused for good."""
    provider = provider_of(transit, tmp_path)
    wrapped = provider.wrap(bytes(32), context())
    sealed = bytearray(base64.b64decode(wrapped.octets[9:]))
    sealed[-1] ^= 1
    with pytest.raises(UnwrapRefused):
        provider.unwrap(wrapped._replace(octets=b"vault:v1:" + base64.b64encode(sealed)), context())


def test_the_next_version(transit: Transit, tmp_path: Path) -> None:
    """A version is part of the id: what an older one has wrapped is told apart, and still opens."""
    provider = provider_of(transit, tmp_path)
    old = provider.wrap(b"k" * 32, context())
    transit.versions.append(AESGCM(os.urandom(32)))
    new = provider.wrap(b"k" * 32, context())
    assert (old.kek_id, new.kek_id) == ("vault:transit/smsgw:v1", "vault:transit/smsgw:v2")
    assert provider.unwrap(old, context()) == provider.unwrap(new, context()) == b"k" * 32
    with pytest.raises(UnwrapRefused):
        provider.unwrap(Wrapped(new.kek_id, old.octets), context())


@pytest.mark.parametrize("status", [403, 404, 400, 429, 503])
def test_what_may_pass(transit: Transit, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is refused, a key that is not there, a sealed Vault: nothing is given up for it."""
    monkeypatch.setattr(vault_provider, "_PAUSE_S", 0.0)
    provider = provider_of(transit, tmp_path)
    wrapped = provider.wrap(bytes(32), context())
    transit.vault.answers = [(status, b'{"errors":["secret words"]}')] * 4
    for ask in (lambda: provider.unwrap(wrapped, context()), lambda: provider.wrap(bytes(32), context())):
        with pytest.raises(ProviderUnavailable, match=f"answers {status}") as refused:
            ask()
        assert "secret words" not in str(refused.value)


def test_it_is_asked_twice(transit: Transit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass at once is tried again."""
    monkeypatch.setattr(vault_provider, "_PAUSE_S", 0.0)
    transit.vault.answers = [(503, b"")]
    assert provider_of(transit, tmp_path).wrap(bytes(32), context()).octets.startswith(b"vault:v1:")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"data":{}}', b'{"data":{"ciphertext":7}}', b'{"data":{"ciphertext":"no"}}', b"x" * (1 << 21)],
)
def test_what_is_no_answer(transit: Transit, tmp_path: Path, body: bytes) -> None:
    """An answer that is none of a transit engine's is not believed."""
    transit.vault.answers = [(200, body)]
    with pytest.raises(ProviderUnavailable):
        provider_of(transit, tmp_path).wrap(bytes(32), context())


def test_another_key_and_another_server(transit: Transit, tmp_path: Path) -> None:
    """A key that is not there is said; a server that cannot be verified gets nothing."""
    with pytest.raises(ProviderUnavailable, match="404"):
        provider_of(transit, tmp_path, "other").wrap(bytes(32), context())
    (tmp_path / "vault-ca.pem").unlink()
    with pytest.raises(ProviderUnavailable, match="ca_file"):
        provider_of(transit, tmp_path).wrap(bytes(32), context())
    (tmp_path / "vault.token").chmod(0o644)
    with pytest.raises(ProviderUnavailable, match="token_file"):
        provider_of(transit, tmp_path).wrap(bytes(32), context())
