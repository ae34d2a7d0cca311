"""What a node says of itself is recorded in order, sooner or later."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gateway.audit import journal as journal_module
from gateway.audit.journal import Journal
from gateway.audit.records import CertificateRenewed, ConfigLoaded, KeyCreated, NodeStarted, NodeStopped
from gateway.errors import StoreUnavailable
from tests.gateway.audit.samples import AT
from tests.gateway.audit.stores import MemoryStore

DIGESTS = [("configuration", "ab" * 32), ("policies", "cd" * 32)]


@pytest.fixture
def store() -> MemoryStore:
    """Give a store."""
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    """Give a journal at one moment."""
    return Journal(store, "node-1", lambda: AT)


async def test_start(journal: Journal, store: MemoryStore) -> None:
    """A start names version, configuration and policies, in one commit; when it cannot be written it fails."""
    await journal.started("0.1.0", DIGESTS)
    assert store.batches == [
        [
            NodeStarted(AT, "node-1", "0.1.0", "ab" * 32),
            ConfigLoaded(AT, "node-1", "configuration", "ab" * 32),
            ConfigLoaded(AT, "node-1", "policies", "cd" * 32),
        ]
    ]
    store.failure = StoreUnavailable("the disk is full")
    with pytest.raises(StoreUnavailable):
        await journal.started("0.1.0", DIGESTS)


async def test_run(journal: Journal, store: MemoryStore) -> None:
    """Keys and certificates are recorded by the task, also when they are noted in another thread."""
    await asyncio.to_thread(journal.keys_made, [(b"\x01\x02", "acme"), (b"\x03\x04", "other")])
    journal.renewed("svid", "f" * 300)
    journal.loaded("deny list", "ef" * 32)
    task = asyncio.create_task(journal.run())
    await asyncio.wait_for(store.asked.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert store.records == [
        KeyCreated(AT, "0102", "acme"),
        KeyCreated(AT, "0304", "other"),
        CertificateRenewed(AT, "svid", "f" * 120),
        ConfigLoaded(AT, "node-1", "deny list", "ef" * 32),
    ]


async def test_what_failed_is_tried_again(journal: Journal, store: MemoryStore) -> None:
    """Nothing is lost or turned round by a store that fails for a while, and the end is recorded last."""
    journal.keys_made([(n.to_bytes(2, "big"), "acme") for n in range(1200)])
    store.failure = StoreUnavailable("the disk is full")
    await journal.stopped()
    store.failure = None
    await journal.stopped()
    keys = [record.key_id for record in store.records if isinstance(record, KeyCreated)]
    assert keys == [n.to_bytes(2, "big").hex() for n in range(1200)]
    assert store.records[1200:] == [NodeStopped(AT, "node-1")] * 2
    assert max(map(len, store.batches)) <= 500


async def test_beyond_the_bound_the_oldest_go(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is noted while the store is away is bounded, also what comes while an attempt is under way; the newest, and
    the end, are kept."""
    monkeypatch.setattr(journal_module, "_KEPT", 100)
    monkeypatch.setattr(journal_module, "_BATCH", 40)
    journal, noted = Journal(store, "node-1", lambda: AT), 150

    def more() -> None:
        nonlocal noted
        journal.keys_made([(noted.to_bytes(2, "big"), "acme"), ((noted + 1).to_bytes(2, "big"), "acme")])
        noted += 2

    journal.keys_made([(number.to_bytes(2, "big"), "acme") for number in range(noted)])
    store.failure, store.meanwhile = StoreUnavailable("the disk is full"), more
    for _ in range(3):
        await journal.stopped()
    store.failure, store.meanwhile = None, lambda: None
    await journal.stopped()
    keys = [record.key_id for record in store.records if isinstance(record, KeyCreated)]
    assert len(store.records) == 100
    assert keys == [number.to_bytes(2, "big").hex() for number in range(noted - len(keys), noted)]
    assert store.records[-1] == NodeStopped(AT, "node-1")
