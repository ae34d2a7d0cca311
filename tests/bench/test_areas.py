"""Samples by area."""

from __future__ import annotations

from pathlib import Path

from bench.areas import area_of, areas, table


def test_the_innermost_known_file_counts() -> None:
    """A stack belongs to the area of its innermost file that has one; without any it is the loop's."""
    outer = ["thread (1): MainThread", "serve (gateway/cli/serve.py:35)", "run (asyncio/runners.py:86)"]
    api = "behaviour (gateway/api/serving.py:9)"
    assert area_of(outer) == "event loop, and gRPC in it"
    assert area_of([*outer, api]) == "API: calls, requests, answers"
    assert area_of([*outer, api, "take (gateway/limits/calls.py:1)", "wait (asyncio/tasks.py:2)"]) == "limits"
    assert area_of([*outer, "read (ssl.py:912)"]) == "carrier link: SMPP and TLS"
    assert area_of([*outer, api, "put (/somewhere/gateway/sealing/box.py:3)"]) == "sealing"
    writer = ["thread (2): store-writer", "_commit (gateway/store/sqlite/writer.py:181)"]
    assert area_of(writer) == "store: statements, rows, records"
    assert area_of(["thread (3): Thread-1 (_poll_wrapper)", "run (threading.py:971)"]) == "gRPC's poller"


def test_samples_and_what_the_kernel_counts(tmp_path: Path) -> None:
    """Samples stand for time with the lock, the rest of what a thread used for time without it."""
    folded = tmp_path / "folded.txt"
    folded.write_text(
        "process 1:x;thread (1): MainThread;run (asyncio/runners.py:86) 30\n"
        "process 1:x;thread (1): MainThread;seal (gateway/sealing/box.py:1) 10\n"
        "process 1:x;thread (2): store-writer;insert (gateway/store/sqlite/bulk.py:2) 20\n"
        "process 1:x;thread (4): Thread-1 (_poll_wrapper);run (threading.py:971) 10\n"
    )
    found = dict(areas(folded, {1: 100.0, 2: 80.0, 3: 2.0, 4: 5.0}, 1.0))
    assert found == {
        "event loop, and gRPC in it": 30.0,
        "sealing": 10.0,
        "loop: system calls, TLS": 60.0,
        "store: statements, rows, records": 20.0,
        "SQLite and the disk": 60.0,
        "threads without Python: gRPC's HTTP/2 and TLS": 2.0,
        "gRPC's poller": 5.0,
        "other threads, outside of Python": 0.0,
    }
    assert table(areas(folded, {1: 80.0}, 1.0)).splitlines()[-1].split()[0] == "80.0"
