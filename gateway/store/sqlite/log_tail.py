"""Whether SQLite has left out, at the end of the write-ahead log, what had been committed and told.

After a crash SQLite takes the log up to the first frame whose checksum is wrong, and says nothing of the rest: it is
meant to be the commit that was under way. With damage (a bad sector, a stray write) it is also every commit after it.
The two can be told apart: every commit is synced before the next begins, so at most one was under way. Two commits in
one unbroken chain of checksums behind the end that SQLite found have been on disk one after the other, so the first of
them was told. Attempts that failed, as on a full disk, leave frames behind too, each a chain with one commit.

Layouts: https://www.sqlite.org/fileformat2.html#the_write_ahead_log and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.errors import StoreCorrupt

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoints, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, pages of the database after a commit (else 0), two salts, two checksums
_MAGIC = 0x377F0682  # and 1 more where checksums read big-endian words
_INDEX_VERSION = 3_007_000
_TOLD = 2  # commits in one chain, of which the first was told


class _Frame(NamedTuple):
    number: int
    page: int
    commit: bool
    salts: tuple[int, int]
    sums: tuple[int, int]


def require_whole(database: Path) -> None:
    """Look behind the end of the log that a connection has just found: it is open, and has written nothing yet.

    Raises StoreCorrupt when commits stand there that were told.
    """
    log = Path(f"{database}-wal")
    taken = _frames_taken(Path(f"{database}-shm"))
    if taken is None or not log.exists() or log.stat().st_size <= _HEADER.size + _FRAME.size:
        return
    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        found = _Log(octets, _page_bytes(database))
        if found.commits_behind(taken) >= _TOLD:
            end = found.place(taken)
            raise StoreCorrupt(
                f"the write-ahead log {log} is damaged at octet {end}: commits that were acknowledged stand behind it,"
                " and would be lost. Copy the database and its log to a safe place and bring the log back whole; or, to"
                f" go on without them, cut it off there: truncate -s {end} {log}"
            )


def _frames_taken(index: Path) -> int | None:
    """Return how many frames SQLite has taken, from the index that it shares with its other connections; None where
    there is none."""
    try:
        with index.open("rb") as file:
            version, taken = struct.unpack("=I12xI", file.read(20))
    except (FileNotFoundError, struct.error):
        return None
    return taken if version == _INDEX_VERSION else None


def _page_bytes(database: Path) -> int:
    with database.open("rb") as file:
        file.seek(16)
        (size,) = struct.unpack(">H", file.read(2))
    return 65_536 if size == 1 else int(size)


class _Log:
    """The frames of a log."""

    def __init__(self, octets: mmap.mmap, page_bytes: int) -> None:
        self._octets = octets
        magic, _, size, _, *salts_and_sums = _HEADER.unpack_from(octets)
        self._order = ">" if magic == _MAGIC + 1 else "<"  # of a damaged header: that of nearly all machines
        self._page_bytes = size if magic | 1 == _MAGIC + 1 else page_bytes
        self._words = struct.Struct(f"{self._order}{2 + self._page_bytes // 4}I")
        # A log that began again at its beginning has frames behind its end that were moved into the database long ago:
        # by their salts they are of another. Where the header is damaged, the first frame has to say which are its own.
        head = struct.unpack(f"{self._order}6I", octets[:24])
        sound = magic | 1 == _MAGIC + 1 and _sums(head, (0, 0)) == tuple(salts_and_sums[2:])
        self._salts = tuple(salts_and_sums[:2]) if sound else next(self._frames(0)).salts

    def place(self, number: int) -> int:
        """Return where a frame begins."""
        return _HEADER.size + number * (_FRAME.size + self._page_bytes)

    def commits_behind(self, taken: int) -> int:
        """Return the most commits that stand in one chain behind so many frames, as far as that matters."""
        most = commits = 0
        last: _Frame | None = None
        for frame in self._frames(taken):
            if frame.salts != self._salts:
                last, commits = None, 0
                continue
            if last is None or not self._follows(frame, last):
                commits = 0
            # The frame that ends a commit may be there twice, to fill up a sector.
            if frame.commit and not (last is not None and last.commit and last.page == frame.page):
                commits += 1
                most = max(most, commits)
                if most >= _TOLD:
                    break
            last = frame
        return most

    def _frames(self, number: int) -> Iterator[_Frame]:
        """Yield the frames from one on, as far as the file goes."""
        while self.place(number + 1) <= len(self._octets):
            page, pages, *rest = _FRAME.unpack_from(self._octets, self.place(number))
            yield _Frame(number, page, pages != 0, (rest[0], rest[1]), (rest[2], rest[3]))
            number += 1

    def _follows(self, frame: _Frame, last: _Frame) -> bool:
        """Say whether a frame was written behind the last one, by its checksum."""
        at = self.place(frame.number)
        octets = self._octets[at : at + 8] + self._octets[at + _FRAME.size : self.place(frame.number + 1)]
        return _sums(self._words.unpack(octets), last.sums) == frame.sums


def _sums(words: Sequence[int], before: tuple[int, int]) -> tuple[int, int]:
    """Return the checksums that go on from others over more words."""
    first, second = before
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
