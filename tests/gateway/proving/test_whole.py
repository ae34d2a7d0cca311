"""Whatever is done to audit, log or checkpoints, it is found and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.codec import frames
from gateway.proving.whole import MAX_FINDINGS, Fault, Mark, Verified, WholeLog
from gateway.store.contract import AuditCommit
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.entries import Entry, decode, entry_of
from gateway.tlog.notes import parse
from gateway.tlog.tiles import Tile
from tests.gateway.audit.samples import AT, decision
from tests.gateway.proving.logs import MemoryLog

SIZE = 600
LIFE = [
    AuditCommit(seq, AT + seq, 1 + seq % 3, frames([decision(at=AT + seq + n) for n in range(1 + seq % 3)]))
    for seq in range(1, SIZE + 1)
]
SIZES = (1, 2, 100, 256, 300, 555, 600)


def log_of(commits: Sequence[AuditCommit] = LIFE, sizes: Sequence[int] = SIZES) -> MemoryLog:
    """Return a log of these commits with checkpoints at these sizes."""
    log, done = MemoryLog(), 0
    for size in sizes:
        log.append(commits[done:size])
        done = size
    return log


LOG = log_of()


class Kept:
    """What the log has kept, with some of it replaced."""

    def __init__(
        self,
        log: MemoryLog,
        entries: Mapping[int, bytes] | None = None,
        tiles: Mapping[tuple[int, int], bytes] | None = None,
    ) -> None:
        self._entries = [(entries or {}).get(index, entry) for index, entry in enumerate(log._entries)]
        self._tiles = {**log._tiles, **(tiles or {})}

    def entry(self, index: int) -> Entry | None:
        """Return an entry."""
        return decode(self._entries[index]) if index < len(self._entries) else None

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile."""
        return self._tiles.get((tile.level, tile.number))


class Nothing:
    """A log of which only checkpoints are left."""

    def entry(self, _index: int) -> None:
        """There is none."""

    def tile(self, _tile: Tile) -> None:
        """There is none."""


def marks(log: MemoryLog = LOG, where: str = "the archive") -> list[Mark]:
    """Return the checkpoints of a log."""
    opened = [parse_text(parse(note).text) for note in log.notes]
    return [Mark(one.size, one.root, where, published=one.size == SIZE) for one in opened]


def look(
    commits: Sequence[AuditCommit] = LIFE,
    found: Sequence[Mark] | None = None,
    kept: Kept | Nothing | None = None,
    pruned: int = 0,
) -> Verified:
    """Look at a whole log."""
    whole = WholeLog(marks() if found is None else found, kept or Kept(LOG), pruned=pruned)
    for commit in commits:
        whole.take(commit)
    return whole.finish()


def replaced(*changes: AuditCommit) -> list[AuditCommit]:
    """Return the audit with some commits replaced."""
    by_seq = {commit.seq: commit for commit in changes}
    return [by_seq.get(commit.seq, commit) for commit in LIFE]


def edited(seq: int) -> AuditCommit:
    """Return a commit with one record that says something else."""
    commit = LIFE[seq - 1]
    return commit._replace(records=frames([decision(at=1)] * commit.number))


def named(verified: Verified) -> list[tuple[Fault, int]]:
    """Return what was found."""
    assert verified.more == 0
    return [(finding.fault, finding.seq) for finding in verified.findings]


@pytest.mark.parametrize("kept", [Kept(LOG), Nothing()], ids=["with entries", "with checkpoints alone"])
def test_what_was_signed(kept: Kept | Nothing) -> None:
    """An audit that is as it was has no finding, and every checkpoint is right."""
    verified = look(kept=kept)
    assert named(verified) == []
    assert (verified.commits, verified.records, verified.checkpoints) == (SIZE, sum(c.number for c in LIFE), len(SIZES))
    assert verified.last is not None
    assert verified.last.size == SIZE


def test_commits_that_are_newer_than_the_log() -> None:
    """What has been committed since the last checkpoint is no fault."""
    more = LIFE[-1]._replace(seq=SIZE + 1)
    assert named(look([*LIFE, more])) == []


@pytest.mark.parametrize("seq", [1, 2, 100, 101, 256, 257, 600])
def test_an_edit(seq: int) -> None:
    """A commit that was edited is named, and so is what of it was altered; the log's entries are right."""
    verified = look(replaced(edited(seq)))
    assert named(verified) == [(Fault.ALTERED, seq)]
    assert verified.findings[0].text.endswith("altered: its records")
    later = look(replaced(LIFE[seq - 1]._replace(at=5)))
    assert named(later) == [(Fault.ALTERED, seq)]
    assert later.findings[0].text.endswith("altered: its time")


def test_an_edited_record_is_named() -> None:
    """Where an edit leaves no record, it is told which of the commit's records it was."""
    commit = LIFE[4]
    octets = bytearray(commit.records)
    octets[2] = 99  # the version of the first record
    verified = look(replaced(commit._replace(records=bytes(octets))))
    assert named(verified) == [(Fault.UNREADABLE, 5), (Fault.ALTERED, 5)]
    assert verified.findings[0].record == 0
    octets[0] = 0xFF  # its length: nothing can be told apart any more
    verified = look(replaced(commit._replace(records=bytes(octets))))
    assert named(verified) == [(Fault.UNREADABLE, 5)]


def test_an_edit_of_audit_and_log() -> None:
    """Where the log's own entries and tiles were made to fit, the checkpoints around the edit are named."""
    audit = replaced(edited(120))
    forged = log_of(audit)
    for kept in (Kept(forged), Nothing()):
        verified = look(audit, kept=kept)
        assert named(verified) == [(Fault.REWRITTEN, 101)] * 4
        assert "commits 101 to 256, after the checkpoint of 100 in the archive" in verified.findings[0].text
        assert verified.checkpoints == 3


def test_another_order() -> None:
    """Commits in each other's place are named with where they belong."""
    first, second = LIFE[9], LIFE[29]
    audit = replaced(
        first._replace(at=second.at, number=second.number, records=second.records),
        second._replace(at=first.at, number=first.number, records=first.records),
    )
    verified = look(audit)
    assert named(verified) == [(Fault.MOVED, 10), (Fault.MOVED, 30)]
    assert verified.findings[0].text == "what stands as commit 10 is commit 30"


def test_a_commit_twice() -> None:
    """A number that comes a second time is named."""
    assert named(look([*LIFE[:10], LIFE[9], *LIFE[10:]])) == [(Fault.MOVED, 10)]


@pytest.mark.parametrize(("first", "end"), [(5, 6), (100, 257), (1, 3)])
def test_missing_commits(first: int, end: int) -> None:
    """Commits that were taken out are named; what is left is verified by the log's entries, and told to be unverified
    without them."""
    audit = [commit for commit in LIFE if not first <= commit.seq < end]
    verified = look(audit)
    assert named(verified) == [(Fault.MISSING, first)]
    assert verified.checkpoints == len(SIZES)
    alone = look(audit, kept=Nothing())
    assert named(alone)[0] == (Fault.MISSING, first)
    assert alone.checkpoints == sum(size < first for size in SIZES)


def test_pruned_commits() -> None:
    """Commits that may be gone are no fault: the log has their leaves."""
    assert named(look(LIFE[300:], pruned=300)) == []
    assert named(look(LIFE[300:], pruned=299)) == [(Fault.MISSING, 300)]


@pytest.mark.parametrize("size", [0, 1, 299, 599])
def test_a_log_that_was_cut(size: int) -> None:
    """What is missing at the end is named by what the log has, and by each checkpoint that covers more."""
    verified = look(LIFE[:size])
    covering = sum(one > size for one in SIZES)
    assert named(verified) == [(Fault.TRUNCATED, size + 1)] * (1 + covering)
    both = look(LIFE[:size], kept=Kept(log_of(LIFE, [size] if size else [])))
    assert named(both) == [(Fault.TRUNCATED, size + 1)] * covering
    assert str(SIZE) in both.findings[-1].text


def test_a_fork() -> None:
    """A checkpoint of another history is named, with those around it; where it has the size of another one, too."""
    fork = marks(log_of(replaced(edited(120))), "the witness")
    for at in (3, 4, 6):
        verified = look(found=[*marks(), fork[at]])
        assert [fault for fault, _ in named(verified)] == [Fault.FORKED]
        assert f"the checkpoint of {fork[at].size} in the witness" in verified.findings[0].text
        assert verified.checkpoints == len(SIZES)


def test_entries_that_were_altered() -> None:
    """Where the audit is what was signed and the log's own entry is not, it is that which is named."""
    other = entry_of(7, 1, LIFE[6].records).encode()
    assert (Fault.ENTRY, 7) in named(look(kept=Kept(LOG, {6: other})))
    assert {fault for fault, _ in named(look(kept=Kept(LOG, {6: other})))} <= {Fault.ENTRY, Fault.TILE}


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, 2), (1, 0)])
def test_tiles_that_were_altered(place: tuple[int, int]) -> None:
    """A tile that holds another hash is named."""
    octets = bytearray(LOG._tiles[place])
    octets[5] ^= 1
    verified = look(kept=Kept(LOG, tiles={place: bytes(octets)}))
    assert [finding.fault for finding in verified.findings] == [Fault.TILE]
    assert f"tile/{place[0]}/{place[1]:03}" in verified.findings[0].text


def test_findings_are_bounded() -> None:
    """Of very many findings the first are told, and the rest is counted."""
    verified = look([edited(seq) for seq in range(1, SIZE + 1)])
    assert len(verified.findings) == MAX_FINDINGS
    assert verified.more == SIZE - MAX_FINDINGS


ATTACKS: dict[str, Callable[[list[AuditCommit], int], list[AuditCommit]]] = {
    "edit": lambda audit, at: [*audit[:at], edited(at + 1), *audit[at + 1 :]],
    "drop": lambda audit, at: audit[:at] + audit[at + 1 :],
    "cut": lambda audit, at: audit[:at],
    "renumber": lambda audit, at: [*audit[:at], *[c._replace(seq=c.seq - 1) for c in audit[at + 1 :]]],
    "repeat": lambda audit, at: [*audit[: at + 1], *[c._replace(seq=c.seq + 1) for c in audit[at:]]],
    "reorder": lambda audit, at: [*audit[:at], *reversed(audit[at:])],
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(ATTACKS)), st.integers(0, SIZE - 2), st.booleans())
def test_every_attack_is_found(name: str, at: int, with_entries: bool) -> None:
    """Wherever it is done, and whether or not the log's entries are at hand, it does not pass."""
    verified = look(ATTACKS[name](list(LIFE), at), kept=Kept(LOG) if with_entries else Nothing())
    assert verified.findings
