"""The signing key is Ed25519, in a file of its own that nobody else may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.revocation.keys import new_key_pair
from gateway.sequencing.errors import LogKeyError
from gateway.sequencing.keys import new_key, read_signer
from gateway.tlog.notes import parse_vkey


def test_a_new_key_is_read(tmp_path: Path) -> None:
    """Its public half is the one that was handed out with it."""
    pem, public = new_key("example.org/smsgw")
    file = tmp_path / "audit-log.key"
    file.touch(mode=0o600)
    file.write_bytes(pem)
    assert read_signer(file, "example.org/smsgw").key == public == parse_vkey(public.vkey)


@pytest.mark.parametrize("octets", [b"", b"no key", new_key_pair()[1]])
def test_what_is_no_key(tmp_path: Path, octets: bytes) -> None:
    """A file that holds no private key is refused, and not shown."""
    file = tmp_path / "audit-log.key"
    file.touch(mode=0o600)
    file.write_bytes(octets)
    with pytest.raises(LogKeyError, match=r"audit-log\.key"):
        read_signer(file, "example.org/smsgw")


def test_a_file_that_others_can_read(tmp_path: Path) -> None:
    """Rights are looked at, and a missing file comes with what makes one."""
    file = tmp_path / "audit-log.key"
    with pytest.raises(LogKeyError, match="openssl genpkey"):
        read_signer(file, "example.org/smsgw")
    file.touch(mode=0o600)
    file.write_bytes(new_key("example.org/smsgw")[0])
    file.chmod(0o644)
    with pytest.raises(LogKeyError, match="chmod 600"):
        read_signer(file, "example.org/smsgw")
