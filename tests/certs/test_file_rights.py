"""Who can use a file: its mode, and the access control list that the mode stands for."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from certs.errors import SecretPermissionsError
from certs.file_rights import granted_to, open_to
from certs.svid import read_secret

NONE = 0xFFFFFFFF
ME, OTHER = 990, 991


def acl(*entries: tuple[int, int, int], version: int = 2) -> bytes:
    """Return a list as the kernel gives it: tag, permissions, id."""
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def credential(*more: tuple[int, int, int], user: int = ME, mask: int = 4) -> bytes:
    """Return the list that systemd gives a credential, with `more` entries; what `setfacl -m u:990:r` makes of 0400."""
    return acl((1, 4, NONE), (2, 4, user), *more, (4, 0, NONE), (0x10, mask, NONE), (0x20, 0, NONE))


def test_the_kernels_octets() -> None:
    """What Linux hands out for `setfacl -m u:65534:r` on a file of mode 0400 is read as it is meant."""
    octets = bytes.fromhex("0200000001000400ffffffff02000400feff000004000000ffffffff10000400ffffffff20000000ffffffff")
    assert granted_to(octets, user=65534) == ""
    assert granted_to(octets, user=1000) == "the user 65534 (by its access control list)"


@pytest.mark.parametrize(
    ("octets", "who"),
    [
        (credential(), ""),
        (credential(user=0), ""),
        (credential(user=OTHER), "user 991"),
        (credential((2, 4, OTHER)), "user 991"),
        (credential((2, 0, OTHER)), ""),
        (credential((2, 4, OTHER), mask=0), ""),
        (credential((2, 2, OTHER), mask=4), ""),
        (credential((8, 4, 50)), "a group"),
        (acl((1, 4, NONE), (2, 4, ME), (4, 4, NONE), (0x10, 4, NONE), (0x20, 0, NONE)), "a group"),
        (acl((1, 4, NONE), (4, 4, NONE), (0x20, 0, NONE)), "a group"),
        (b"", "cannot be read"),
        (acl(), "cannot be read"),
        (credential()[:-1], "cannot be read"),
        (acl((1, 4, NONE), (4, 0, NONE), version=3), "cannot be read"),
    ],
)
def test_lists(octets: bytes, who: str) -> None:
    """A list gives rights within its mask; what is no list counts as giving them."""
    found = granted_to(octets, user=ME)
    assert (who in found) if who else found == ""


@pytest.mark.parametrize(
    ("mode", "who"), [(0o600, ""), (0o400, ""), (0o640, "its group"), (0o604, "others"), (0o646, "others")]
)
def test_modes(tmp_path: Path, mode: int, who: str) -> None:
    """Without a list the group bits are the group's."""
    file = tmp_path / "secret"
    file.write_bytes(b"x")
    file.chmod(mode)
    with file.open("rb") as stream:
        found = open_to(stream.fileno())
    assert (who in found) if who else found == ""


def test_a_credential_in_the_file_system(tmp_path: Path) -> None:
    """A file that looks readable by a group, and is open to this user alone by its list, is read; others are not."""
    file = tmp_path / "gateway.key"
    file.write_bytes(b"key")
    file.chmod(0o400)
    try:
        os.setxattr(file, "system.posix_acl_access", credential(user=os.geteuid()))
    except OSError as error:
        pytest.skip(f"no access control lists here: {error.strerror}")
    assert file.stat().st_mode & 0o777 == 0o440
    assert read_secret(file) == b"key"
    os.setxattr(file, "system.posix_acl_access", credential(user=OTHER))
    with pytest.raises(SecretPermissionsError, match="user 991"):
        read_secret(file)
