"""How the log grows: commits of the audit become leaves, and these tiles and bundles. Nothing here waits.

It is what costs something for each message, and runs in a thread: four records take 3 µs. Between two commits the
thread lets go of the interpreter, for whoever waits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.sequencing.errors import LogBroken
from gateway.store.sequencing import LogTile
from gateway.tlog.entries import Entry, record_hashes
from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import leaf_hash, root_of
from gateway.tlog.tiles import ENTRIES, MAX_ENTRY, WIDTH, bundle
from gateway.tlog.tree import Edge, grow

# The level of hints in the store: for each commit of a bundle, the first octet of each record's hash, behind a length.
# They are not signed, and prove nothing: when a commit was changed, they say which of its records was.
HINTS = -2


class StoredCommit(Protocol):
    """A commit as the store has it (`gateway.store.contract.AuditCommit`)."""

    @property
    def seq(self) -> int:
        """Its place, from 1."""

    @property
    def at(self) -> int:
        """When it was committed, microseconds since the Unix epoch."""

    @property
    def number(self) -> int:
        """How many records it has."""

    @property
    def records(self) -> bytes:
        """Their frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The right edge of the log: of its tree, and entries and hints of the last bundle while that is partial."""

    edge: Edge = Edge()  # noqa: RUF009 - frozen
    tail: tuple[bytes, ...] = ()
    hints: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """Leaves."""
        return self.edge.size

    def take(self, commits: Sequence[StoredCommit]) -> tuple[Growth, tuple[LogTile, ...]]:
        """Return the edge behind these commits, and what changed. Raises LogBroken for a gap, or what is no commit."""
        read = [read_commit(commit, self.size + 1 + at) for at, commit in enumerate(commits)]
        entries = [entry.encode() for entry, _ in read]
        edge, changed = grow(self.edge, [leaf_hash(entry) for entry in entries])
        tiles = [LogTile(tile.level, tile.number, tile.width, octets) for tile, octets in changed.items()]
        tail = self._bundled(ENTRIES, [*self.tail, *entries], tiles)
        hints = self._bundled(HINTS, [*self.hints, *(hint for _, hint in read)], tiles)
        return Growth(edge=edge, tail=tail, hints=hints), tuple(tiles)

    def _bundled(self, level: int, whole: Sequence[bytes], tiles: list[LogTile]) -> tuple[bytes, ...]:
        """Add the bundles that these make from the last partial one on; return what stands in the last, if partial."""
        first = self.size // WIDTH
        for at in range(0, len(whole), WIDTH):
            some = whole[at : at + WIDTH]
            tiles.append(LogTile(level, first + at // WIDTH, len(some), bundle(some)))
        return tuple(whole[len(whole) // WIDTH * WIDTH :])


def read_commit(commit: StoredCommit, seq: int) -> tuple[Entry, bytes]:
    """Return the entry of the commit that should be number `seq`, and the hints of its records (hot). Raises LogBroken
    when it is another commit, or none."""
    time.sleep(0)  # lets go of the interpreter: a thread that computes would keep it for 5 ms
    if commit.seq != seq:
        raise LogBroken(f"commit {seq} of the audit is missing: {commit.seq} follows {seq - 1}")
    try:
        hashes = record_hashes(commit.records)
    except MalformedLog as error:
        raise LogBroken(f"commit {seq} of the audit cannot be read: {error}") from error
    if len(hashes) != commit.number:
        raise LogBroken(f"commit {seq} of the audit has {len(hashes)} records, and says {commit.number}")
    hints = bytes([hash_[0] for hash_ in hashes])
    return Entry(seq, commit.at, len(hashes), root_of(hashes)), hints if len(hints) <= MAX_ENTRY else b""
