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
    assert area_of(["thread (2): store-writer", "_commit (gateway/store/sqlite/writer.py:181)"]) == "store: COMMIT"
    assert area_of(["thread (3): Thread-1 (_poll_wrapper)", "run (threading.py:971)"]) == "gRPC's poller"


def test_threads_weigh_what_the_kernel_says(tmp_path: Path) -> None:
    """Samples share out what a thread has used, however many of them it has; what has none is told apart."""
    folded = tmp_path / "folded.txt"
    folded.write_text(
        "process 1:x;thread (1): MainThread;run (asyncio/runners.py:86) 30\n"
        "process 1:x;thread (1): MainThread;seal (gateway/sealing/box.py:1) 10\n"
        "process 1:x;thread (2): idle;_worker (concurrent/futures/thread.py:69) 500\n"
    )
    found = dict(areas(folded, {1: 80.0, 2: 1.0, 3: 2.0}))
    assert found == {
        "event loop, and gRPC in it": 61.0,
        "sealing": 20.0,
        "threads without Python: gRPC's HTTP/2 and TLS": 2.0,
    }
    assert table(areas(folded, {1: 80.0})).splitlines()[-1].split()[0] == "80.0"
