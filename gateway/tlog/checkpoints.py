"""Size and root of a log's tree at a moment, as the text of a note (C2SP tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import HASH_BYTES, MAX_SIZE
from gateway.tlog.notes import Note, VerifyingKey, parse, verify

MAX_ORIGIN = 255  # octets
MAX_EXTENSIONS = 16
MAX_EXTENSION = 1024  # octets of one
_SIZE = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The first `size` leaves of the log `origin` have this root. `extensions`: further lines, which nobody audits."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as the text of a note. Raises MalformedLog for a value that cannot be written."""
        _require(self)
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines)


def _require(checkpoint: Checkpoint) -> None:
    lines = [checkpoint.origin, *checkpoint.extensions]
    if not all(lines) or any(not line.isprintable() for line in lines):
        raise MalformedLog("a line of the checkpoint is empty, or holds what cannot be printed")
    if len(checkpoint.origin.encode()) > MAX_ORIGIN:
        raise MalformedLog(f"the origin has more than {MAX_ORIGIN} octets")
    if len(checkpoint.extensions) > MAX_EXTENSIONS or any(len(one.encode()) > MAX_EXTENSION for one in lines[1:]):
        raise MalformedLog(f"there are more than {MAX_EXTENSIONS} extension lines, or one is too long")
    if not 0 <= checkpoint.size <= MAX_SIZE or len(checkpoint.root) != HASH_BYTES:
        raise MalformedLog("size or root of the checkpoint are out of range")


def parse_text(text: str) -> Checkpoint:
    """Return the checkpoint that the text of a note is. Raises MalformedLog."""
    lines = text.split("\n", MAX_EXTENSIONS + 5)
    if len(lines) < 4 or lines.pop() or not _SIZE.fullmatch(lines[1]):
        raise MalformedLog("the text of a checkpoint is: origin, size, root hash, each with a newline")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        raise MalformedLog("the root hash of the checkpoint is not base64") from None
    checkpoint = Checkpoint(origin=lines[0], size=int(lines[1]), root=root, extensions=tuple(lines[3:]))
    if checkpoint.text() != text:
        raise MalformedLog("the checkpoint is not in its one form")
    return checkpoint


def open_checkpoint(octets: bytes, origin: str, keys: Iterable[VerifyingKey]) -> tuple[Checkpoint, Note]:
    """Return the checkpoint of the log `origin` that `octets` are, signed by one of these keys at least, and its note.
    Raises MalformedLog or BadSignature."""
    note = parse(octets)
    verify(note, keys)
    checkpoint = parse_text(note.text)
    if checkpoint.origin != origin:
        raise MalformedLog("the checkpoint is that of another log")
    return checkpoint, note
