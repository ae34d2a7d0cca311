"""Is the log that a node has published the log of its audit? By the folder of files, the key, and the commits alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.sequencing.archive_forms import note_in
from gateway.sequencing.keys import read_signer
from gateway.store.contract import AuditCommit
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint, open_checkpoint
from gateway.tlog.entries import entry_of
from gateway.tlog.errors import MalformedLog
from gateway.tlog.notes import VerifyingKey
from gateway.tlog.tiles import ENTRIES, split_bundle, tiles_of
from gateway.tlog.tree import Edge, grow
from tests.appliance import LOG_ORIGIN
from tests.gateway.sequencing.commits import root_after


def judge_log(folder: Path, commits: Sequence[AuditCommit]) -> int:
    """Return the size of an appliance's newest checkpoint, which is that of these commits, in all its files.

    So is every checkpoint that it ever had archived: one history.
    """
    log = folder / "data" / "audit-log"
    key = read_signer(folder / "audit-log.key", LOG_ORIGIN).key
    checkpoint, _ = open_checkpoint((log / "checkpoint").read_bytes(), LOG_ORIGIN, [key])
    size = checkpoint.size
    assert checkpoint.root == root_after(commits, size)
    tiles = {tile: (log / tile.path).read_bytes() for tile in proofs.root_tiles(size)}
    assert proofs.root(size, tiles) == checkpoint.root
    bundles = [(tile, (log / tile.path).read_bytes()) for tile in tiles_of(ENTRIES, 0, size, size)]
    entries = [entry for tile, octets in bundles for entry in split_bundle(tile, octets)]
    assert entries == [entry_of(one.seq, one.at, one.records).encode() for one in commits[:size]]
    kept = archived(folder / "checkpoints.jsonl", key)
    _require_one_history(kept, commits)
    assert kept[-1].size == size
    return size


def archived(path: Path, key: VerifyingKey) -> list[Checkpoint]:
    """Return every checkpoint that was ever archived, in order; lines that a kill has cut off are left out."""
    found: list[Checkpoint] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            note = note_in(line)
        except MalformedLog:
            continue
        found.append(open_checkpoint(note, LOG_ORIGIN, [key])[0])
    return found


def _require_one_history(archived: Sequence[Checkpoint], commits: Sequence[AuditCommit]) -> None:
    """Each checkpoint is of the first commits as they are now, and none has fewer than the one before."""
    leaves = [entry_of(one.seq, one.at, one.records).leaf for one in commits]
    edge = Edge()
    for checkpoint in archived:
        assert edge.size <= checkpoint.size
        edge, _ = grow(edge, leaves[edge.size : checkpoint.size])
        assert (edge.size, edge.root) == (checkpoint.size, checkpoint.root)
