"""Is the log that a node has published the log of its audit? By the folder of files, the key, and the commits alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.sequencing.keys import read_signer
from gateway.store.contract import AuditCommit
from gateway.tlog import proofs
from gateway.tlog.checkpoints import open_checkpoint
from gateway.tlog.entries import entry_of
from gateway.tlog.tiles import ENTRIES, split_bundle, tiles_of
from tests.appliance import LOG_ORIGIN
from tests.gateway.sequencing.commits import root_after


def judge_log(folder: Path, commits: Sequence[AuditCommit]) -> int:
    """Return the size of an appliance's newest checkpoint, which is that of these commits, in all its files."""
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
    return size
