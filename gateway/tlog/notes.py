"""Text that is signed (C2SP signed-note), by Ed25519 keys.

    note       =  text, ending with a newline  newline  signature line ...
    line       =  "— " key name " " base64(key id (4) ‖ signature) newline
    key id     =  SHA-256(key name ‖ newline ‖ kind ‖ public key)[:4]
    public key =  key name "+" key id in hexadecimal digits "+" base64(kind ‖ public key)      (a "vkey")

Nothing of a text may be believed before a key that is trusted has been found under it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.tlog.errors import BadSignature, MalformedLog

ED25519 = 0x01  # kind of a signature over the text
COSIGNATURE = 0x04  # of a witness, see `gateway.tlog.cosignatures`
MAX_NOTE = 128 << 10  # octets
MAX_TEXT = 64 << 10
MAX_SIGNATURES = 64
MAX_NAME = 255
KEY_BYTES = 32
ID_BYTES = 4
_MAX_SIGNATURE = 8 << 10  # octets; those of other kinds may be long
_MARK = "\u2014 "
_VKEY = re.compile(r"(?P<name>[^+\s]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]+={0,2})")


def require_name(name: str) -> str:
    """Return `name` when a key, or a log, may be called that. Raises MalformedLog."""
    if not 1 <= len(name.encode()) <= MAX_NAME or any(c in " +" or not c.isprintable() for c in name):
        raise MalformedLog(f"a name has 1 to {MAX_NAME} octets, no space and no plus sign")
    return name


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the id of a key."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:ID_BYTES]


class Signature(NamedTuple):
    """One line: whose, and the octets behind the key id."""

    name: str
    key_id: bytes
    octets: bytes

    @property
    def line(self) -> str:
        """As it stands in a note."""
        return f"{_MARK}{self.name} {base64.b64encode(self.key_id + self.octets).decode()}\n"


class Note(NamedTuple):
    """A text and its signatures, none of which has been verified."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Return its octets."""
        return (self.text + "\n" + "".join(signature.line for signature in self.signatures)).encode()


class VerifyingKey(NamedTuple):
    """A key that is trusted: its name, its kind (ED25519, COSIGNATURE) and its public half, 32 octets."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """Its key id."""
        return key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """As text."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def made(self, signature: Signature) -> bool:
        """Say whether a signature claims to be of this key."""
        return signature.name == self.name and signature.key_id == self.id

    def verify(self, text: str, signature: Signature) -> None:
        """Return when a signature of this key is over `text` (kind ED25519). Raises BadSignature."""
        if self.kind != ED25519:
            raise BadSignature(f"the key {self.name} is not one that signs text")
        self.require(text.encode(), signature.octets)

    def require(self, message: bytes, octets: bytes) -> None:
        """Return when `octets` are the Ed25519 signature of `message` (RFC 8032). Raises BadSignature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(octets, message)
        except InvalidSignature:
            raise BadSignature(f"the signature of {self.name} is wrong") from None


def parse_vkey(text: str) -> VerifyingKey:
    """Return the key that a vkey is. Raises MalformedLog."""
    match = _VKEY.fullmatch(text) if len(text) <= MAX_NAME + 64 else None
    if match is None:
        raise MalformedLog("a public key has the form name+12ab34cd+base64")
    octets = _base64(match["key"])
    if len(octets) != 1 + KEY_BYTES or octets[0] not in (ED25519, COSIGNATURE):
        raise MalformedLog("it is no Ed25519 key of a log (kind 1) or a witness (kind 4)")
    key = VerifyingKey(require_name(match["name"]), octets[0], octets[1:])
    if key.id.hex() != match["id"]:
        raise MalformedLog("its key id is not that of its name and key: was it copied whole?")
    return key


class Signer:
    """A key that signs text under a name. The private half is not shown."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.key = VerifyingKey(require_name(name), ED25519, key.public_key().public_bytes_raw())
        self._private = key

    def sign(self, text: str) -> Signature:
        """Return the signature over a text. Raises MalformedLog for what can be no text of a note."""
        require_text(text)
        return Signature(self.key.name, self.key.id, self._private.sign(text.encode()))


class SignsText(Protocol):
    """What makes signatures: a `Signer`."""

    @property
    def key(self) -> VerifyingKey:
        """Its public half."""

    def sign(self, text: str) -> Signature:
        """Return the signature over a text."""


def require_text(text: str) -> None:
    """Raise MalformedLog unless `text` can be that of a note."""
    if not text.endswith("\n") or len(text.encode()) > MAX_TEXT:
        raise MalformedLog(f"the text of a note ends with a newline, and has at most {MAX_TEXT} octets")
    if any(c < " " and c != "\n" for c in text):
        raise MalformedLog("there is a control character in the note")


def parse(octets: bytes) -> Note:
    """Return the note that `octets` are, nothing of it verified. Raises MalformedLog."""
    if len(octets) > MAX_NOTE:
        raise MalformedLog(f"the note has more than {MAX_NOTE} octets")
    try:
        whole = octets.decode()
    except UnicodeDecodeError:
        raise MalformedLog("the note is not UTF-8") from None
    text, gap, lines = whole.rpartition("\n\n")
    if not gap or not text:
        raise MalformedLog("there is no empty line between text and signatures")
    text += "\n"
    require_text(text)
    return Note(text, parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Return the signatures that `lines` are, one at least. Raises MalformedLog."""
    if not lines.endswith("\n"):
        raise MalformedLog("the last signature does not end with a newline")
    found = lines[:-1].split("\n", MAX_SIGNATURES)
    if len(found) > MAX_SIGNATURES:
        raise MalformedLog(f"there are more than {MAX_SIGNATURES} signatures")
    return tuple(map(_signature, found))


def _signature(line: str) -> Signature:
    name, space, encoded = line[len(_MARK) :].partition(" ")
    if not line.startswith(_MARK) or not space:
        raise MalformedLog("a line of signatures has not the form '— name base64'")
    octets = _base64(encoded)
    if not ID_BYTES < len(octets) <= ID_BYTES + _MAX_SIGNATURE:
        raise MalformedLog("a signature is too short or too long")
    return Signature(require_name(name), octets[:ID_BYTES], octets[ID_BYTES:])


def _base64(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedLog("it is not base64") from None
    if base64.b64encode(octets).decode() != text:
        raise MalformedLog("it is not base64 in its one form")
    return octets


def sign(text: str, signers: Sequence[SignsText]) -> Note:
    """Return a text with the signatures of these keys. Raises MalformedLog."""
    return Note(text, tuple(signer.sign(text) for signer in signers))


def verify(note: Note, keys: Iterable[VerifyingKey]) -> list[VerifyingKey]:
    """Return which of these ED25519 keys have signed a note: one at least. Signatures of others are ignored. Raises
    BadSignature when that of one is wrong, or there is none."""
    signed = []
    for key in keys:
        made = [signature for signature in note.signatures if key.made(signature)]
        for signature in made:
            key.verify(note.text, signature)
        signed += [key] if made else []
    if not signed:
        raise BadSignature("none of the keys that are trusted has signed it")
    return signed
