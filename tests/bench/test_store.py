"""The benchmark of the store alone takes every message its whole way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.store import Figures, batches, measure, play
from bench.usage import cpu_of_tree
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from tests.postgres.server import PostgresServer


async def test_every_message_is_delivered(tmp_path: Path, postgres: PostgresServer) -> None:
    """Both engines end with all of them final, and as many events as that takes."""
    for store in (SqliteStore(tmp_path / "store" / "smsgw.db"), PostgresStore(postgres.emptied())):
        await store.open()
        await play(store, batches(3), 2)
        counts = await store.counts()
        assert not sum(value for name, value in counts.items() if name.startswith("queue."))
        assert len(await store.events("acme", 0, 10_000)) == 900  # ACCEPTED, SUBMITTED, DELIVERED
        await store.close()


async def test_figures(tmp_path: Path) -> None:
    """The warm-up is left out, and CPU is that of the run."""
    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    figures = await measure("sqlite", store, batches(20), 4, lambda: 0.0)
    assert figures.messages == 1_800
    assert 0 < figures.cpu_s < figures.seconds * (os.cpu_count() or 1) * 1.5
    assert "messages/s" in figures.line()
    assert Figures("x", 1_000_000, 1.0, 20.0, 30.0, 1000).line().split()[4:6] == ["20.0", "us"]


def test_the_cpu_of_a_tree() -> None:
    """What children use counts too."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as parent:
        try:
            until = time.monotonic() + 30
            while cpu_of_tree(parent.pid) < 0.5:
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            os.killpg(parent.pid, 9)
