"""Ours and Kannel by turns, in one run, on the same sink, with the same messages: one call for each message.

Each round starts every gateway anew, on a new sink. What differs: ours is called by gRPC over mutual TLS and does all
that `make bench` measures; Kannel is called by HTTP on loopback, in the clear, and verifies, seals and audits nothing.
Ours takes a message in a frame, or a hundred in a call, too, which Kannel cannot: those stand beside it.

What a machine needs for a message differs from hour to hour and from machine to machine; what ours needs of what Kannel
needs in the same minutes (`of_kannel`) differs less.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench import latency, results, sink, usage
from bench.driving import awaited, generate
from bench.kannel import Store, kannel
from bench.load import Orders, Tally
from bench.results import Result
from bench.running import MODES, WARM_UP, Mode, run_mode
from tests.appliance import Appliance

OURS = "smsgw"
_WAYS = {"unary": "a call each", "stream": "a frame each", "batch": "batches"}
UNARY = MODES["unary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one gateway did in one round. Rates in messages/s, times as named, CPU in µs for each message."""

    gateway: str
    messages: int
    accepted_per_s: float
    receipted_per_s: float
    cpu_us: float  # of all its processes
    processes_us: dict[str, float]  # of each of them
    others_us: dict[str, float]  # of the sink, the generators and what else there is
    call_p50_ms: float
    call_p99_ms: float
    submit_p50_ms: float  # from the beginning of the call to the carrier's socket
    submit_p99_ms: float
    peak_bytes: int  # of all its processes together
    of_kannel: float = 1.0  # its CPU for each message, as a part of what the first Kannel of its round took


def ours(result: Result) -> Side:
    """Return a run of ours as a side."""
    return Side(
        gateway=f"{OURS}, {_WAYS[result.mode]}",
        messages=result.messages,
        accepted_per_s=result.accepted_per_s,
        receipted_per_s=result.receipted_per_s,
        cpu_us=result.cpu_us,
        processes_us={"node": result.cpu_us},
        others_us=result.others_us,
        call_p50_ms=result.call_p50_ms,
        call_p99_ms=result.call_p99_ms,
        submit_p50_ms=result.submit_p50_ms,
        submit_p99_ms=result.submit_p99_ms,
        peak_bytes=result.peak_bytes,
    )


def _orders(target: str, mode: Mode, folder: Path, first: int) -> list[Orders]:
    share = mode.messages // mode.processes
    return [
        Orders(
            mode="http",
            target=target,
            server_name="",
            bundle="",
            callers=[],
            first=first + number * share,
            messages=share if number < mode.processes - 1 else mode.messages - number * share,
            workers=mode.workers,
            batch=1,
            depth=1,
            tally=str(folder / f"tally-{number}.json"),
        )
        for number in range(mode.processes)
    ]


def _measure(name: str, store: Store, mode: Mode, backlog: int, folder: Path, carrier: sink.Sink) -> Side:
    """Warm Kannel up, send, wait for the last receipt; what it took."""
    with kannel(folder / "kannel", carrier, store) as running:
        pids = running.pids | ({"sink": carrier.pid} if carrier.pid else {})

        def send(part: Mode, first: int) -> tuple[list[Tally], float, dict[str, float]]:
            before: list[dict[str, float]] = []
            settled = carrier.acknowledged
            tallies = generate(
                _orders(running.target, part, folder, first),
                folder,
                backlog,
                lambda: settled() - first,
                lambda: before.append(usage.cpu(pids)),
                module="bench.http_load",
            )
            ended = awaited(settled, first + part.messages)
            return tallies, ended, {who: cpu_s - before[0][who] for who, cpu_s in usage.cpu(pids).items()}

        send(mode.warming_up(), 0)
        tallies, ended, used_s = send(mode, WARM_UP)
        peak = sum(usage.read(pid).peak_bytes for pid in running.pids.values())
    return _side(name, mode, carrier, tallies, ended, used_s, peak)


def _side(
    name: str, mode: Mode, carrier: sink.Sink, tallies: list[Tally], ended: float, used_s: dict[str, float], peak: int
) -> Side:
    messages, began = sum(tally.accepted for tally in tallies), min(tally.began for tally in tallies)
    sink_s = {"sink": used_s.pop("sink")} if "sink" in used_s else {}
    calls = [duration for tally in tallies for duration in tally.calls_us]
    spans: list[int] = []
    if carrier.arrivals is not None:
        starts = [start for tally in tallies for start in tally.starts]
        spans = latency.to_submit_us(starts, 1, latency.arrivals(carrier.arrivals), WARM_UP + mode.messages)
    return Side(
        gateway=name,
        messages=messages,
        accepted_per_s=messages / (max(tally.ended for tally in tallies) - began),
        receipted_per_s=messages / (ended - began),
        cpu_us=sum(used_s.values()) / messages * 1e6,
        processes_us={who: round(cpu_s / messages * 1e6, 1) for who, cpu_s in used_s.items()},
        others_us=results.per_message(sink_s, tallies),
        call_p50_ms=results.percentile(calls, 0.50) / 1000,
        call_p99_ms=results.percentile(calls, 0.99) / 1000,
        submit_p50_ms=results.percentile(spans, 0.50) / 1000,
        submit_p99_ms=results.percentile(spans, 0.99) / 1000,
        peak_bytes=peak,
    )


def run_kannel(store: Store, mode: Mode, backlog: int) -> Side:
    """Measure Kannel with one of its stores, in a folder of its own that is gone afterwards. Raises ProcessFailed."""
    with tempfile.TemporaryDirectory(prefix="smsgw-bench-") as folder:
        appliance = Appliance.create(Path(folder) / "appliance", callers=0)  # for the sink's certificate
        with sink.own(appliance) as carrier:
            return _measure(
                f"Kannel, {'no' if store is Store.NONE else store.value} store",
                store,
                mode,
                backlog,
                Path(folder),
                carrier,
            )


def round_of(stores: Sequence[Store], messages: int, backlog: int) -> list[Side]:
    """Measure ours in each of its modes, then Kannel with each store: `messages` where each is a call of its own, in
    other modes as many as `make bench` takes. Raises ProcessFailed."""
    mode = replace(UNARY, messages=messages)
    modes = MODES | {"unary": mode}
    sides = [ours(run_mode(name, each, backlog, profile=False, bare=False)) for name, each in modes.items()]
    kannels = [run_kannel(store, mode, backlog) for store in stores]
    return compared(sides, kannels)


def compared(sides: Sequence[Side], kannels: Sequence[Side]) -> list[Side]:
    """Return all of a round, with what each took of what the first of `kannels` did."""
    return [replace(side, of_kannel=side.cpu_us / kannels[0].cpu_us) for side in (*sides, *kannels)]


def medians(rounds: Sequence[Sequence[Side]]) -> list[Side]:
    """Return for each gateway the median of every figure over the rounds."""
    return [_median(turns) for turns in zip(*rounds, strict=True)]


def _median(turns: Sequence[Side]) -> Side:
    fields = [asdict(turn) for turn in turns]
    median: dict[str, Any] = dict(fields[0])
    for name, value in fields[0].items():
        if isinstance(value, dict):
            median[name] = {who: statistics.median(one[name][who] for one in fields) for who in value}
        elif isinstance(value, int | float):
            median[name] = type(value)(statistics.median(one[name] for one in fields))
    return Side(**median)


_HEAD = (
    "gateway", "accepted/s", "receipted/s", "CPU µs", "of Kannel's", "of which", "call p50 ms", "p99",
    "to submit_sm p50 ms", "p99", "RSS MB",
)  # fmt: skip


def table(sides: Sequence[Side]) -> str:
    """Return a table for people, a row for each gateway."""
    return results.aligned([_HEAD, *(_row(side) for side in sides)])


def _row(side: Side) -> tuple[str, ...]:
    processes = ", ".join(f"{name} {used:.0f}" for name, used in side.processes_us.items())
    return (
        side.gateway,
        f"{side.accepted_per_s:,.0f}",
        f"{side.receipted_per_s:,.0f}",
        f"{side.cpu_us:.0f}",
        f"{side.of_kannel:.2f}",
        processes,
        f"{side.call_p50_ms:.1f}",
        f"{side.call_p99_ms:.1f}",
        f"{side.submit_p50_ms:.1f}",
        f"{side.submit_p99_ms:.1f}",
        f"{side.peak_bytes / 1e6:.0f}",
    )
