"""Commits become leaves, tiles and bundles, and only in their order."""

from __future__ import annotations

import pytest

from gateway.audit.codec import frames
from gateway.audit.records import NodeStopped
from gateway.sequencing.errors import LogBroken
from gateway.sequencing.growth import HINTS, Growth
from gateway.store.contract import AuditCommit
from gateway.store.sequencing import LogTile
from gateway.tlog.entries import decode, record_hashes
from gateway.tlog.tiles import ENTRIES, Tile, split_bundle
from tests.gateway.sequencing.commits import NOW, root_after
from tests.gateway.tlog.trees import grown


def commits(number: int) -> list[AuditCommit]:
    """Commits of one record."""
    return [AuditCommit(seq, NOW + seq, 1, frames([NodeStopped(NOW, "n")])) for seq in range(1, number + 1)]


def test_in_steps() -> None:
    """In whatever steps commits are taken, tree and bundles are those of all of them."""
    every = commits(700)
    growth, kept = Growth(), dict[tuple[int, int], LogTile]()
    for first, end in ((0, 1), (1, 200), (200, 256), (256, 257), (257, 700)):
        growth, tiles = growth.take(every[first:end])
        kept.update({(tile.level, tile.number): tile for tile in tiles})
        assert growth.size == end
        assert growth.edge.root == root_after(every, end)
    _, whole = grown(700)
    bundles = [(level, number) for level in (ENTRIES, HINTS) for number in range(3)]
    assert sorted(kept) == sorted([*{tile[:2] for tile in whole}, *bundles])
    assert split_bundle(Tile(HINTS, 2, 188), kept[HINTS, 2].octets)[0] == record_hashes(every[512].records)[0][:1]
    entries = [
        decode(entry)
        for number in range(3)
        for entry in split_bundle(Tile(ENTRIES, number, kept[ENTRIES, number].width), kept[ENTRIES, number].octets)
    ]
    assert [entry.seq for entry in entries] == list(range(1, 701))


def test_what_is_no_next_commit() -> None:
    """A gap, another order, a number of records that is not so, octets that are none: refused, and the commit named."""
    good = commits(3)
    growth, _ = Growth().take(good[:1])
    for wrong, said in (
        (good[2:], "commit 2 of the audit is missing"),
        ([good[2], good[1]], "commit 2"),
        ([good[0]], "commit 2"),
        ([good[1]._replace(number=2)], "commit 2 .* has 1 records, and says 2"),
        ([good[1]._replace(records=b"\0")], "commit 2 .* cannot be read"),
    ):
        with pytest.raises(LogBroken, match=said):
            growth.take(wrong)
