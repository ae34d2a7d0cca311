"""The folder is that of C2SP tlog-tiles, whole at each checkpoint, and never more readable than it says."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.sequencing.errors import LogNotWritten
from gateway.sequencing.files import LogFiles, tiles_between
from gateway.tlog import proofs
from gateway.tlog.tiles import ENTRIES, Tile
from tests.gateway.tlog.trees import grown


def test_which_tiles_are_new() -> None:
    """Between two sizes those that changed are named, with the width at the new one."""
    assert list(tiles_between(0, 1)) == [Tile(ENTRIES, 0, 1), Tile(0, 0, 1)]
    assert list(tiles_between(255, 257)) == [
        Tile(ENTRIES, 0, 256), Tile(ENTRIES, 1, 1), Tile(0, 0, 256), Tile(0, 1, 1), Tile(1, 0, 1),
    ]  # fmt: skip
    assert list(tiles_between(7, 7)) == []


@pytest.mark.parametrize("steps", [(300,), (1, 2, 255, 256, 300), (256, 300)])
def test_the_folder_has_all_that_a_proof_needs(tmp_path: Path, steps: tuple[int, ...]) -> None:
    """However the log has grown, every tile of the newest size is in its place, and no partial one beside a full."""
    files = LogFiles(tmp_path / "log")
    size = 0
    for step in steps:
        _, tiles = grown(step)
        every = {tile: tiles.get(tile, b"bundle") for tile in tiles_between(size, step)}
        files.write_tiles(every)
        files.write_checkpoint(b"checkpoint of %d" % step)
        size = step
    edge, tiles = grown(size)
    read = {tile: (tmp_path / "log" / tile.path).read_bytes() for tile in proofs.root_tiles(size)}
    assert proofs.root(size, read) == edge.root
    assert files.read_checkpoint() == b"checkpoint of 300"
    assert not (tmp_path / "log" / "tile" / "0" / "000.p").exists()
    assert (tmp_path / "log" / "tile" / "0" / "001.p" / "44").is_file()


def test_rights(tmp_path: Path) -> None:
    """A web server of another user could read files and folders; nothing half written is left."""
    files = LogFiles(tmp_path / "log")
    files.write_tiles({Tile(0, 1234067, 256): bytes(8192)})
    files.write_checkpoint(b"x")
    path = tmp_path / "log" / "tile" / "0" / "x001" / "x234" / "067"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:5]} == {0o755}
    assert [file.name for file in (tmp_path / "log").rglob(".*")] == []


def test_a_folder_is_emptied(tmp_path: Path) -> None:
    """Nothing of the log is left, and what else lies there stays."""
    files = LogFiles(tmp_path / "log")
    files.clear()
    files.write_tiles({Tile(0, 0, 1): bytes(32)})
    files.write_checkpoint(b"x")
    (tmp_path / "log" / "robots.txt").write_text("")
    assert files.has_tiles
    files.clear()
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["robots.txt"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """A folder that is none is told, with its path; a folder without a checkpoint has none."""
    assert LogFiles(tmp_path / "log").read_checkpoint() is None
    (tmp_path / "log").write_text("a file")
    files = LogFiles(tmp_path / "log")
    with pytest.raises(LogNotWritten, match="log"):
        files.write_checkpoint(b"x")
    with pytest.raises(LogNotWritten, match="log"):
        files.write_tiles({Tile(0, 0, 1): bytes(32)})
    with pytest.raises(LogNotWritten, match="log"):
        files.read_checkpoint()
