"""What a run gave: one record a mode, a table for people, JSON files for comparisons."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load import Tally

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One mode. Rates in messages/s, times as named."""

    mode: str
    bare: bool  # without policies, limits, sealing, traces and audit
    messages: int
    accepted_per_s: float  # until the last reply
    receipted_per_s: float  # until the carrier had every receipt acknowledged
    cpu_us: float  # of the node, all threads, for each message
    main_thread_us: float  # of that, the event loop
    system_us: float  # of that, in the kernel
    call_p50_ms: float
    call_p99_ms: float
    submit_p50_ms: float  # from the beginning of the call to the carrier's socket; 0 when the sink does not say
    submit_p99_ms: float
    others_us: dict[str, float]  # of the processes beside the node, by name, for each message
    peak_bytes: int
    database_bytes: int  # the database with its log, for each message
    audit_bytes: int  # the records of its audit, for each message
    cache_hits: float | None  # the share of questions to the policies, 0 to 1, that needed no evaluation; None: bare
    refused: int  # calls answered RESOURCE_EXHAUSTED, and made again
    configuration: str  # a hash of the configuration and the load
    machine_ms: float  # what the machine took for fixed work, before and after the run (bench.reference)

    @property
    def name(self) -> str:
        """The mode and the build."""
        return label(self.mode, self.bare)


def label(mode: str, bare: bool) -> str:
    """Return what a mode and a build are called."""
    return f"{mode}, bare" if bare else mode


def percentile(values: Sequence[int], share: float) -> float:
    """Return the value below which `share` (0 to 1) of `values` lies; 0 when there are none."""
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else 0.0


def per_message(others_s: Mapping[str, float], tallies: Sequence[Tally]) -> dict[str, float]:
    """Return the CPU of each process beside the gateway, and of the generators together, in µs for each message."""
    messages = sum(tally.accepted for tally in tallies)
    spent_s = {**others_s, "generators": sum(tally.cpu_s for tally in tallies)}
    return {name: round(cpu_s / messages * 1e6, 1) for name, cpu_s in spent_s.items()}


_HEAD = (
    "mode", "messages", "accepted/s", "receipted/s", "CPU µs", "loop µs", "kernel µs", "p50 ms", "p99 ms",
    "submit p50", "submit p99", "RSS MB", "audit B", "cache hits", "machine ms",
)  # fmt: skip


def _row(r: Result) -> tuple[str, ...]:
    return (
        r.name,
        f"{r.messages:,}",
        f"{r.accepted_per_s:,.0f}",
        f"{r.receipted_per_s:,.0f}",
        f"{r.cpu_us:.0f}",
        f"{r.main_thread_us:.0f}",
        f"{r.system_us:.0f}",
        f"{r.call_p50_ms:.1f}",
        f"{r.call_p99_ms:.1f}",
        f"{r.submit_p50_ms:.1f}",
        f"{r.submit_p99_ms:.1f}",
        f"{r.peak_bytes / 1e6:.0f}",
        f"{r.audit_bytes}",
        "" if r.cache_hits is None else f"{r.cache_hits:.2%}",
        f"{r.machine_ms:.1f}",
    )


def _difference(full: Result, bare: Result) -> tuple[str, ...]:
    """Return what policies, limits, sealing, traces and audit cost a mode."""
    return (
        f"{full.mode}, difference",
        "",
        f"{full.accepted_per_s - bare.accepted_per_s:+,.0f}",
        f"{full.receipted_per_s - bare.receipted_per_s:+,.0f}",
        f"{full.cpu_us - bare.cpu_us:+.0f}",
        f"{full.main_thread_us - bare.main_thread_us:+.0f}",
        f"{full.system_us - bare.system_us:+.0f}",
        f"{full.call_p50_ms - bare.call_p50_ms:+.1f}",
        f"{full.call_p99_ms - bare.call_p99_ms:+.1f}",
        f"{full.submit_p50_ms - bare.submit_p50_ms:+.1f}",
        f"{full.submit_p99_ms - bare.submit_p99_ms:+.1f}",
        f"{(full.peak_bytes - bare.peak_bytes) / 1e6:+.0f}",
        f"{full.audit_bytes - bare.audit_bytes:+}",
        "",
        "",
    )


def table(results: Sequence[Result]) -> str:
    """Return the table that `make bench` prints: what was measured, and where both builds were, the difference."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for result in results:
        rows.append(_row(result))
        full = next((other for other in results if other.mode == result.mode and not other.bare), None)
        if result.bare and full is not None:
            rows.append(_difference(full, result))
    return aligned(rows)


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table of the rows, the first of which is its head; every column but the first is flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def write(results: Sequence[Result], rounds: Sequence[Sequence[DataclassInstance]], about: dict[str, object]) -> Path:
    """Write the results, and the rounds of a comparison, to a new file; its path."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())
    machine = {"python": platform.python_version(), "kernel": platform.release()}
    compared = [[asdict(side) for side in turns] for turns in rounds]
    document = {"machine": machine, **about, "results": [asdict(result) for result in results], "comparison": compared}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
