"""What a proof of the audit log is verified by: hashes of a Merkle tree, a signed note, Ed25519. Sans-IO.

The tree is that of RFC 6962 §2.1, a checkpoint is a C2SP tlog-checkpoint in a C2SP signed-note, a witness signs as C2SP
tlog-cosignature says. This is a reader of its own, by the specifications and not by the gateway's code: a receipt would
prove little if it were read by the code that wrote it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from smsgw.client.errors import ReceiptInvalid

HASH_BYTES = 32
MAX_PATH = 64  # hashes
MAX_NOTE_BYTES = 128 << 10
MAX_SIGNATURES = 64
LOG_KEY = 1  # kinds of keys
WITNESS_KEY = 4

_MARK = "\u2014 "
_KEY = re.compile(r"(?P<name>[^+\s]{1,255})\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]{1,64})")
_ID_BYTES = 4
_TIME_BYTES = 8
_SIZE = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + entry).digest()


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a leaf's path leads to (RFC 6962 §2.1.1, read from the leaf upwards). Raises
    ReceiptInvalid for a path that no tree of `size` leaves has."""
    if not 0 <= index < size or len(path) > MAX_PATH or any(len(hash_) != HASH_BYTES for hash_ in path):
        raise ReceiptInvalid("a path is none of a tree of that size", reason="MALFORMED")
    # From the top: which half the leaf lies in, level by level, says on which side of each hash it stands.
    sides: list[bool] = []
    while size > 1:
        left = 1 << (size - 1).bit_length() - 1
        sides.append(index >= left)
        index, size = (index - left, size - left) if index >= left else (index, left)
    if len(sides) != len(path):
        raise ReceiptInvalid("a path has more or fewer hashes than its tree has levels", reason="NOT_PROVEN")
    node = leaf
    for is_right, beside in zip(reversed(sides), path, strict=True):
        node = sha256(b"\x01" + (beside + node if is_right else node + beside)).digest()
    return node


class Key(NamedTuple):
    """A public key that is trusted, of a log (LOG_KEY) or of a witness (WITNESS_KEY)."""

    name: str
    id: bytes
    kind: int
    public: bytes


class Line(NamedTuple):
    """A signature line of a note: whose key it names, and what is signed."""

    name: str
    key_id: bytes
    octets: bytes


class Checkpoint(NamedTuple):
    """Size and root of a log's tree, with its signatures; nothing of it is verified."""

    text: str
    origin: str
    size: int
    root: bytes
    lines: tuple[Line, ...]


def parse_key(text: str, kind: int) -> Key:
    """Return the key that is written as name+id+base64. Raises ValueError for what is none of this kind."""
    match = _KEY.fullmatch(text.strip())
    octets = b"" if match is None else _decoded(match["key"])
    if match is None or len(octets) != 1 + HASH_BYTES or octets[0] != kind:
        what = "log" if kind == LOG_KEY else "witness"
        raise ValueError(f"it is no Ed25519 key of a {what}: name+12ab34cd+base64, of kind {kind}")
    key_id = sha256(match["name"].encode() + b"\n" + octets).digest()[:_ID_BYTES]
    if key_id.hex() != match["id"]:
        raise ValueError("the key's id is not that of its name and octets: was it copied whole?")
    return Key(match["name"], key_id, kind, octets[1:])


def parse_checkpoint(note: str) -> Checkpoint:
    """Return a checkpoint. Raises ReceiptInvalid."""
    text, gap, signatures = note.rpartition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if not gap or len(note.encode()) > MAX_NOTE_BYTES or len(lines) < 4 or not _SIZE.fullmatch(lines[1]):
        raise _malformed("the checkpoint is no signed note of origin, size and root hash")
    root = _decoded(lines[2])
    if not lines[0] or len(root) != HASH_BYTES or any(ord(c) < 32 for c in text if c != "\n"):
        raise _malformed("the checkpoint's origin or root hash is none")
    found = signatures.removesuffix("\n").split("\n")
    if not signatures.endswith("\n") or len(found) > MAX_SIGNATURES:
        raise _malformed("the checkpoint does not end with its signatures, or has too many")
    return Checkpoint(text, lines[0], int(lines[1]), root, tuple(map(_line, found)))


def _line(line: str) -> Line:
    name, space, encoded = line.removeprefix(_MARK).partition(" ")
    octets = _decoded(encoded)
    if not line.startswith(_MARK) or not name or not space or len(octets) <= _ID_BYTES:
        raise _malformed("a line of the checkpoint's signatures is none")
    return Line(name, octets[:_ID_BYTES], octets[_ID_BYTES:])


def require_log(checkpoint: Checkpoint, key: Key) -> None:
    """Return when the log with this key has signed a checkpoint, and it is one of that log. Raises ReceiptInvalid."""
    made = _made_by(checkpoint, key)
    if not made:
        raise ReceiptInvalid(f"the checkpoint is not signed by the key {key.name}", reason="SIGNATURE")
    for line in made:
        _require(key, checkpoint.text.encode(), line.octets)
    if checkpoint.origin != key.name:
        raise ReceiptInvalid("the checkpoint is that of another log", reason="SIGNATURE")


def witnessed(checkpoint: Checkpoint, keys: Sequence[Key]) -> list[tuple[str, int]]:
    """Return which of these witnesses have cosigned a checkpoint, and when (Unix seconds): the newest of each. Raises
    ReceiptInvalid when the signature of one is wrong."""
    found: list[tuple[str, int]] = []
    for key in keys:
        times = [_cosigned(key, checkpoint.text, line.octets) for line in _made_by(checkpoint, key)]
        if times:
            found.append((key.name, max(times)))
    return found


def _cosigned(key: Key, text: str, octets: bytes) -> int:
    at = int.from_bytes(octets[:_TIME_BYTES], "big")
    _require(key, f"cosignature/v1\ntime {at}\n{text}".encode(), octets[_TIME_BYTES:])
    return at


def _made_by(checkpoint: Checkpoint, key: Key) -> list[Line]:
    return [line for line in checkpoint.lines if (line.name, line.key_id) == (key.name, key.id)]


def _require(key: Key, message: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        raise ReceiptInvalid(f"the signature of {key.name} is wrong", reason="SIGNATURE") from None


def _decoded(text: str) -> bytes:
    """Return the octets that are written as base64 in its one form; none for anything else."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return octets if base64.b64encode(octets).decode() == text else b""


def _malformed(text: str) -> ReceiptInvalid:
    return ReceiptInvalid(text, reason="MALFORMED")
