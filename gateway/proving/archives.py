"""Checkpoints as they are kept: notes in a file, one behind the other, each verified by the log's key.

A note ends with its signatures, and what follows is the next one; empty lines and lines that begin with # between them
do not matter. What is none is told, and the others are read on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.proving.whole import Fault, Finding, Mark
from gateway.tlog.checkpoints import open_checkpoint
from gateway.tlog.cosignatures import require_quorum
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import VerifyingKey

_MARK = "\u2014 "


def notes_of(text: str) -> Iterator[str]:
    """Yield the notes of a file, nothing of them verified."""
    lines: list[str] = []
    signed = False
    for line in text.splitlines(keepends=True):
        if signed and not line.startswith(_MARK):
            yield "".join(lines)
            lines, signed = [], False
        if not lines and (not line.strip() or line.startswith("#")):
            continue
        lines.append(line)
        signed = signed or line.startswith(_MARK)
    if lines:
        yield "".join(lines)


def marks_of(
    text: str,
    where: str,
    key: VerifyingKey,
    *,
    witnesses: Sequence[VerifyingKey] = (),
    quorum: int = 0,
    published: bool = False,
) -> Iterator[Mark | Finding]:
    """Yield the checkpoints of a file that are the log's and cosigned by `quorum` of the witnesses, and a finding for
    each that is not."""
    for number, note in enumerate(notes_of(text), 1):
        try:
            checkpoint, opened = open_checkpoint(note.encode(), key.name, [key])
            require_quorum(opened, witnesses, quorum)
        except TlogError as error:
            yield Finding(Fault.CHECKPOINT, f"checkpoint {number} of {where}: {error}")
            continue
        yield Mark(checkpoint.size, checkpoint.root, where, published)
