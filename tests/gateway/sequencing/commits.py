"""Commits of an audit, and the log that they must make, reckoned by somebody who has nothing but the records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.records import NodeStopped
from gateway.store.contract import AuditCommit, Store
from gateway.store.sqlite import SqliteStore
from gateway.tlog.checkpoints import Checkpoint, open_checkpoint
from gateway.tlog.entries import entry_of
from gateway.tlog.merkle import root_of
from gateway.tlog.notes import Note, Signer

ORIGIN = "example.org/smsgw"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x11" * 32))
NOW = 1_800_000_000_000_000


@asynccontextmanager
async def opened_store(folder: Path) -> AsyncIterator[Store]:
    """Give an open store, to be closed at the end."""
    store = SqliteStore(folder / "smsgw.db")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def commit(store: Store, number: int) -> None:
    """Make so many commits, of one to three records."""
    for one in range(number):
        await store.audit([NodeStopped(NOW + one, f"node-{copy}") for copy in range(one % 3 + 1)])


async def commits_of(store: Store) -> list[AuditCommit]:
    """Return all commits."""
    found: list[AuditCommit] = []
    while page := await store.audit_read(found[-1].seq if found else 0, 1000):
        found += page
    return found


def root_after(commits: Sequence[AuditCommit], size: int) -> bytes:
    """Return the root of the first `size` commits."""
    return root_of([entry_of(one.seq, one.at, one.records).leaf for one in commits[:size]])


def opened(octets: bytes) -> Checkpoint:
    """Return a checkpoint of this log, verified."""
    return open_checkpoint(octets, ORIGIN, [SIGNER.key])[0]


class Noticeboard:
    """A publisher that keeps everything."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def publish(self, checkpoint: Checkpoint, note: Note) -> None:
        """Keep it."""
        assert opened(note.encode()) == checkpoint
        self.notes.append(note)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """All that was published, in order."""
        return [opened(note.encode()) for note in self.notes]
