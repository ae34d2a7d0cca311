"""The octets between a log and a witness (C2SP tlog-witness, add-checkpoint).

    request   =  "old " size newline  base64(hash) newline ...  newline  note
    answer    =  200: signature lines; 409: the size that the witness has, and a newline

Neither side believes the other: what is read here has still to be verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import HASH_BYTES, MAX_PROOF, MAX_SIZE
from gateway.tlog.notes import MAX_NOTE, Note, Signature, parse, parse_signatures

PATH = "add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"  # of the body of a 409
MAX_REQUEST = MAX_NOTE + 8192  # octets
MAX_ANSWER = 64 << 10
_SIZE = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)


class AddCheckpoint(NamedTuple):
    """A log shows a checkpoint to a witness that has seen the tree of `old` leaves."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old}", *(base64.b64encode(hash_).decode() for hash_ in self.proof), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()


def parse_request(octets: bytes) -> AddCheckpoint:
    """Return the request that `octets` are, nothing of it verified. Raises MalformedLog."""
    if len(octets) > MAX_REQUEST:
        raise MalformedLog(f"the request has more than {MAX_REQUEST} octets")
    head, gap, note = octets.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n", MAX_PROOF + 1)
    except UnicodeDecodeError:
        raise MalformedLog("the request is not ASCII before its note") from None
    if not gap or not first.startswith("old ") or len(lines) > MAX_PROOF:
        raise MalformedLog(f"a request is: old size, up to {MAX_PROOF} hashes, an empty line, a note")
    return AddCheckpoint(_size(first[4:]), tuple(map(_hash, lines)), parse(note))


def parse_cosignatures(octets: bytes) -> tuple[Signature, ...]:
    """Return the lines of a witness's answer, none verified. Raises MalformedLog."""
    return parse_signatures(_text(octets))


def parse_size(octets: bytes) -> int:
    """Return the size that a witness names in a 409. Raises MalformedLog."""
    text = _text(octets)
    if not text.endswith("\n"):
        raise MalformedLog("the size that the witness has does not end with a newline")
    return _size(text[:-1])


def with_signatures(note: Note, more: Sequence[Signature]) -> Note:
    """Return a note with further lines, each once."""
    return Note(note.text, tuple(dict.fromkeys([*note.signatures, *more])))


def _text(octets: bytes) -> str:
    if len(octets) > MAX_ANSWER:
        raise MalformedLog(f"the answer has more than {MAX_ANSWER} octets")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise MalformedLog("the answer is not UTF-8") from None


def _size(text: str) -> int:
    if not _SIZE.fullmatch(text) or int(text) > MAX_SIZE:
        raise MalformedLog("it is no size of a tree")
    return int(text)


def _hash(line: str) -> bytes:
    try:
        hash_ = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedLog("a hash of the proof is not base64") from None
    if len(hash_) != HASH_BYTES:
        raise MalformedLog(f"a hash of the proof has not {HASH_BYTES} octets")
    return hash_
