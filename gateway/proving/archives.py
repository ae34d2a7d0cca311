"""Checkpoints as they are kept elsewhere, each verified by the log's key.

A file holds them in any of three forms, also one after the other: lines of JSON as the archives of a node get them;
lines of a syslog server, which end with the same JSON; notes, one behind the other. Empty lines and lines that begin
with # do not matter. What claims to be a checkpoint and is none is told; a line that says nothing is counted, since a
crash may have cut it off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.proving.whole import MAX_FINDINGS, Fault, Finding, Mark
from gateway.sequencing.archive_forms import note_in
from gateway.tlog.checkpoints import open_checkpoint, parse_text
from gateway.tlog.cosignatures import require_quorum
from gateway.tlog.errors import MalformedLog, TlogError
from gateway.tlog.notes import MAX_NOTE, VerifyingKey, parse

MAX_MARKS = 500_000  # that are compared: a checkpoint a second, for six days; of more, some
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


class OtherLog(NamedTuple):
    """A checkpoint that names another log."""

    origin: str


def _origin(note: bytes) -> str:
    """Return which log a note says to be of; "" for none."""
    try:
        return parse_text(parse(note).text).origin
    except TlogError:
        return ""


def marks_of(
    lines: Iterable[bytes], where: str, trusted: Trusted, *, published: bool = False
) -> Iterator[Mark | Finding | OtherLog | None]:
    """Yield the checkpoints of a file that are the log's, and cosigned as is asked for; a finding for each that is not;
    what names another log, as it was before that had to begin anew; None for a line that holds none. One that comes
    again behind itself comes once."""
    last = None
    for number, note in enumerate(notes_of(lines), 1):
        if not note:
            yield None
            continue
        try:
            checkpoint, opened = open_checkpoint(note, trusted.log.name, [trusted.log])
            require_quorum(opened, trusted.witnesses, trusted.quorum)
        except TlogError as error:
            if (other := _origin(note)) not in {"", trusted.log.name}:
                yield OtherLog(other)
                continue
            yield Finding(Fault.CHECKPOINT, f"checkpoint {number} of {where}: {error}")
            continue
        mark = Mark(checkpoint.size, checkpoint.root, where, published)
        if mark != last:
            yield mark
        last = mark


class Found(NamedTuple):
    """The checkpoints that were found, what is wrong with others, how many lines hold none, how many of the checkpoints
    there is no room to compare (their signatures are right), and how many name another log, which says nothing."""

    marks: list[Mark]
    findings: list[Finding]
    empty: int
    left_out: int
    others: int = 0


def all_marks(files: Sequence[tuple[Iterable[bytes], str, bool]], trusted: Trusted) -> Found:
    """Return what `marks_of` yields of some files (lines, name, whether it is the log's own). The log's own newest
    checkpoint needs no witnesses. Where there are too many, each second one is left out, and again: what is left still
    covers all, and the newest of each file is always there."""
    kept: list[Mark] = []
    findings: list[Finding] = []
    empty = seen = others = 0
    stride = 1
    for lines, where, published in files:
        wanted = Trusted(log=trusted.log) if published else trusted
        last: Mark | None = None
        for found in marks_of(lines, where, wanted, published=published):
            if found is None:
                empty += 1
            elif isinstance(found, OtherLog):
                others += 1
            elif isinstance(found, Finding):
                findings += [found] if len(findings) < MAX_FINDINGS else []
            else:
                seen, last = seen + 1, found
                if not seen % stride:
                    kept.append(found)
                if len(kept) > MAX_MARKS:
                    kept, stride = kept[::2], stride * 2
        if last is not None and last not in kept[-1:]:
            kept.append(last)
    return Found(kept, findings, empty, seen - len(kept), others)
