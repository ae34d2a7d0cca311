"""Is the audit what was signed? Every commit against the log, and the log against every checkpoint there is. Sans-IO.

Two trees grow side by side: one of the commits as the audit has them, and one of the entries that the log has kept of
them. A checkpoint is one of the first, or of the second, or of neither:

    of the audit's tree        everything up to there is what was signed
    of the entries' tree only  the entries are what was signed, and tell which commits of the audit are not
    of neither                 audit and log were altered together, behind the last checkpoint that is right; or, when
                               a later one is right again, the checkpoint is of another history: the log was forked

What is wrong is named: which commit, which record where it can be told, between which checkpoints.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.audit.codec import decode, split
from gateway.audit.fields import Malformed
from gateway.tlog.entries import Entry, entry_of, record_hashes
from gateway.tlog.errors import MalformedLog
from gateway.tlog.tiles import Tile, edge_of
from gateway.tlog.tree import Edge, grow

MAX_FINDINGS = 100  # that are told; the rest is counted
_CHUNK = 1024  # leaves that a tree grows by at once


class Fault(enum.StrEnum):
    """What is wrong."""

    MISSING = "commits are missing"
    ALTERED = "a commit was altered"
    UNREADABLE = "a record cannot be read"
    MOVED = "a commit stands in another's place"
    REWRITTEN = "audit and log were altered together"
    FORKED = "a checkpoint is of another history"
    TRUNCATED = "the end was cut off"
    ENTRY = "an entry of the log was altered"
    TILE = "a tile of the log was altered"
    CHECKPOINT = "a checkpoint is none of this log's"


class Finding(NamedTuple):
    """One thing that is wrong. `seq` 0: no single commit; `record` -1: no single record."""

    fault: Fault
    text: str
    seq: int = 0
    record: int = -1


class StoredCommit(Protocol):
    """A commit as the audit has it."""

    @property
    def seq(self) -> int:
        """Its place, from 1."""

    @property
    def at(self) -> int:
        """When it was committed, microseconds since the Unix epoch."""

    @property
    def records(self) -> bytes:
        """The frames of its records."""


class Mark(NamedTuple):
    """A checkpoint whose signature has been verified: size, root, and where it was found."""

    size: int
    root: bytes
    where: str
    published: bool = False  # beside the log's own tiles

    def __str__(self) -> str:
        return f"the checkpoint of {self.size} in {self.where}"


@dataclass(slots=True)
class Verified:
    """How far it is, and what was found."""

    commits: int = 0
    records: int = 0
    checkpoints: int = 0  # that are right
    last: Mark | None = None  # the largest of these
    findings: list[Finding] = field(default_factory=list)
    more: int = 0  # findings that are not told

    def add(self, finding: Finding) -> None:
        """Take a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.more += 1


class _Tree:
    """Leaves in order, and the roots at sizes that are asked for in ascending order. `made` is told of full tiles."""

    def __init__(self, made: Callable[[Tile, bytes], None] = lambda _tile, _octets: None) -> None:
        self._made = made
        self._edge = Edge()
        self.right = 0  # leaves under the largest checkpoint that it was found right by
        self._waiting: list[bytes] = []
        self.whole = True  # False: leaves are missing, and there are no roots any more

    def add(self, leaf: bytes | None) -> None:
        if leaf is None:
            self.whole = False
        elif self.whole:
            self._waiting.append(leaf)
            if len(self._waiting) >= _CHUNK:
                self._grow()

    def root(self) -> bytes | None:
        self._grow()
        return self._edge.root if self.whole else None

    def edge(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the partial tiles."""
        for tile in edge_of(self._edge.size):
            yield tile, b"".join(self._edge.levels[tile.level])

    def _grow(self) -> None:
        self._edge, changed = grow(self._edge, self._waiting)
        self._waiting.clear()
        for tile, octets in changed.items():
            if tile.full:
                self._made(tile, octets)


class WholeLog:
    """One look at a whole log. Feed it every commit, in the order of the audit, then `finish`.

    `marks`: the checkpoints. `entries`: what the log has kept of each commit, by its place from 0, None where it has
    nothing: it is asked in ascending order. `pruned`: the records of commits up to this one may be gone. `hints`: the
    first octets of the hashes of a commit's records, by its place from 0, where they are at hand: they prove nothing,
    and tell which record it was.
    """

    def __init__(
        self,
        marks: Sequence[Mark],
        entries: EntrySource,
        *,
        pruned: int = 0,
        hints: Callable[[int], bytes] = lambda _index: b"",
    ) -> None:
        self._marks = sorted(marks, key=lambda mark: mark.size)
        self._entries = entries
        self._hints = hints
        self._pruned = pruned
        self._audit, self._log = _Tree(), _Tree(self._compare_tile)
        self._size = 0
        self._next_mark = 0
        self._wrong: list[tuple[Mark, Mark | None]] = []  # a checkpoint of neither tree, and the last right one before
        # Of the audit and of the log, and which records they differ by.
        self._differing: list[tuple[Entry | None, Entry, tuple[int, ...]]] = []
        self.verified = Verified()
        self._compare_marks()

    def take(self, commit: StoredCommit) -> None:
        """Look at the next commit."""
        expected = self._size + 1
        if commit.seq < expected:
            text = f"commit {commit.seq} comes a second time"
            self.verified.add(Finding(Fault.MOVED, text, commit.seq))
            return
        if commit.seq > expected:
            self._skip(expected, commit.seq)
        self._one(commit)

    def finish(self) -> Verified:
        """Say what was found: the audit has no further commit."""
        after = self._entries.entry(self._size)
        if after is not None:
            text = f"the audit ends with commit {self._size}; the log has more"
            self.verified.add(Finding(Fault.TRUNCATED, text, self._size + 1))
        for mark in self._marks[self._next_mark :]:
            text = f"the audit ends with commit {self._size}; {mark} covers more"
            self.verified.add(Finding(Fault.TRUNCATED, text, self._size + 1))
        self._tell_differing()
        self._tell_wrong()
        return self.verified

    def _skip(self, first: int, end: int) -> None:
        """Commits `first` to `end` (excluded) are not there; the log may have their leaves."""
        missing = [seq for seq in range(first, end) if seq > self._pruned]
        if missing:
            names = str(missing[0]) if len(missing) == 1 else f"{missing[0]} to {missing[-1]}"
            self.verified.add(Finding(Fault.MISSING, f"commit {names} of the audit is missing", missing[0]))
        for seq in range(first, end):
            entry = self._entries.entry(seq - 1)
            leaf = None if entry is None else entry.leaf
            self._audit.add(leaf if seq <= self._pruned else None)
            self._log.add(leaf)
            self._grown()
            if leaf is None:  # nothing can be known of what follows: so no loop over a gap of any size
                self._size = end - 1
                break

    def _one(self, commit: StoredCommit) -> None:
        made = self._made(commit)
        kept = self._entries.entry(commit.seq - 1)
        if kept is not None and made != kept:
            self._differing.append((made, kept, self._altered_records(commit)))
        if made is None or (kept is not None and made != kept):
            for finding in unreadable_records(commit):
                self.verified.add(finding)
        self._audit.add(None if made is None else made.leaf)
        self._log.add(None if kept is None else kept.leaf)
        self.verified.commits += 1
        self.verified.records += 0 if made is None else made.number
        self._grown()

    def _made(self, commit: StoredCommit) -> Entry | None:
        """Return the entry of a commit as the audit has it; None where it cannot be read."""
        try:
            return entry_of(commit.seq, commit.at, commit.records)
        except MalformedLog:
            return None

    def _altered_records(self, commit: StoredCommit) -> tuple[int, ...]:
        """Return which records of a commit are others, as far as hints tell."""
        hinted = self._hints(commit.seq - 1)
        try:
            made = bytes([hash_[0] for hash_ in record_hashes(commit.records)])
        except MalformedLog:
            return ()
        if len(made) != len(hinted):
            return ()
        return tuple(number for number, (one, other) in enumerate(zip(made, hinted, strict=True)) if one != other)

    def _grown(self) -> None:
        self._size += 1
        self._compare_marks()

    def _compare_marks(self) -> None:
        while self._next_mark < len(self._marks) and self._marks[self._next_mark].size == self._size:
            mark = self._marks[self._next_mark]
            self._next_mark += 1
            right = [tree for tree in (self._audit, self._log) if mark.root == tree.root()]
            for tree in right:
                tree.right = mark.size
            if right:
                self.verified.checkpoints += 1
                self.verified.last = mark
            else:
                self._wrong.append((mark, self.verified.last))
            if mark.published and self._log.whole:
                for tile, octets in self._log.edge():
                    self._compare_tile(tile, octets)

    def _compare_tile(self, tile: Tile, octets: bytes) -> None:
        stored = self._entries.tile(tile)
        if stored is not None and stored != octets:
            text = f"{tile.path} of the log does not hold the hashes of its entries"
            self.verified.add(Finding(Fault.TILE, text))

    def _tell_differing(self) -> None:
        """Name the commits that are not what the log has of them, and those that stand in another's place."""
        places = {kept[1:]: kept.seq for _, kept, _ in self._differing}
        for made, kept, altered in self._differing:
            if made is None:
                continue  # told already
            if made.seq <= self._audit.right > self._log.right:
                text = f"commit {made.seq} is what was signed; the log's own entry of it was altered"
                self.verified.add(Finding(Fault.ENTRY, text, made.seq))
                continue
            elsewhere = places.get(made[1:])
            if elsewhere is not None and elsewhere != made.seq:
                text = f"what stands as commit {made.seq} is commit {elsewhere}"
                self.verified.add(Finding(Fault.MOVED, text, made.seq))
                continue
            names = ("its time", "the number of its records", "its records")
            parts = [name for name, one, other in zip(names, made[1:], kept[1:], strict=True) if one != other]
            which = f" {', '.join(map(str, altered[:10]))}" if altered and kept.root != made.root else ""
            text = f"commit {made.seq}: altered: {', '.join(parts)}{which}"
            self.verified.add(Finding(Fault.ALTERED, text, made.seq, altered[0] if which else -1))

    def _tell_wrong(self) -> None:
        last = self.verified.last
        for mark, before in self._wrong:
            begin = "the beginning" if before is None else str(before)
            if last is not None and last.size >= mark.size:
                text = f"{mark} is none of this log's history, in which {last} lies: the log was forked after {begin}"
                self.verified.add(Finding(Fault.FORKED, text, (before.size if before else 0) + 1))
            elif not self._named(mark):
                first = (before.size if before else 0) + 1
                text = (
                    f"{mark} is of another audit: commits {first} to {mark.size}, after {begin}, are not those signed"
                )
                self.verified.add(Finding(Fault.REWRITTEN, text, first))

    def _named(self, mark: Mark) -> bool:
        """Say whether what is missing or unreadable up to a checkpoint explains that it is right for neither tree."""
        faults = (Fault.MISSING, Fault.UNREADABLE)
        return not self._log.whole and any(
            finding.fault in faults and finding.seq <= mark.size for finding in self.verified.findings
        )


class EntrySource(Protocol):
    """What the log has kept of its commits."""

    def entry(self, index: int) -> Entry | None:
        """Return the entry at `index`, from 0; None beyond the last, and where nothing can be read."""

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile as it is stored; None where there is none."""


def unreadable_records(commit: StoredCommit) -> Iterator[Finding]:
    """Yield which records of a commit cannot be read: for one that was altered."""
    try:
        for number, octets in enumerate(split(commit.records)):
            try:
                decode(octets)
            except Malformed as error:
                text = f"record {number} of commit {commit.seq}: {error}"
                yield Finding(Fault.UNREADABLE, text, commit.seq, number)
    except Malformed as error:
        yield Finding(Fault.UNREADABLE, f"commit {commit.seq}: {error}", commit.seq)
