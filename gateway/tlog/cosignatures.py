"""What a witness says of a checkpoint: at this time, this was the largest tree of the log that it had seen, and all
that it had seen before were its beginnings (C2SP tlog-cosignature, cosignature/v1).

    signed      =  "cosignature/v1" newline  "time " seconds newline  the text of the checkpoint
    signature   =  seconds (8)  Ed25519 (64)        behind the key id, in a line of the note
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.tlog.errors import BadSignature
from gateway.tlog.notes import COSIGNATURE, Note, Signature, VerifyingKey, require_name

_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_MAX_TIME = (1 << 63) - 1


class Cosignature(NamedTuple):
    """That of a witness, verified. `at`: seconds since the Unix epoch, by its clock."""

    key: VerifyingKey
    at: int
    signature: Signature


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


class Cosigner:
    """A witness's key. A witness of one's own, and the tests, have one: a node has none."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.key = VerifyingKey(require_name(name), COSIGNATURE, key.public_key().public_bytes_raw())
        self._private = key

    def cosign(self, text: str, at: int) -> Signature:
        """Return the cosignature of a checkpoint's text at a time in seconds."""
        signature = self._private.sign(_message(text, at))
        return Signature(self.key.name, self.key.id, at.to_bytes(_TIME_BYTES, "big") + signature)


def verify_cosignature(key: VerifyingKey, text: str, signature: Signature) -> Cosignature:
    """Return what a witness has signed over a checkpoint's text. Raises BadSignature."""
    if key.kind != COSIGNATURE or not key.made(signature):
        raise BadSignature(f"it is no cosignature of {key.name}")
    at = int.from_bytes(signature.octets[:_TIME_BYTES], "big")
    if len(signature.octets) != _TIME_BYTES + _SIGNATURE_BYTES or at > _MAX_TIME:
        raise BadSignature(f"the cosignature of {key.name} has not the form of one")
    key.require(_message(text, at), signature.octets[_TIME_BYTES:])
    return Cosignature(key, at, signature)


def cosignatures(note: Note, keys: Iterable[VerifyingKey]) -> list[Cosignature]:
    """Return the cosignatures of these witnesses that a note has: the newest of each. Lines of others are ignored.
    Raises BadSignature when that of a known witness is wrong."""
    found: list[Cosignature] = []
    for key in keys:
        made = [verify_cosignature(key, note.text, line) for line in note.signatures if key.made(line)]
        found += [max(made, key=lambda one: one.at)] if made else []
    return found


def require_quorum(note: Note, keys: Iterable[VerifyingKey], number: int) -> list[Cosignature]:
    """Return the cosignatures of a note, of `number` of these witnesses at least. Raises BadSignature."""
    found = cosignatures(note, keys)
    if len(found) < number:
        raise BadSignature(f"{len(found)} witnesses have cosigned it, and {number} are asked for")
    return found
