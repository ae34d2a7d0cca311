"""A log in memory: the sequencer's work without its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.proving.log import not_ready
from gateway.store.contract import AuditCommit
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.cosignatures import Cosigner
from gateway.tlog.entries import entry_of
from gateway.tlog.merkle import HASH_BYTES
from gateway.tlog.notes import Note, Signer, sign
from gateway.tlog.tiles import CHECKPOINT_PATH, ENTRIES, WIDTH, Tile, bundle
from gateway.tlog.tree import Edge, grow

ORIGIN = "audit.example.org"


def private_key(number: int) -> Ed25519PrivateKey:
    """Return a key that is the same in each run."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


class Commits(Protocol):
    """Where commits come from."""

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Return commits above `after_seq`."""


class MemoryLog:
    """A log with a key of its own; `witnesses` cosign each checkpoint."""

    def __init__(self, origin: str = ORIGIN, key: int = 1, witnesses: Sequence[Cosigner] = ()) -> None:
        self.signer = Signer(origin, private_key(key))
        self.witnesses = witnesses
        self.edge = Edge()
        self.notes: list[bytes] = []
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._entries: list[bytes] = []

    @property
    def vkey(self) -> str:
        """The log's public key."""
        return self.signer.key.vkey

    def append(self, commits: Sequence[AuditCommit], at: int = 1_800_000_000) -> bytes:
        """Take commits up, and return the checkpoint that covers them; witnesses cosign at `at` (Unix seconds)."""
        entries = [entry_of(commit.seq, commit.at, commit.records) for commit in commits]
        self._entries += [entry.encode() for entry in entries]
        self.edge, changed = grow(self.edge, [entry.leaf for entry in entries])
        self._tiles.update({(tile.level, tile.number): octets for tile, octets in changed.items()})
        text = Checkpoint(origin=self.signer.key.name, size=self.edge.size, root=self.edge.root).text()
        note = sign(text, [self.signer])
        cosigned = tuple(witness.cosign(text, at) for witness in self.witnesses)
        self.notes.append(Note(text, note.signatures + cosigned).encode())
        return self.notes[-1]

    def files(self) -> dict[str, bytes]:
        """Return the log as the files that a web server would serve (C2SP tlog-tiles)."""
        tiles = {Tile(*place, len(octets) // HASH_BYTES).path: octets for place, octets in self._tiles.items()}
        for first in range(0, len(self._entries), WIDTH):
            some = self._entries[first : first + WIDTH]
            tiles[Tile(ENTRIES, first // WIDTH, len(some)).path] = bundle(some)
        return {CHECKPOINT_PATH: self.notes[-1], **tiles}

    async def follow(self, store: Commits) -> None:
        """Take up all that the store has committed."""
        while page := await store.audit_read(self.edge.size, 1000):
            self.append(page)

    async def checkpoint(self, covering: int) -> bytes:
        """Return the newest checkpoint, if it covers so much."""
        if self.edge.size < covering or not self.notes:
            raise not_ready()
        return self.notes[-1]

    async def tiles(self, tiles: Sequence[Tile]) -> Mapping[Tile, bytes]:
        """Return tiles, in the width that is asked for."""
        return {
            tile: self._tiles[tile.level, tile.number][: tile.width * HASH_BYTES]
            for tile in tiles
            if (tile.level, tile.number) in self._tiles
        }
