"""What the audit says of a message without saying it: a salted hash of the whole of it.

    commitment  =  SHA-256( "smsgw.message.v1"  salt (16)  heads  tenant  sender  envelope  content )
    heads       =  category (1)  octets of tenant (2), sender (2), envelope (4) and content (4), big-endian

Texts are UTF-8. The envelope holds recipient, client reference, labels and not_before (`gateway.records`, version 1);
the content is a serialized smsgw.v1.Content, its fields in the order of their numbers. All of it has one form, so that
whoever has the salt and the message computes the same octets (docs/audit.md).

The salt is random, and kept nowhere but sealed in the message's own envelope: without it the hash says nothing, however
few the numbers and texts are that could be tried; and it goes when the message is erased.

What is here is released: another form is another label, and another kind of record.
"""

from __future__ import annotations

import hashlib
import struct

_HEADS = struct.Struct(">BHHII")
# Copying a state that has taken in the label costs less than making one.
_BEGUN = hashlib.sha256(b"smsgw.message.v1")


def commitment(salt: bytes, tenant: str, sender: str, category: int, envelope: bytes, content: bytes) -> bytes:
    """Return 32 octets that stand for a message (hot); `envelope` and `content` are its payloads before sealing.

    Raises struct.error for a name of more than 65,535 octets (validation allows far less).
    """
    named, told = tenant.encode(), sender.encode()
    heads = _HEADS.pack(category, len(named), len(told), len(envelope), len(content))
    state = _BEGUN.copy()
    state.update(b"".join((salt, heads, named, told, envelope, content)))
    return state.digest()
