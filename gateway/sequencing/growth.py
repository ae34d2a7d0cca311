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
from gateway.tlog.entries import Entry, entry_of
from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import leaf_hash
from gateway.tlog.tiles import ENTRIES, WIDTH, bundle
from gateway.tlog.tree import Edge, grow


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
    """The right edge of the log: of its tree, and the entries of the last bundle while that is partial."""

    edge: Edge = Edge()  # noqa: RUF009 - frozen
    tail: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """Leaves."""
        return self.edge.size

    def take(self, commits: Sequence[StoredCommit]) -> tuple[Growth, tuple[LogTile, ...]]:
        """Return the edge behind these commits, and what changed. Raises LogBroken for a gap, or what is no commit."""
        entries = [entry_for(commit, self.size + 1 + at).encode() for at, commit in enumerate(commits)]
        edge, changed = grow(self.edge, [leaf_hash(entry) for entry in entries])
        tiles = [LogTile(tile.level, tile.number, tile.width, octets) for tile, octets in changed.items()]
        whole = [*self.tail, *entries]
        first = self.size // WIDTH
        for at in range(0, len(whole), WIDTH):
            some = whole[at : at + WIDTH]
            tiles.append(LogTile(ENTRIES, first + at // WIDTH, len(some), bundle(some)))
        tail = tuple(whole[len(whole) // WIDTH * WIDTH :])
        return Growth(edge=edge, tail=tail), tuple(tiles)


def entry_for(commit: StoredCommit, seq: int) -> Entry:
    """Return the entry of the commit that should be number `seq`. Raises LogBroken when it is another, or none."""
    time.sleep(0)  # lets go of the interpreter: a thread that computes would keep it for 5 ms
    if commit.seq != seq:
        raise LogBroken(f"commit {seq} of the audit is missing: {commit.seq} follows {seq - 1}")
    try:
        entry = entry_of(commit.seq, commit.at, commit.records)
    except MalformedLog as error:
        raise LogBroken(f"commit {seq} of the audit cannot be read: {error}") from error
    if entry.number != commit.number:
        raise LogBroken(f"commit {seq} of the audit has {entry.number} records, and says {commit.number}")
    return entry
