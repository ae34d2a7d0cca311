"""SoftHSM2 holds the key-encryption key: wraps agree with another AES-GCM, and the token goes and comes back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sealing.pkcs11_provider import Pkcs11Provider, TokenKeyPlace
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused
from tests.gateway.sealing.providers import conforms, context
from tests.interop.conftest import PYTHON_PACKAGES
from tests.interop.test_softhsm import MODULES, PIN

pytestmark = pytest.mark.interop
VALUE = bytes(range(32))  # the key's octets, which another AES-GCM gets to judge by


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Initialize a token with an AES key in it, for this process: the library reads its configuration once."""
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(PIN + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        patch.syspath_prepend(str(PYTHON_PACKAGES))
        command = ["softhsm2-util", "--init-token", "--free", "--label", "gw", "--pin", PIN, "--so-pin", "99-99"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        import pkcs11

        library = pkcs11.lib(next(path for path in MODULES if Path(path).exists()))
        with library.get_token(token_label="gw").open(rw=True, user_pin=PIN) as session:
            session.create_object(
                {
                    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                    pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
                    pkcs11.Attribute.VALUE: VALUE,
                    pkcs11.Attribute.LABEL: "kek",
                    pkcs11.Attribute.TOKEN: True,
                    pkcs11.Attribute.ENCRYPT: True,
                    pkcs11.Attribute.DECRYPT: True,
                }
            )
            session.generate_key(pkcs11.KeyType.AES, 256, label="own", store=True)
        yield folder
        for name in [name for name in sys.modules if name.partition(".")[0] == "pkcs11"]:
            del sys.modules[name]


def provider_of(hsm: Path, key: str = "kek", label: str = "gw") -> Pkcs11Provider:
    """Return a provider over a key of the token."""
    module = Path(next(path for path in MODULES if Path(path).exists()))
    return Pkcs11Provider(TokenKeyPlace(module=module, token=label, key=key, pin_file=hsm / "pin"))


def test_round_trip(hsm: Path) -> None:
    """A key that was made in the token wraps, and refuses what was altered."""
    wrapped = conforms(provider_of(hsm, "own"), flip=slice(None, None, 7))
    assert (wrapped.kek_id, len(wrapped.octets)) == ("pkcs11:gw/own", 60)


def test_another_aes_gcm_agrees(hsm: Path) -> None:
    """OpenSSL's AES-256-GCM opens what the token wrapped, and the token what OpenSSL wrapped."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    provider, key, theirs = provider_of(hsm), os.urandom(32), AESGCM(VALUE)
    wrapped = provider.wrap(key, context())
    assert theirs.decrypt(wrapped.octets[:12], wrapped.octets[12:], context()) == key
    nonce = os.urandom(12)
    other = wrapped._replace(octets=nonce + theirs.encrypt(nonce, key, context()))
    assert provider.unwrap(other, context()) == key


def test_a_token_that_goes_and_comes_back(hsm: Path) -> None:
    """While the token is away nothing is given up; when it is back, it works without anybody's doing."""
    provider, key = provider_of(hsm), os.urandom(32)
    wrapped = provider.wrap(key, context())
    (hsm / "tokens").rename(hsm / "drawer")
    (hsm / "tokens").mkdir()
    for _ in range(2):
        for ask in (lambda: provider.unwrap(wrapped, context()), lambda: provider.wrap(key, context())):
            with pytest.raises(ProviderUnavailable, match="PKCS#11 token 'gw' cannot be used"):
                ask()
    (hsm / "tokens").rmdir()
    (hsm / "drawer").rename(hsm / "tokens")
    assert provider.unwrap(wrapped, context()) == key


def test_threads(hsm: Path) -> None:
    """Several threads use the token, and none is told that another has logged in."""
    provider, key = provider_of(hsm), os.urandom(32)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                assert provider.unwrap(provider.wrap(key, context()), context()) == key
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_what_is_refused(hsm: Path, tmp_path: Path) -> None:
    """Another key, another token, a wrong PIN, a PIN that others can read: each is said, none of it shows the PIN."""
    wrapped = provider_of(hsm).wrap(bytes(32), context())
    with pytest.raises(ProviderUnavailable, match="is there 0 times"):
        provider_of(hsm, "none").wrap(bytes(32), context())
    with pytest.raises(ProviderUnavailable, match="'other' cannot be used"):
        provider_of(hsm, label="other").wrap(bytes(32), context())
    with pytest.raises(UnwrapRefused):
        provider_of(hsm, "own").unwrap(wrapped, context())
    (tmp_path / "pin").touch(mode=0o600)
    (tmp_path / "pin").write_text("00-00-00")
    module = Path(next(path for path in MODULES if Path(path).exists()))
    wrong = Pkcs11Provider(TokenKeyPlace(module=module, token="gw", key="kek", pin_file=tmp_path / "pin"))
    with pytest.raises(ProviderUnavailable, match="PinIncorrect"):
        wrong.wrap(bytes(32), context())
    (tmp_path / "pin").chmod(0o644)
    with pytest.raises(ProviderUnavailable) as refused:
        wrong.wrap(bytes(32), context())
    assert "00-00-00" not in str(refused.value)
