"""Payload keys for tests, and a caller that seals to them with another library than the node's: jwcrypto."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import json
import os
from typing import Any

from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

from gateway.limits.rate import Rate
from gateway.payload import PayloadBox
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.sealed_contents import SealedContents
from gateway.sealed.budget import OpeningBudget
from gateway.sealed.key_files import new_key_file, read_key
from gateway.sealed.keys import PayloadKey, PayloadKeys
from gateway.sealed.opener import Opener
from gateway.validation import Validator
from smsgw.v1.message_pb2 import Content, SealedContent
from visibility.alerts import NOBODY, AlertSink

FAR = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
UNUSED_RATE = Rate.a_second(1000, 1000)
SALT = b"0123456789abcdef"


def key_file(kind: str = "p256", number: int = 0) -> bytes:
    """Return the octets of a key file; the same each time."""
    return _made(kind, number)


@functools.cache
def _made(kind: str, number: int) -> bytes:
    del number
    return new_key_file(kind, FAR)[1]


def payload_key(kind: str = "p256", number: int = 0, *, not_after: int = 0) -> PayloadKey:
    """Return a key of the node; `not_after` in seconds."""
    key = read_key(key_file(kind, number))
    return key if not not_after else PayloadKey(kid=key.kid, alg=key.alg, not_after=not_after, half=key.half)


def hashed(to: str, salt: bytes = SALT) -> str:
    """Return what the header says of a recipient; written anew here from the words of message.proto."""
    digest = hashlib.sha256(b"smsgw.to" + bytes([0]) + salt + to.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def bound(key: PayloadKey, **changes: Any) -> dict[str, Any]:
    """Return a protected header; `changes` by name, None for a header that is left out."""
    header = {
        "alg": key.alg, "enc": "A256GCM", "kid": key.kid, "smsgw.tenant": "demo",
        "smsgw.to": hashed("+4915112345678"), "smsgw.key": "key-1", "smsgw.exp": 1_790_000_600, **changes,
    }  # fmt: skip
    return {name: value for name, value in header.items() if value is not None}


def jwe_of(key: PayloadKey, header: dict[str, Any], plaintext: bytes, *, algs: list[str] | None = None) -> str:
    """Return a compact JWE, made by jwcrypto."""
    public = {name: value for name, value in key.public.items() if name not in {"exp", "use", "alg"}}
    made = JWE(plaintext, json.dumps(header), algs=algs)
    made.add_recipient(JWK(**public))
    compact: str = made.serialize(compact=True)
    return compact


def plaintext_of(text: str = "Your code is 4711", salt: bytes = SALT) -> bytes:
    """Return what is inside."""
    return SealedContent(recipient_salt=salt, content=Content(text=text)).SerializeToString()


def sealed(
    key: PayloadKey, text: str = "Your code is 4711", *, to: str = "+4915112345678", salt: bytes = b"", **changes: Any
) -> str:
    """Return a text that a caller has sealed for `to`; `changes` of the header by name, dots as two underlines."""
    salt = salt or os.urandom(16)
    named = {name.replace("__", "."): value for name, value in changes.items()}
    header = bound(key, **{"smsgw.to": hashed(to, salt), **named})
    return jwe_of(key, header, plaintext_of(text, salt))


def sealed_contents(
    box: PayloadBox,
    encoder: MessageEncoder,
    validator: Validator,
    keys: PayloadKeys | None = None,
    rate: Rate = UNUSED_RATE,
    alerts: AlertSink = NOBODY,
) -> SealedContents:
    """Return the part of a pipeline that opens; without `keys` it has none."""
    return SealedContents(
        box=box,
        opener=Opener(keys or PayloadKeys()),
        measure=validator.measure,
        encode=encoder.encode_content,
        budget=OpeningBudget(rate),
        alerts=alerts,
    )
