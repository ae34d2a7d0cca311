"""Who besides its owner has rights to an open file: by its mode, and by the access control list behind the mode.

Where a file has an access control list, the group bits of its mode are the list's mask, not the rights of a group
(acl(5), CORRESPONDENCE BETWEEN ACL ENTRIES AND FILE PERMISSION BITS). systemd hands a credential over as root's file
with one entry for the user of the service (systemd.exec(5), LoadCredential=), which stat shows as mode 0440.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Final

_ACL: Final = "system.posix_acl_access"
_VERSION: Final = struct.pack("<I", 2)  # linux/posix_acl_xattr.h: POSIX_ACL_XATTR_VERSION, then entries
_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, id
_USER, _GROUP_OBJ, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10  # linux/posix_acl.h


def open_to(descriptor: int) -> str:
    """Return who else than its owner, this user and root can use the open file, in words; empty for nobody.

    Raises OSError.
    """
    mode = os.fstat(descriptor).st_mode
    if mode & stat.S_IRWXO:
        return f"others (mode {stat.S_IMODE(mode):04o})"
    if not mode & stat.S_IRWXG:
        return ""  # the mask of a list is empty too: none of its entries gives anything
    try:
        acl = os.getxattr(descriptor, _ACL)
    except OSError:  # ENODATA, ENOTSUP: there is no list, and the bits are the group's
        return f"its group (mode {stat.S_IMODE(mode):04o})"
    return granted_to(acl, user=os.geteuid())


def granted_to(acl: bytes, *, user: int) -> str:
    """Return whom else than the file's owner, `user` and root a list gives any right, in words; empty for nobody.

    `acl` is the value of system.posix_acl_access. One that cannot be understood counts as giving rights.
    """
    body = acl.removeprefix(_VERSION)
    if len(body) == len(acl) or not body or len(body) % _ENTRY.size:
        return "others (its access control list cannot be read)"
    entries = list(_ENTRY.iter_unpack(body))
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 0o7)
    for tag, permissions, who in entries:
        if not permissions & mask:
            continue
        if tag == _USER and who not in {user, 0}:
            return f"the user {who} (by its access control list)"
        if tag in {_GROUP_OBJ, _GROUP}:
            return "a group (by its access control list)"
    return ""
