"""The signed form of the deny list: bounded, versioned, canonical.

    head  =  magic "SGDL" (4)  format (1)  key id (32)  version (8)  issued at (8)  expires at (8)
             number of entries (4)  octets of the body (4)  SHA-256 of the body (32)  signature (64)
    body  =  entries, each as `_LAYOUT` says, in the order in which they came into the list

Numbers are big-endian, times microseconds since the Unix epoch. The key id is the SHA-256 of the public key's 32 octets
(RFC 8032 §5.1.5), and says which pinned key is meant. The signature is Ed25519 over a context and all of the head
before it: the head alone says how fresh a list is, so that it can be signed anew, and sent, without the body. A list
has one form: other octets with the same meaning are refused.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.audit.fields import Field, Malformed, Number, Text
from gateway.revocation.entries import MAX_ENTRIES, DenyList, Entry, Queued, What, check
from gateway.revocation.errors import BadDenyList, BadEntry, DenyListFull, ForgedDenyList

MAGIC = b"SGDL"
FORMAT = 1
MAX_BODY_BYTES = 4 << 20
SIGNATURE_BYTES = 64
_CONTEXT = b"smsgw deny list head v1\x00"
_HEAD = struct.Struct(">4sB32sQQQII32s")
HEAD_BYTES = _HEAD.size + SIGNATURE_BYTES

_TIME = Number(8)
_SPIFFE_ID = Text(2, 2048)  # SPIFFE-ID §2.3
# The fields of an entry, in order. A released layout never changes: another one is another format.
_LAYOUT: tuple[tuple[str, Field[Any]], ...] = (
    ("id", Text(1, 8)),
    ("what", Number(1, 1, 3)),
    ("since", _TIME),
    ("revoked_at", _TIME),
    ("ends_at", _TIME),
    ("spiffe_id", _SPIFFE_ID),
    ("serial", Text(1, 128)),
    ("authority_key_id", Text(1, 128)),
    ("cutoff", _TIME),
    ("key_hash", Text(1, 64)),
    ("queued", Number(1, 1, 3)),
    ("by", _SPIFFE_ID),
    ("reason", Text(2, 1024)),
)
_ID_DIGITS = frozenset("0123456789abcdef")


class Head(NamedTuple):
    """What is signed. Times in microseconds since the Unix epoch."""

    key_id: bytes
    version: int
    issued_at: int
    expires_at: int
    number: int  # of entries
    size: int
    digest: bytes  # SHA-256 of the body


class SignedList(NamedTuple):
    """A list in its signed form."""

    head: bytes
    body: bytes


def key_id_of(key: Ed25519PublicKey) -> bytes:
    """Return what a head calls a public key."""
    return hashlib.sha256(key.public_bytes_raw()).digest()


def encode_body(deny: DenyList) -> bytes:
    """Return the octets of the entries. Raises BadEntry for a value that none can hold, DenyListFull for too many."""
    parts: list[bytes] = []
    for entry in deny.entries:
        for name, field in _LAYOUT:
            try:
                parts.append(field.pack(getattr(entry, name)))
            except Malformed as error:
                raise BadEntry(f"{name}: {error}") from None
    body = b"".join(parts)
    if len(body) > MAX_BODY_BYTES:
        raise DenyListFull(f"the deny list would have {len(body)} octets: at most {MAX_BODY_BYTES} are allowed")
    return body


def sign(deny: DenyList, body: bytes, key: Ed25519PrivateKey, *, issued_at: int, expires_at: int) -> bytes:
    """Return a head for `body`, which is that of `deny`, signed at `issued_at` and good until `expires_at`."""
    digest = hashlib.sha256(body).digest()
    head = _HEAD.pack(
        MAGIC,
        FORMAT,
        key_id_of(key.public_key()),
        deny.version,
        issued_at,
        expires_at,
        len(deny.entries),
        len(body),
        digest,
    )
    return head + key.sign(_CONTEXT + head)


def verify(octets: bytes, keys: Sequence[Ed25519PublicKey]) -> Head:
    """Return what a head says, once one of `keys` has been found to have signed it.

    Raises BadDenyList for what is no head, ForgedDenyList for one that none of the keys has signed as it is.
    """
    if len(octets) != HEAD_BYTES:
        raise BadDenyList(f"the head of a deny list has {HEAD_BYTES} octets: these are {len(octets)}")
    magic, form, *fields = _HEAD.unpack_from(octets)
    if magic != MAGIC or form != FORMAT:
        raise BadDenyList("this is no deny list of a format that this smsgw reads: was it written by a newer one?")
    head = Head._make(fields)
    key = next((key for key in keys if key_id_of(key) == head.key_id), None)
    if key is None:
        raise ForgedDenyList(
            f"the deny list is signed by the key {head.key_id.hex()[:16]}..., which is not pinned here"
        )
    try:
        key.verify(octets[_HEAD.size :], _CONTEXT + octets[: _HEAD.size])
    except InvalidSignature:
        raise ForgedDenyList(
            "the signature of the deny list is wrong: it was changed, or made by somebody else"
        ) from None
    if head.number > MAX_ENTRIES or head.size > MAX_BODY_BYTES or head.expires_at < head.issued_at:
        raise BadDenyList("the deny list is out of its bounds")
    return head


def open_body(head: Head, body: bytes) -> DenyList:
    """Return the list whose verified head this is. Raises ForgedDenyList when the body is another, BadDenyList when it
    is none."""
    if len(body) != head.size or hashlib.sha256(body).digest() != head.digest:
        raise ForgedDenyList("the entries of the deny list are not those that were signed")
    deny = DenyList(version=head.version, entries=_entries(body, head.number))
    names = {entry.name for entry in deny.entries}
    if len(names) != head.number or len({entry.id for entry in deny.entries}) != head.number:
        raise BadDenyList("the deny list names something twice")
    if encode_body(deny) != body:
        raise BadDenyList("the deny list is not written in its one form")
    return deny


def read(octets: bytes, keys: Sequence[Ed25519PublicKey]) -> tuple[Head, DenyList]:
    """Return head and list of a whole signed list, as a file holds it. Raises like `verify` and `open_body`."""
    head = verify(octets[:HEAD_BYTES], keys)
    return head, open_body(head, octets[HEAD_BYTES:])


def _entries(body: bytes, count: int) -> tuple[Entry, ...]:
    entries, at = [], 0
    for _ in range(count):
        values: dict[str, Any] = {}
        for name, field in _LAYOUT:
            try:
                values[name], at = field.unpack(body, at)
            except Malformed as error:
                raise BadDenyList(f"{name}: {error}") from None
        entries.append(_entry(values))
    if at != len(body):
        raise BadDenyList(f"{len(body) - at} octets are left over behind the last entry")
    return tuple(entries)


def _entry(values: dict[str, Any]) -> Entry:
    entry = Entry(**{**values, "what": What(values["what"]), "queued": Queued(values["queued"])})
    if len(entry.id) != 8 or not _ID_DIGITS.issuperset(entry.id):
        raise BadDenyList("an entry has an id of another form")
    try:
        checked = check(entry)
    except BadEntry as error:
        raise BadDenyList(str(error)) from error
    if checked != entry:
        raise BadDenyList("an entry is not written in its one form")
    return entry
