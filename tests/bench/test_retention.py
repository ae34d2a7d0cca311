"""Retention at size, in small: what is due goes while messages come, and the file's pages are used again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import retention, retention_server
from bench.fill import TEMPLATE, Filled
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from tests.postgres.server import shared

_DUE = 500  # of the messages that were filled in


async def test_removed_beside_messages_that_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due at once is removed, calls and transactions are timed, and in rounds in which as many come as go the
    used pages stay."""
    monkeypatch.setattr(retention, "_ALONE_S", 0.1)
    filled = await asyncio.to_thread(_filled, tmp_path)
    store = SqliteStore(filled.path)
    await store.open()
    try:
        bench = retention.FileBench(store, filled.path, 10)
        assert (await bench.alone())[0].longest > 0
        calls, commits, removed, took_s = await bench.backlog(_DUE)
        assert removed == _DUE + 1  # the one of just that millisecond, too
        assert took_s > 0
        assert calls.p50 <= calls.p99 <= calls.longest
        assert commits.longest > 0
        first = await bench.steady(_DUE)
        second = await bench.steady(_DUE)
        assert second.used <= first.used * 1.05
        assert second.audit > first.audit  # without audit.keep
        assert second.log_bytes > 0
    finally:
        await store.close()


async def test_removed_on_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on PostgreSQL: what is due and no more is removed, its keys with it, and tables are measured."""
    monkeypatch.setattr(retention, "_ALONE_S", 0.1)
    server = shared()
    store = PostgresStore(server.emptied())
    await store.open()
    try:
        bench = retention_server.ServerBench(store, server, 10)
        await bench.fill(2_000)
        assert (await bench.alone())[0].longest > 0
        assert (await bench.backlog(_DUE))[2] == _DUE + 1
        await bench.purge(_DUE)
        sizes = await bench.steady(_DUE)
        assert (await store.counts())["retention.message"] == 2 * _DUE + 1
        assert sizes.tables["message"].heap > 0
        assert sizes.tables["message"].indexes > 0
        assert sizes.total() > 0
    finally:
        await store.close()


def _filled(tmp_path: Path) -> Filled:
    """Return a database of 3,000 delivered messages."""
    filled = Filled(tmp_path / "store" / "smsgw.db")
    filled.grow(delivered=3 * TEMPLATE, waiting=TEMPLATE)
    retention._forget_the_first(filled.path)
    return filled
