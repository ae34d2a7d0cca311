"""A log's folder, and files of checkpoints, as a stranger reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.proving.archives import Trusted, all_marks, marks_of, notes_of
from gateway.proving.folder import LogFolder
from gateway.proving.whole import Fault, Finding, Mark
from gateway.sequencing.archive_forms import line_of, syslog_frame
from gateway.sequencing.archiving import Archived
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.cosignatures import Cosigner
from gateway.tlog.notes import parse
from gateway.tlog.tiles import Tile
from tests.gateway.proving.logs import MemoryLog, private_key
from tests.gateway.proving.test_whole import LIFE, SIZE, log_of

LOG = log_of()


def written(log: MemoryLog, folder: Path) -> Path:
    """Write a log's files."""
    for path, octets in log.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(octets)
    return folder


def test_a_folder(tmp_path: Path) -> None:
    """Every entry and tile of a folder is read, and nothing beyond its checkpoint."""
    folder = LogFolder(written(LOG, tmp_path))
    assert folder.size == SIZE
    assert folder.note == LOG.notes[-1]
    for index, octets in enumerate(LOG._entries):
        entry = folder.entry(index)
        assert entry is not None
        assert entry.encode() == octets
    assert folder.entry(SIZE) is None
    assert folder.entry(10_000) is None
    assert folder.tile(Tile(0, 1, 256)) == LOG._tiles[0, 1]
    assert folder.tile(Tile(0, 7, 256)) is None


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x00\x35" + bytes(10), b"\xff" * 30_000])
def test_a_damaged_bundle(tmp_path: Path, damage: bytes) -> None:
    """What cannot be read is missing: no more, and no less."""
    (written(LOG, tmp_path) / "tile/entries/001").write_bytes(damage)
    folder = LogFolder(tmp_path)
    assert [folder.entry(index) is None for index in (255, 256, 511, 512)] == [False, True, True, False]


def test_no_folder(tmp_path: Path) -> None:
    """Where there is no log, there is nothing; nor where its checkpoint is none."""
    assert LogFolder(tmp_path / "none").entry(0) is None
    (tmp_path / "checkpoint").write_bytes(b"\xff\x00")
    assert LogFolder(tmp_path).size == 0


def lines(text: bytes) -> list[bytes]:
    """Return the lines of a file."""
    return text.splitlines(keepends=True)


def archived(note: bytes) -> Archived:
    """Return what an archive gets."""
    return Archived(1_800_000_000_000_000, parse_text(parse(note).text), note)


TRUSTED = Trusted(log=LOG.signer.key)


def test_notes_in_a_file() -> None:
    """Notes stand one behind the other, with or without empty lines and comments between them."""
    notes = LOG.notes
    assert list(notes_of(lines(b"".join(notes)))) == notes
    assert list(notes_of(lines(b"# kept by another host\n\n" + b"\n\n# next\n".join(notes) + b"\n"))) == notes
    assert list(notes_of([])) == []


def test_the_lines_of_archives() -> None:
    """The lines that a file and a syslog server get are read, and what a crash has cut off is no checkpoint."""
    kept = [line_of(archived(note)) for note in LOG.notes]
    frames = [syslog_frame(archived(note), "node-1") + b"\n" for note in LOG.notes]
    for text in (kept, frames, [*kept[:3], *LOG.notes[3:5], *frames[5:]]):
        assert list(notes_of(lines(b"".join(text)))) == LOG.notes
    cut = kept[0] + kept[1][:100] + b"\n" + kept[2]
    assert list(notes_of(lines(cut))) == [LOG.notes[0], b"", LOG.notes[2]]
    assert list(notes_of(lines(kept[0] + b'{"note": 7}\n'))) == [LOG.notes[0], b""]
    marks, findings, empty, *_ = all_marks([(lines(cut), "x", False)], TRUSTED)
    assert ([mark.size for mark in marks], findings, empty) == ([1, 100], [], 1)


def test_checkpoints_in_a_file() -> None:
    """Those that the log has signed are taken; each other one is told by its place, and hides none behind it."""
    other = MemoryLog(key=2)
    other.append(LIFE[:3])
    notes = LOG.notes
    text = notes[0] + other.notes[0] + notes[1].replace(b"\n2\n", b"\n3\n") + notes[2] + b"what is this?\n"
    found = list(marks_of(lines(text), "the archive", TRUSTED))
    told = [one.text[:12] if isinstance(one, Finding) else one.size for one in found if isinstance(one, Mark | Finding)]
    assert told == [1, "checkpoint 2", "checkpoint 3", 100, "checkpoint 5"]
    assert len(told) == len(found)
    assert {one.fault for one in found if isinstance(one, Finding)} == {Fault.CHECKPOINT}


def test_checkpoints_of_another_log() -> None:
    """An archive goes on when a log has ended and another begun: what names the other is counted, and no fault."""
    other = MemoryLog("log.example/smsgw-2")
    other.append(LIFE[:3])
    found = all_marks([(lines(other.notes[0] + LOG.notes[0]), "x", False)], TRUSTED)
    assert ([mark.size for mark in found.marks], found.findings, found.others) == ([1], [], 1)


def test_one_that_is_kept_again_and_again() -> None:
    """A checkpoint that was published again counts once."""
    assert len(list(marks_of(lines(LOG.notes[2] * 5), "x", TRUSTED))) == 1


def test_checkpoints_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more checkpoints than there is room for some are left out, never the newest of a file; and that is told."""
    monkeypatch.setattr("gateway.proving.archives.MAX_MARKS", 20)
    log = log_of(LIFE, range(1, 102))
    files = [(lines(b"".join(log.notes[:90])), "x", False), (lines(b"".join(log.notes[90:])), "y", False)]
    found = all_marks(files, Trusted(log=log.signer.key))
    assert 10 <= len(found.marks) <= 22
    assert found.left_out == 101 - len(found.marks)
    assert {90, 101} <= {mark.size for mark in found.marks}
    assert [mark.size for mark in found.marks] == sorted({mark.size for mark in found.marks})


def test_checkpoints_with_witnesses() -> None:
    """Where witnesses are asked for, a checkpoint without them is none; the log's own newest one may be."""
    witness = Cosigner("witness.example.org", private_key(7))
    log = MemoryLog(witnesses=[witness])
    text = log.append(LIFE[:5])
    trusted = Trusted(log=log.signer.key, witnesses=(witness.key,), quorum=1)
    (mark,) = marks_of(lines(text), "x", trusted)
    assert isinstance(mark, Mark)
    stripped = lines(text[: text.index("\u2014 witness".encode())])
    (finding,) = marks_of(stripped, "x", trusted)
    assert isinstance(finding, Finding)
    marks, findings, *_ = all_marks([(stripped, "folder", True), (stripped, "archive", False)], trusted)
    assert ([mark.where for mark in marks], len(findings)) == (["folder"], 1)
