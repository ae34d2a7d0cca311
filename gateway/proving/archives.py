"""Checkpoints as they are kept elsewhere, each verified by the log's key.

A file holds them in any of three forms, also one after the other: lines of JSON as the archives of a node get them;
lines of a syslog server, which end with the same JSON; notes, one behind the other. Empty lines and lines that begin
with # do not matter. What claims to be a checkpoint and is none is told; a line that says nothing is counted, since a
crash may have cut it off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.proving.whole import Fault, Finding, Mark
from gateway.sequencing.archive_forms import note_in
from gateway.tlog.checkpoints import open_checkpoint
from gateway.tlog.cosignatures import require_quorum
from gateway.tlog.errors import MalformedLog, TlogError
from gateway.tlog.notes import MAX_NOTE, VerifyingKey

MAX_MARKS = 500_000  # of one look: a checkpoint a second, for six days
_MARK = "\u2014 ".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Whose signatures count: the log's, and those of `quorum` of the witnesses."""

    log: VerifyingKey
    witnesses: tuple[VerifyingKey, ...] = ()
    quorum: int = 0


def notes_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the notes of a file, nothing of them verified; b"" for a line that holds none. `lines` keep their ends."""
    note: list[bytes] = []
    signed = False
    for line in lines:
        if signed and not line.startswith(_MARK):
            yield b"".join(note)
            note, signed = [], False
        if not note and (not line.strip() or line.startswith(b"#")):
            continue
        if not note and b"{" in line:
            yield _in_json(line)
            continue
        note.append(line[: MAX_NOTE + 1])
        signed = signed or line.startswith(_MARK)
        if len(note) > MAX_NOTE:  # no note has so many lines
            yield b""
            note, signed = [], False
    if note:
        yield b"".join(note)


def _in_json(line: bytes) -> bytes:
    try:
        return note_in(line[line.index(b"{") :])
    except MalformedLog:
        return b""


def marks_of(
    lines: Iterable[bytes], where: str, trusted: Trusted, *, published: bool = False
) -> Iterator[Mark | Finding | None]:
    """Yield the checkpoints of a file that are the log's, and cosigned as is asked for; a finding for each that is not;
    None for a line that holds none. One that comes again behind itself comes once."""
    last = None
    for number, note in enumerate(notes_of(lines), 1):
        if not note:
            yield None
            continue
        try:
            checkpoint, opened = open_checkpoint(note, trusted.log.name, [trusted.log])
            require_quorum(opened, trusted.witnesses, trusted.quorum)
        except TlogError as error:
            yield Finding(Fault.CHECKPOINT, f"checkpoint {number} of {where}: {error}")
            continue
        mark = Mark(checkpoint.size, checkpoint.root, where, published)
        if mark != last:
            yield mark
        last = mark


def all_marks(
    files: Sequence[tuple[Iterable[bytes], str, bool]], trusted: Trusted
) -> tuple[list[Mark], list[Finding], int]:
    """Return what `marks_of` yields of some files (lines, name, whether it is the log's own), and how many lines hold
    nothing. The log's own newest checkpoint needs no witnesses. Raises MalformedLog for more than can be looked at."""
    marks: list[Mark] = []
    findings: list[Finding] = []
    empty = 0
    for lines, where, published in files:
        wanted = Trusted(log=trusted.log) if published else trusted
        for found in marks_of(lines, where, wanted, published=published):
            if isinstance(found, Mark):
                marks.append(found)
            elif found is None:
                empty += 1
            else:
                findings.append(found)
            if len(marks) + len(findings) > MAX_MARKS:
                raise MalformedLog(f"{where} has more than {MAX_MARKS} checkpoints: give it in parts")
    return marks, findings, empty
