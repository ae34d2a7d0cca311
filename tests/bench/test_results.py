"""Tables and percentiles."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench import sampling, usage
from bench.results import Result, percentile, table


def test_percentile() -> None:
    """The share of the values that lies below is the one asked for."""
    values = list(range(1000, 0, -1))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (501, 991, 1000)
    assert percentile([], 0.5) == 0


RESULT = Result(
    mode="batch", bare=False, messages=100_000, accepted_per_s=12_345.6, receipted_per_s=9_876.5, cpu_us=99.6,
    main_thread_us=60.4, system_us=9.9, call_p50_ms=1.25, call_p99_ms=20.04, submit_p50_ms=2.25, submit_p99_ms=31.04,
    others_us={"sink": 9.0, "generators": 30.0}, peak_bytes=150_000_000,
    database_bytes=400, audit_bytes=205, cache_hits=0.9876, refused=0, configuration="abc", machine_ms=24.06,
)  # fmt: skip


def test_the_table_lines_up() -> None:
    """Columns are as wide as their widest cell, with a row for each result."""
    head, line, first, second = table([RESULT, RESULT]).splitlines()
    assert len(head) == len(line) == len(first)
    assert first == second
    assert first.split() == [
        "batch",
        "100,000",
        "12,346",
        "9,876",
        "100",
        "60",
        "10",
        "1.2",
        "20.0",
        "2.2",
        "31.0",
        "150",
        "205",
        "98.76%",
        "24.1",
    ]


def test_the_table_says_the_difference() -> None:
    """Behind a mode's bare build stands what the rest of it costs; behind one that was measured alone, nothing."""
    bare = replace(
        RESULT, bare=True, cpu_us=69.6, accepted_per_s=13_345.6, peak_bytes=110_000_000, audit_bytes=0, cache_hits=None
    )
    *_, third = table([RESULT, bare]).splitlines()
    assert third.split() == [
        "batch,", "difference", "-1,000", "+0", "+30", "+0", "+0", "+0.0", "+0.0", "+0.0", "+0.0", "+40", "+205",
    ]  # fmt: skip
    assert len(table([bare]).splitlines()) == 3


def test_usage_counts_this_process() -> None:
    """CPU grows with work, in all threads and in the main one, and memory is what it is."""
    before = usage.read(os.getpid())
    while usage.read(os.getpid()).main_thread_s - before.main_thread_s < 0.05:
        sum(range(100_000))
    after = usage.read(os.getpid())
    assert round(after.cpu_s - before.cpu_s, 3) >= 0.04  # whole ticks of 10 ms, as floats
    assert 1_000_000 < after.resident_bytes <= after.peak_bytes


def test_the_profile_is_summed_up_by_function(tmp_path: Path) -> None:
    """A function's own share is that of the stacks it ends, its whole share that of the stacks it is in, once each."""
    folded = tmp_path / "folded.txt"
    folded.write_text("process 1:x;main;work;work 30\nprocess 1:x;main;wait 10\n")
    own, whole = sampling.summary(folded).split("with callees  function\n")[1:]
    assert own.splitlines()[0].split() == ["75.0%", "75.0%", "work"]
    assert own.splitlines()[1].split() == ["25.0%", "25.0%", "wait"]
    assert whole.splitlines()[0].split() == ["100.0%", "main"]


def test_usage_of_a_process_that_is_gone() -> None:
    """A process that does not exist is an error, not a zero."""
    with pytest.raises(FileNotFoundError):
        usage.read(2**22 + 1)
