"""What the audit log has instead of a message: a salted hash of it, as docs/audit.md gives its octets."""

from __future__ import annotations

import datetime as dt
import struct
from hashlib import sha256

from smsgw.client import convert
from smsgw.client.messages import Category, Message

SALT_BYTES = 16
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
_HEADS = struct.Struct(">BHHII")
_ENVELOPE = struct.Struct(">BBHBQ")
_LABEL = struct.Struct(">BH")
_CATEGORIES = {Category.OTP: 1, Category.TRANSACTIONAL: 2, Category.PROMOTIONAL: 3}


def commitment(message: Message, *, salt: bytes, tenant: str) -> bytes:
    """Return what the log has of a message of this tenant, by the message and its salt (docs/audit.md)."""
    named, told = tenant.encode(), message.sender.encode()
    envelope = _envelope(message)
    content = convert.content(message.text, message.binary, message.sealed_jwe).SerializeToString(deterministic=True)
    heads = _HEADS.pack(_CATEGORIES[Category(message.category)], len(named), len(told), len(envelope), len(content))
    return sha256(b"".join((b"smsgw.message.v1", salt, heads, named, told, envelope, content))).digest()


def _envelope(message: Message) -> bytes:
    to, reference = message.to.encode(), message.client_reference.encode()
    not_before = 0 if message.not_before is None else (message.not_before - EPOCH) // MICROSECOND
    parts = [_ENVELOPE.pack(1, len(to), len(reference), len(message.labels), not_before), to, reference]
    for key in sorted(message.labels):
        name, value = key.encode(), message.labels[key].encode()
        parts += [_LABEL.pack(len(name), len(value)), name, value]
    return b"".join(parts)
