"""The keys of the deny list: read from files of their own, and nothing else taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.revocation.errors import DenyListFileError
from gateway.revocation.keys import new_key_pair, read_public_keys, read_signing_key


def private(path: Path, octets: bytes) -> Path:
    """Write a file that its owner alone can read."""
    path.touch(mode=0o600)
    path.write_bytes(octets)
    return path


def test_a_pair(tmp_path: Path) -> None:
    """The public key is that of the private one."""
    signing, public = new_key_pair()
    (tmp_path / "pub").write_bytes(public)
    key = read_signing_key(private(tmp_path / "key", signing))
    (found,) = read_public_keys([tmp_path / "pub"])
    assert found == key.public_key()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It may be in other hands."""
    path = private(tmp_path / "key", new_key_pair()[0])
    path.chmod(0o640)
    with pytest.raises(DenyListFileError, match="chmod 600"):
        read_signing_key(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    """As after an update of a node of before."""
    with pytest.raises(DenyListFileError, match="openssl genpkey -algorithm ed25519"):
        read_signing_key(tmp_path / "none")
    with pytest.raises(DenyListFileError, match="cannot be read"):
        read_public_keys([tmp_path / "none"])


def test_other_keys_are_refused(tmp_path: Path) -> None:
    """A CA's key signs no deny list; the public key signs nothing, and the private one is not pinned."""
    other = ec.generate_private_key(ec.SECP256R1())
    signing, public = new_key_pair()
    secrets = (other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public, b"", b"key")
    for number, octets in enumerate(secrets):
        with pytest.raises(DenyListFileError):
            read_signing_key(private(tmp_path / f"key-{number}", octets))
    publics = (other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), signing, b"", b"key")
    for octets in publics:
        (tmp_path / "pub").write_bytes(octets)
        with pytest.raises(DenyListFileError):
            read_public_keys([tmp_path / "pub"])
