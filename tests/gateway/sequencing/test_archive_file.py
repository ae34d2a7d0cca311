"""The file has a line for each checkpoint, whatever ended the one before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.sequencing.archive_file import FileArchive, last_lines
from gateway.sequencing.archive_forms import line_of, note_in
from gateway.sequencing.errors import NotArchived
from gateway.tlog.errors import MalformedLog
from tests.gateway.sequencing.commits import opened
from tests.gateway.sequencing.test_archiving import archived


async def test_a_line_each(tmp_path: Path) -> None:
    """Each line holds the note as it was signed, and says of what it is."""
    path = tmp_path / "archive.jsonl"
    for size in (1, 2):
        await FileArchive(path).put(archived(size))
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["size"] for line in lines] == [1, 2]
    assert json.loads(lines[0])["at"] == "2027-01-15T08:00:00.000000Z"
    assert opened(note_in(lines[1])).size == 2
    assert last_lines(path) == lines
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_line_that_was_cut_off(tmp_path: Path) -> None:
    """It stays, the next one stands alone, and nobody takes the end of it for a line."""
    path = tmp_path / "archive.jsonl"
    path.write_bytes(line_of(archived(1)) + line_of(archived(2))[:50])
    assert [json.loads(line)["size"] for line in last_lines(path)] == [1]
    await FileArchive(path).put(archived(3))
    assert json.loads(last_lines(path)[-1])["size"] == 3
    assert path.read_bytes().count(b"\n") == 3


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    """An archive that is not there yet is empty; a long one is read from its end."""
    path = tmp_path / "archive.jsonl"
    assert last_lines(path) == []
    path.write_bytes(line_of(archived(7)) * 4000)
    assert len(last_lines(path)) > 1000
    assert opened(note_in(last_lines(path)[0])).size == 7


async def test_what_cannot_be_written(tmp_path: Path) -> None:
    """A folder, a link, a full disk: it is not archived."""
    for path in (tmp_path, tmp_path / "none" / "file", Path("/dev/full")):
        with pytest.raises(NotArchived, match=str(path)):
            await FileArchive(path).put(archived(1))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotArchived):
        await FileArchive(tmp_path / "link").put(archived(1))


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"note": 1}', b"\xff", b'{"note": "' + b"x" * 200_000 + b'"}'])
def test_what_is_no_line(line: bytes) -> None:
    """A line without a note is refused."""
    with pytest.raises(MalformedLog):
        note_in(line)
