"""Keys in a PKCS#11 token, as far as it can be judged without one: tests/interop/test_softhsm.py has one."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from certs.ca.token_keys import Token, TokenKey
from certs.errors import AuthorityError
from tests.certificates import new_key
from tests.certs.cli.conftest import run

TOKEN = Token(module=Path("/nowhere.so"), label="smsgw", pin_file=Path("/nowhere.pin"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where python-pkcs11 is not installed, it is said how to install it."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    for use in (TOKEN.new_key, TOKEN.load):
        with pytest.raises(AuthorityError, match=r"smsgw\[pkcs11\]"):
            use()


def test_the_key_gives_nothing_away() -> None:
    """The key in a token signs with SHA-256, and refuses all else that a private key can be asked for."""
    key = TokenKey(TOKEN, "smsgw root", new_key().public_key())
    assert (key.key_size, key.curve.name, copy.deepcopy(key)) == (256, "secp256r1", key)
    none = serialization.NoEncryption()
    asked = (
        key.private_numbers,
        lambda: key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none),
        lambda: key.exchange(ec.ECDH(), new_key().public_key()),
        lambda: key.sign(b"x", ec.ECDSA(hashes.SHA384())),
        lambda: key.sign(b"x" * 32, ec.ECDSA(Prehashed(hashes.SHA256()))),
    )
    for call in asked:
        with pytest.raises(AuthorityError, match=r"does not leave it|SHA-256"):
            call()


@pytest.mark.parametrize(
    "options",
    [
        ["--root-token", "smsgw"],
        ["--root-token", "smsgw", "--pkcs11-module", "x"],
        ["--root-token", "smsgw", "--pkcs11-module", "x", "--root-pin-file", "y", "--root-dir", "z"],
    ],
)
def test_wrong_usage(tmp_path: Path, options: list[str]) -> None:
    """A token needs its library and its PIN, and is not a directory."""
    result = run("init", "--dir", tmp_path / "ca", "--trust-domain", "example.org", *options)
    assert result.exit_code == 2
    assert "--pkcs11-module" in result.stderr
    assert not (tmp_path / "ca").exists()


def test_a_new_root_needs_a_place(tmp_path: Path) -> None:
    """`rotate root` never puts the new key beside the authority by default."""
    run("init", "--dir", tmp_path / "ca", "--trust-domain", "example.org")
    result = run("rotate", "root", "--dir", tmp_path / "ca")
    assert result.exit_code == 2
    assert "--root-dir or --root-token" in result.stderr
