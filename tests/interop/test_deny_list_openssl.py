"""openssl as a judge of the deny list: its keys are ours, and it verifies our signatures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.revocation.codec import HEAD_BYTES, SIGNATURE_BYTES
from gateway.revocation.files import LIST, ListFiles
from gateway.revocation.keys import new_key_pair, read_public_keys, read_signing_key
from gateway.revocation.publishing import Edition
from tests.gateway.revocation.samples import NOW, SECOND, identity

pytestmark = pytest.mark.interop


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run openssl."""
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30, check=False)


def signed_parts(folder: Path, octets: bytes) -> tuple[Path, Path]:
    """Write what is signed, and the signature, as docs and codec describe them."""
    message, signature = folder / "message", folder / "signature"
    message.write_bytes(b"smsgw deny list head v1\x00" + octets[: HEAD_BYTES - SIGNATURE_BYTES])
    signature.write_bytes(octets[HEAD_BYTES - SIGNATURE_BYTES : HEAD_BYTES])
    return message, signature


@pytest.mark.parametrize("made_by", ["openssl", "smsgw"])
def test_openssl_verifies_the_list(tmp_path: Path, made_by: str) -> None:
    """With keys of either's making: the signature is good, and with one octet of the head changed it is not."""
    key, public = tmp_path / "key", tmp_path / "pub"
    key.touch(mode=0o600)
    if made_by == "openssl":
        assert openssl("genpkey", "-algorithm", "ed25519", "-out", str(key)).returncode == 0
        assert openssl("pkey", "-in", str(key), "-pubout", "-out", str(public)).returncode == 0
    else:
        signing, verifying = new_key_pair()
        key.write_bytes(signing)
        public.write_bytes(verifying)
    edition = Edition(ListFiles(tmp_path), read_signing_key(key), 60 * SECOND)
    edition.load(NOW)
    edition.change([identity()], (), NOW + 1)
    assert read_public_keys([public]) == [read_signing_key(key).public_key()]
    octets = (tmp_path / LIST).read_bytes()
    message, signature = signed_parts(tmp_path, octets)
    check = ("pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin", "-in", str(message), "-sigfile")
    assert openssl(*check, str(signature)).returncode == 0
    message.write_bytes(message.read_bytes()[:-1] + b"\x00")
    assert openssl(*check, str(signature)).returncode != 0
