"""A receipt: a message's records, the way of each to a signed checkpoint, and the salt of its commitment. Sans-IO.

First which tiles are needed, then the receipt: `tiles_for`, `receipt_of`. What a receipt says is bounded: of a message
with more records than that the first and the last ones are in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from gateway.ids import to_text
from gateway.proving.history import Told
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.entries import record_path
from gateway.tlog.proofs import inclusion, inclusion_tiles
from gateway.tlog.tiles import Tile
from smsgw.v1 import audit_service_pb2 as pb

FORMAT = "smsgw-receipt-1"
MAX_RECORDS = 200  # with their paths about 200 KiB; some more where the lists of other messages are shown


def shown(history: Sequence[Told], *, including_lists: bool) -> list[Told]:
    """Return what a receipt shows of a message's history: without the records that list other messages too, unless
    these are asked for, and the first and last ones only where there are very many."""
    kept = [
        told._replace(places=places)
        for told in history
        if (places := tuple(place for place in told.places if including_lists or not place.lists_others))
    ]
    if sum(len(told.places) for told in kept) <= MAX_RECORDS:
        return kept
    half = MAX_RECORDS // 2
    first, last = _at_most(kept, half), _at_most(kept[::-1], half)
    return [*first, *[told for told in last[::-1] if told not in first]]


def _at_most(history: Sequence[Told], records: int) -> list[Told]:
    """Return whole commits from the beginning on, of `records` records together at most; one at least."""
    taken, number = 0, 0
    for told in history:
        number += len(told.places)
        if number > records and taken:
            break
        taken += 1
    return list(islice(history, taken))


def tiles_for(history: Sequence[Told], size: int) -> list[Tile]:
    """Return the tiles that the receipt is made of, in the tree of `size` leaves. Raises MalformedLog for a commit that
    is not in it yet."""
    tiles = (tile for told in history for tile in inclusion_tiles(told.commit.seq - 1, size))
    return list(dict.fromkeys(tiles))


def receipt_of(
    message_id: bytes,
    history: Sequence[Told],
    checkpoint: Checkpoint,
    note: bytes,
    tiles: Mapping[Tile, bytes],
    salt: bytes,
) -> pb.MessageReceipt:
    """Return the receipt of a message; `note` is the signed checkpoint. Some milliseconds for commits of thousands of
    records: not for the event loop. Raises MalformedLog or MissingTile."""
    commits = [_commit(told, checkpoint.size, tiles) for told in history]
    return pb.MessageReceipt(
        format=FORMAT, message_id=to_text(message_id), commits=commits, checkpoint=note.decode(), salt=salt
    )


def _commit(told: Told, size: int, tiles: Mapping[Tile, bytes]) -> pb.ProvenCommit:
    commit = told.commit
    paths = [(place.number, *record_path(commit.records, place.number)) for place in told.places]
    return pb.ProvenCommit(
        seq=commit.seq,
        committed_at=commit.at,
        record_count=commit.number,
        inclusion=inclusion(commit.seq - 1, size, tiles),
        records=[pb.ProvenRecord(number=number, record=octets, path=path) for number, octets, path in paths],
    )
