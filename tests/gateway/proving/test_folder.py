"""A log's folder, and files of checkpoints, as a stranger reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.proving.archives import marks_of, notes_of
from gateway.proving.folder import LogFolder
from gateway.proving.whole import Fault, Finding, Mark
from gateway.tlog.cosignatures import Cosigner
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


def test_notes_in_a_file() -> None:
    """Notes stand one behind the other, with or without empty lines and comments between them."""
    notes = [note.decode() for note in LOG.notes]
    assert list(notes_of("".join(notes))) == notes
    assert list(notes_of("# kept by another host\n\n" + "\n\n# next\n".join(notes) + "\n")) == notes
    assert list(notes_of("")) == []


def test_checkpoints_in_a_file() -> None:
    """Those that the log has signed are taken; each other one is told by its place, and hides none behind it."""
    other = MemoryLog(key=2)
    other.append(LIFE[:3])
    notes = [note.decode() for note in LOG.notes]
    text = notes[0] + other.notes[0].decode() + notes[1].replace("\n2\n", "\n3\n") + notes[2] + "what is this?\n"
    found = list(marks_of(text, "the archive", LOG.signer.key))
    assert [one.size if isinstance(one, Mark) else one.text[:12] for one in found] == [
        1, "checkpoint 2", "checkpoint 3", 100, "checkpoint 5",
    ]  # fmt: skip
    assert {one.fault for one in found if isinstance(one, Finding)} == {Fault.CHECKPOINT}


def test_checkpoints_with_witnesses() -> None:
    """Where witnesses are asked for, a checkpoint without them is none."""
    witness = Cosigner("witness.example.org", private_key(7))
    log = MemoryLog(witnesses=[witness])
    log.append(LIFE[:5])
    text = log.notes[0].decode()
    (mark,) = marks_of(text, "x", log.signer.key, witnesses=[witness.key], quorum=1)
    assert isinstance(mark, Mark)
    stripped = text[: text.index("\u2014 witness")]
    (finding,) = marks_of(stripped, "x", log.signer.key, witnesses=[witness.key], quorum=1)
    assert isinstance(finding, Finding)
