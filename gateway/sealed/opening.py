"""From sealed content to what is sent: everything is checked that the caller bound it to. No clock, no IO."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from gateway.sealed.binding import Bearer, check_recipient
from gateway.sealed.compact import Header
from gateway.sealed.errors import SealedRefused
from gateway.sealed.jose import decrypt
from gateway.sealed.keys import PayloadKey
from smsgw.v1 import message_pb2


def open_sealed(jwe: str, header: Header, key: PayloadKey, bearer: Bearer) -> message_pb2.Content:
    """Return the content. `header` is that of `jwe`, and fits the bearer (`check_bearer`); `key` is the one it names.

    May run in another thread. Raises SealedRefused.
    """
    plaintext = decrypt(jwe, key.private)
    try:
        sealed = message_pb2.SealedContent.FromString(plaintext)
    except DecodeError:
        raise SealedRefused("SEALED_MALFORMED", "there is no smsgw.v1.SealedContent inside") from None
    check_recipient(header, sealed.recipient_salt, bearer.recipient)
    if sealed.content.WhichOneof("kind") not in {"text", "binary"}:
        raise SealedRefused("SEALED_MALFORMED", "there is neither a text nor octets inside")
    return sealed.content
